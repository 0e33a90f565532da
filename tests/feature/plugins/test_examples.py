"""The example plugins as people meet them: built, called from a Caddyfile, before a store that checks."""

import base64
import json
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from ports import free_port
from starting import started
from zeroserve_cli.main import main
from zeroserve_cli.plugins.projects import read_project
from zeroserve_cli.plugins.testing import find_fuel, make_execution, read_cases
from zeroserve_ir.plugins.loading import load

from .nodes import serve

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples/plugins"
S3 = ROOT / ".make/bin/s3"
KEY = "minioadmin"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/plugin.toml")))
def test_their_own_tests_pass(name, capsys):
    assert main(["plugin", "test", str(EXAMPLES / name)]) == 0, capsys.readouterr().out


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    directory = tmp_path_factory.mktemp("built")
    for name in ("aws-sigv4", "jwt"):
        assert main(["plugin", "build", str(EXAMPLES / name), "-o", str(directory / f"{name}.o")]) == 0
    return directory


@pytest.fixture
def store(tmp_path_factory):
    """An S3-compatible server, rclone's, that refuses what is not signed."""
    port = free_port()
    with started([S3, f"127.0.0.1:{port}", KEY, KEY, "my-bucket"], tmp_path_factory.mktemp("store"), port):
        yield port


def ask_store(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/my-bucket/a", timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code


def sign_options(built):
    return f"""	plugins {{
		io.su3.aws-sigv4 {built}/aws-sigv4.o {{
			allow request_write request_body secrets
			secret access_key_id {KEY}
			secret secret_access_key {KEY}
		}}
	}}"""


# The design's example to the letter, but for the port.
SITE = """
	route /s3/* {
		uri strip_prefix /s3
		rewrite * /my-bucket{uri}
		zeroserve_call io.su3.aws-sigv4 sign_request {
			%s
		}
		reverse_proxy http://127.0.0.1:%d
	}
"""
KEYS = 'access_key_id "minioadmin"\n\t\t\tsecret_access_key "minioadmin"'


@pytest.mark.parametrize("config", [KEYS, "secrets yes", f"{KEYS}\n\t\t\tpayload signed"], ids=str)
def test_a_store_takes_what_is_signed(built, store, tmp_path, config):
    assert ask_store(store) == 403
    with serve(tmp_path, sign_options(built), SITE % (config, store), {}) as node:
        names = ["plain.txt", "a%20b/c+d.txt", "%C3%A9~t%26%3D.txt"]
        for name in names:
            assert node.ask(f"/s3/{name}", "PUT", body=f"content of {name}")[0] == 200, node.log.read_text()
            assert node.ask(f"/s3/{name}")[::2] == (200, f"content of {name}")
        status, _, listing = node.ask("/s3/?list-type=2&prefix=a%20b%2F&max-keys=10")
        assert status == 200
        assert "a b/c+d.txt" in listing
        assert "plain.txt" not in listing
        assert node.ask("/s3/plain.txt", "DELETE")[0] == 204
        assert node.ask("/s3/plain.txt")[0] == 404


def test_wrong_keys_are_refused_by_the_store(built, store, tmp_path):
    config = KEYS.replace('secret_access_key "minioadmin"', 'secret_access_key "wrong"')
    with serve(tmp_path, sign_options(built), SITE % (config, store), {}) as node:
        assert node.ask("/s3/a")[0] == 403


def encode(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def sign_rs256(key, text):
    return key.sign(text, padding.PKCS1v15(), hashes.SHA256())


def sign_es256(key, text):
    r, s = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32) + s.to_bytes(32)


SIGNERS = {
    "RS256": (lambda: rsa.generate_private_key(65537, 2048), sign_rs256),
    "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), sign_es256),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate, lambda key, text: key.sign(text)),
}


@pytest.mark.parametrize("algorithm", SIGNERS)
def test_tokens_signed_with_private_keys(built, tmp_path, algorithm):
    make, sign = SIGNERS[algorithm]
    ours, theirs = make(), make()
    kinds = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    public = ours.public_key().public_bytes(*kinds).decode()

    def token(key, claimed=algorithm):
        parts = {"alg": claimed}, {"sub": "ada", "exp": int(time.time()) + 300}
        text = ".".join(encode(json.dumps(part).encode()) for part in parts)
        return f"Bearer {text}.{encode(sign(key, text.encode()))}"

    grants = "allow request_write response_write secrets"
    options = f"\tplugins {{\n\t\tjwt {built}/jwt.o {{\n\t\t\t{grants}\n\t\t}}\n\t}}"
    site = f"""
	route {{
		zeroserve_call jwt verify {{
			algorithm {algorithm}
			key "{public}"
			claims {{
				sub X-User
			}}
		}}
		respond "{{http.request.header.X-User}}"
	}}
"""
    with serve(tmp_path, options, site, {}) as node:
        assert node.ask("/", Authorization=token(ours))[::2] == (200, "ada"), node.log.read_text()
        assert node.ask("/", Authorization=token(theirs))[0] == 401
        assert node.ask("/", Authorization=token(ours, "HS256"))[0] == 401
        assert node.ask("/", X_User="root")[0] == 401


def test_a_set_of_keys_stands_in_a_caddyfile(built, tmp_path):
    keys = {name: rsa.generate_private_key(65537, 2048) for name in ("old", "new")}
    members = [
        {"kty": "RSA", "kid": name, "use": "sig", "e": "AQAB", "n": encode(numbers.n.to_bytes(256))}
        for name, numbers in ((name, key.public_key().public_numbers()) for name, key in keys.items())
    ]

    def token(name, signer):
        parts = {"alg": "RS256", "kid": name}, {"sub": "ada", "exp": int(time.time()) + 300}
        text = ".".join(encode(json.dumps(part).encode()) for part in parts)
        return f"Bearer {text}.{encode(sign_rs256(keys[signer], text.encode()))}"

    grants = "allow request_write response_write secrets"
    options = f"\tplugins {{\n\t\tjwt {built}/jwt.o {{\n\t\t\t{grants}\n\t\t}}\n\t}}"
    for indent in (None, 2):
        jwks = json.dumps({"keys": members}, indent=indent)
        site = f"""
	route {{
		zeroserve_call jwt verify {{
			algorithm RS256
			jwks `{jwks}`
		}}
		respond "in"
	}}
"""
        with serve(tmp_path, options, site, {}) as node:
            assert node.ask("/", Authorization=token("old", "old"))[0] == 200, node.log.read_text()
            assert node.ask("/", Authorization=token("new", "new"))[0] == 200
            assert node.ask("/", Authorization=token("old", "new"))[0] == 401


def test_fuel_is_the_smallest_budget_that_is_enough(built):
    project = read_project(EXAMPLES / "aws-sigv4")
    module = load((built / "aws-sigv4.o").read_bytes())
    execution = make_execution(project, module, read_cases(project, module)[0])
    assert 1000 < find_fuel(execution) < 100_000
