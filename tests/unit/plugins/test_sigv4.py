"""The SigV4 example gives the signatures that AWS published.

Vectors: the Signature Version 4 test suite (key AKIDEXAMPLE, 2015-08-30), as far as a request of HTTP/1.1 can
carry them, and the examples of the S3 API Reference, "Using the Authorization header".
"""

import hashlib
import hmac
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_cli.plugins.building import compile_c, find_compiler
from zeroserve_ir.plugins.loading import load
from zeroserve_ir.program import abi

from .reference_helpers import Request, run

SOURCE = Path(__file__).resolve().parents[3] / "examples/plugins/aws-sigv4/plugin.c"
SUITE = {
    "access_key_id": "AKIDEXAMPLE",
    "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "service": "service",
    "time": "1440938160",
    "host": "example.amazonaws.com",
    "encode_path_once": "yes",
}
S3 = {
    "access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "time": "1369353600",
    "host": "examplebucket.s3.amazonaws.com",
    "payload": "signed",
}
FORM = ("Content-Type", "application/x-www-form-urlencoded")
VECTORS = {
    "get-vanilla": (
        SUITE,
        Request("/"),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-vanilla-query-order-key-case": (
        SUITE,
        Request("/?Param2=value2&Param1=value1"),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-unreserved": (
        SUITE,
        Request("/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "get-utf8": (
        SUITE,
        Request("/%E1%88%B4"),
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    "get-vanilla-utf8-query": (
        SUITE,
        Request("/?%E1%88%B4=bar"),
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    "get-space": (
        SUITE,
        Request("/example%20space/"),
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    "get-slashes": (
        SUITE,
        Request("//example//"),
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    "get-relative": (
        SUITE,
        Request("/example/.."),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-header-key-duplicate": (
        SUITE | {"signed_headers": "My-Header1"},
        Request("/", fields=[("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")]),
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    "get-header-value-trim": (
        SUITE | {"signed_headers": "My-Header1, My-Header2"},
        Request("/", fields=[("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')]),
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "post-vanilla": (
        SUITE,
        Request("/", "POST"),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    "post-header-key-sort": (
        SUITE | {"signed_headers": "My-Header1"},
        Request("/", "POST", fields=[("My-Header1", "value1")]),
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-x-www-form-urlencoded": (
        SUITE,
        Request("/", "POST", fields=[FORM], body=b"Param1=value1"),
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
    "s3-get-object": (
        S3 | {"signed_headers": "Range"},
        Request("/test.txt", fields=[("Range", "bytes=0-9")]),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "s3-put-object": (
        S3 | {"signed_headers": "Date"},
        Request(
            "/test%24file.text",
            "PUT",
            fields=[("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            body=b"Welcome to Amazon S3.",
        ),
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "s3-get-lifecycle": (
        S3,
        Request("/?lifecycle"),
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "s3-list-objects": (
        S3,
        Request("/?max-keys=2&prefix=J"),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
}


@pytest.fixture(scope="module")
def plugin():
    return load(compile_c([SOURCE], find_compiler()))


def sign(plugin, request, config):
    request = Request(**(vars(request) | {"config": config, "answer": [], "events": {}}))
    verdict = run(plugin, "sign_request", request)
    return verdict, request


@pytest.mark.parametrize("name", VECTORS)
def test_published_signature(plugin, name):
    config, request, signature = VECTORS[name]
    verdict, request = sign(plugin, request, config)
    assert verdict == (abi.Verdict.CONTINUE, 0)
    assert request.get("authorization").rpartition("Signature=")[2] == signature


def expect_signature(request, config):
    """Sign as the documents say, written down independently of the plugin."""
    path, _, query = request.target.partition("?")
    pairs = sorted(
        (urllib.parse.quote(key, safe="~"), urllib.parse.quote(value, safe="~"))
        for key, value in urllib.parse.parse_qsl(query, keep_blank_values=True)
    )
    names = sorted(
        {"host", *(name.lower() for name, _ in request.fields if name.lower().startswith("x-amz-"))}
    )
    values = {name.lower(): value.strip() for name, value in request.fields} | {"host": request.host}
    canonical = "\n".join(
        [
            request.method,
            urllib.parse.quote(urllib.parse.unquote_to_bytes(path), safe="/~"),
            "&".join(f"{key}={value}" for key, value in pairs),
            *(f"{name}:{values[name]}" for name in names),
            "",
            ";".join(names),
            "UNSIGNED-PAYLOAD",
        ]
    )
    day = values["x-amz-date"][:8]
    scope = f"{day}/us-east-1/s3/aws4_request"
    text = (
        f"AWS4-HMAC-SHA256\n{values['x-amz-date']}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    )
    key = b"AWS4" + config["secret_access_key"].encode()
    for word in (day, "us-east-1", "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


WORDS = st.text("abzAZ09-._~ /+&=%é", max_size=8).map(lambda text: urllib.parse.quote(text, safe="/"))


@settings(max_examples=60, deadline=None)
@given(
    path=st.lists(WORDS, max_size=4),
    query=st.dictionaries(WORDS.filter(bool), WORDS, max_size=5),
    method=st.sampled_from(["GET", "PUT", "DELETE"]),
)
def test_any_s3_request_is_signed_as_the_documents_say(plugin, path, query, method):
    config = {"access_key_id": "AKID", "secret_access_key": "minioadmin"}
    target = "/" + "/".join(path) + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else "")
    verdict, request = sign(plugin, Request(target, method, fields=[("x-amz-acl", "private")]), config)
    assert verdict == (abi.Verdict.CONTINUE, 0)
    assert request.get("authorization").rpartition("Signature=")[2] == expect_signature(request, config)


def test_keys_come_from_a_secret(plugin):
    secrets = {"access_key_id": b"AKIDEXAMPLE", "secret_access_key": SUITE["secret_access_key"].encode()}
    config = {key: value for key, value in SUITE.items() if "key" not in key} | {"secrets": "yes"}
    _, request = sign(plugin, Request("/", secrets=secrets), config)
    assert request.get("authorization").endswith(VECTORS["get-vanilla"][2])
    assert "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request" in request.get("authorization")


def test_without_keys_nothing_leaves_unsigned(plugin):
    assert sign(plugin, Request("/"), {"region": "eu-west-1"})[0] == (abi.Verdict.ERROR, 500)


def test_what_the_client_sent_as_authorization_is_replaced(plugin):
    _, request = sign(plugin, Request("/", fields=[("Authorization", "AWS4-HMAC-SHA256 forged")]), SUITE)
    assert [name.lower() for name, _ in request.fields].count("authorization") == 1
    assert "forged" not in request.get("authorization")


def test_a_session_token_is_sent_and_signed(plugin):
    _, request = sign(plugin, Request("/"), SUITE | {"session_token": "token"})
    assert request.get("x-amz-security-token") == "token"
    assert "SignedHeaders=host;x-amz-date;x-amz-security-token" in request.get("authorization")


@pytest.mark.parametrize("target", ["/" + "a" * 4000, "/?" + "a" * 4000, "/?" + "&".join(["a"] * 97)])
def test_what_is_too_long_is_refused(plugin, target):
    assert sign(plugin, Request(target), SUITE)[0] == (abi.Verdict.ERROR, 413)


@pytest.mark.parametrize("payload", ["sign", "yes", "Signed"])
def test_a_slip_leaves_no_body_unsigned(plugin, payload):
    config = SUITE | {"service": "s3", "payload": payload}
    assert sign(plugin, Request("/", "PUT", body=b"a"), config)[0] == (abi.Verdict.ERROR, 500)


def test_a_body_that_is_seen_in_part_is_refused(plugin):
    request = Request("/", "PUT", body=b"the beginning", body_goes_on=True)
    assert sign(plugin, request, SUITE)[0] == (abi.Verdict.ERROR, 413)


def test_a_body_too_long_to_be_hashed_is_refused(plugin):
    request = Request("/", "POST", body=bytes(9000))
    assert sign(plugin, request, SUITE)[0] == (abi.Verdict.ERROR, 413)
