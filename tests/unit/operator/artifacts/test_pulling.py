"""What is pulled: an allowed registry's file, of the digest that was signed; all else is refused by name."""

import base64
import json

import pytest
from zeroserve_ir.plugins.modules import OBJECT_BYTES_MAX
from zeroserve_operator.artifacts.faults import ArtifactError
from zeroserve_operator.artifacts.pulling import PullRequest, pull_plugin, read_credentials
from zeroserve_operator.artifacts.references import AllowedRegistry, Reference, read_allowed
from zeroserve_operator.artifacts.registries import Credentials, RegistryPolicy
from zeroserve_operator.artifacts.signatures import read_public_key

from .registry import add_bundle, digest_of, layer, make_manifest, make_pages, serve_pages
from .signing import make_key

FILE = b"\x7fELF of some plugin"
KEY, PEM = make_key()
OTHER, OTHER_PEM = make_key()
PUBLIC, OTHER_PUBLIC = (read_public_key(pem.encode()) for pem in (PEM, OTHER_PEM))


def pull(server, digest, *, key=PUBLIC, keys=(), allowed=None, credentials=None, others=()):
    registries = (AllowedRegistry(server.host, scheme="http") if allowed is None else read_allowed(allowed),)
    policy = RegistryPolicy((*registries, *others), keys=tuple(keys))
    request = PullRequest(Reference(server.host, "team/hello", digest), key, credentials)
    return pull_plugin(request, policy).content


def refusal(*arguments, **options):
    with pytest.raises(ArtifactError) as refused:
        pull(*arguments, **options)
    return refused.value.code.name, refused.value.message


def test_a_signed_file_is_pulled():
    pages, digest = make_pages(FILE, KEY)
    with serve_pages(pages) as server:
        assert pull(server, digest) == FILE
        assert pull(server, digest, key=None, keys=[OTHER_PUBLIC, PUBLIC]) == FILE


def test_a_layer_of_any_type_is_the_file_where_it_is_alone():
    pages, digest = make_pages(FILE, KEY, media_type="application/octet-stream")
    with serve_pages(pages) as server:
        assert pull(server, digest) == FILE


def test_the_objects_key_and_the_operators_must_both_have_signed():
    once, digest = make_pages(FILE, KEY)
    with serve_pages(once) as server:
        assert refusal(server, digest, keys=[OTHER_PUBLIC])[0] == "ZS0313"
    twice, digest = make_pages(FILE, KEY, OTHER)
    with serve_pages(twice) as server:
        assert pull(server, digest, keys=[OTHER_PUBLIC]) == FILE


def test_the_file_is_not_asked_for_before_its_signature_was_checked():
    pages, digest = make_pages(FILE, OTHER)
    with serve_pages(pages) as server:
        code, message = refusal(server, digest)
        assert (code, "by this key" in message) == ("ZS0313", True)
        assert not [path for path, _ in server.asked if digest_of(FILE) in path]


@pytest.mark.parametrize("by_tag", [False, True], ids=["by referrers", "by the tag that stands for them"])
def test_a_bundle_that_refers_to_the_artefact_is_a_signature(by_tag):
    pages, digest = make_pages(FILE)
    add_bundle(pages, digest, KEY, by_tag=by_tag)
    with serve_pages(pages) as server:
        assert pull(server, digest) == FILE
        assert refusal(server, digest, key=OTHER_PUBLIC)[0] == "ZS0313"


def test_a_tag_and_a_bundle_may_be_of_different_keys():
    pages, digest = make_pages(FILE, KEY)
    add_bundle(pages, digest, OTHER)
    with serve_pages(pages) as server:
        assert pull(server, digest, keys=[OTHER_PUBLIC]) == FILE


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"manifests":7}', b'{"manifests":[7,{"artifactType":[]}]}', b"[" * 9999]
)
def test_a_list_of_referrers_that_makes_no_sense_is_no_signature(content):
    pages, digest = make_pages(FILE)
    pages[add_bundle(pages, digest, KEY)] = content
    with serve_pages(pages) as server:
        assert refusal(server, digest)[0] in {"ZS0312", "ZS0313"}


def test_without_a_signature_nothing_is_pulled():
    pages, digest = make_pages(FILE)
    with serve_pages(pages) as server:
        assert refusal(server, digest) == ("ZS0313", f"{server.host}/team/hello@{digest} is not signed")


def test_without_a_key_nothing_is_asked():
    pages, digest = make_pages(FILE, KEY)
    with serve_pages(pages) as server:
        assert refusal(server, digest, key=None)[0] == "ZS0313"
        assert server.asked == []


@pytest.mark.parametrize("allowed", ["http://other.example", "http://127.0.0.1:1", "http://{}/teams"])
def test_a_registry_that_is_not_allowed_is_not_asked(allowed):
    pages, digest = make_pages(FILE, KEY)
    with serve_pages(pages) as server:
        assert refusal(server, digest, allowed=allowed.format(server.host))[0] == "ZS0314"
        assert server.asked == []


def test_no_registry_is_allowed_unless_it_is_named():
    with serve_pages({}) as server:
        request = PullRequest(Reference(server.host, "team/hello", "sha256:" + "0" * 64), PUBLIC)
        with pytest.raises(ArtifactError, match="not allowed"):
            pull_plugin(request, RegistryPolicy())


def redirect(to):
    return lambda _request: (307, {"Location": to}, b"")


def test_a_redirect_to_a_host_that_is_not_allowed_ends_the_pull():
    pages, digest = make_pages(FILE, KEY)
    blob = f"/v2/team/hello/blobs/{digest_of(FILE)}"
    with serve_pages({"/file": FILE}) as storage, serve_pages(pages) as server:
        pages[blob] = redirect(f"http://{storage.host}/file")
        code, message = refusal(server, digest)
        assert (code, storage.host in message, storage.asked) == ("ZS0314", True, [])
        allowed = AllowedRegistry(storage.host, scheme="http")
        assert pull(server, digest, others=[allowed]) == FILE
        pages[blob] = redirect(blob)
        assert "without end" in refusal(server, digest)[1]


def test_credentials_do_not_follow_a_redirect():
    pages, digest = make_pages(FILE, KEY)
    blob = f"/v2/team/hello/blobs/{digest_of(FILE)}"
    with serve_pages({"/file": FILE}) as storage, serve_pages(guard(pages)) as server:
        server.pages[blob] = redirect(f"http://{storage.host}/file")
        allowed = AllowedRegistry(storage.host, scheme="http")
        account = Credentials("ci", "hunter2")
        assert pull(server, digest, credentials=account, others=[allowed]) == FILE
        assert storage.asked == [("/file", "")]


def guard(pages, challenge='Basic realm="x"'):
    """Return pages that an account is wanted for."""

    def page(content):
        def answer(request):
            given = request.headers.get("Authorization", "")
            if given in ("Basic " + base64.b64encode(b"ci:hunter2").decode(), "Bearer t0ken"):
                return 200, {}, content
            return 401, {"WWW-Authenticate": challenge}, b""

        return answer

    return {path: page(content) for path, content in pages.items()}


def test_an_account_is_shown_where_it_is_asked_for():
    pages, digest = make_pages(FILE, KEY)
    with serve_pages(guard(pages)) as server:
        assert pull(server, digest, credentials=Credentials("ci", "hunter2")) == FILE
        assert server.asked[0][1] == ""
        assert refusal(server, digest)[0] == "ZS0312"
        assert "refuses" in refusal(server, digest, credentials=Credentials("ci", "wrong"))[1]


def test_a_token_is_fetched_of_the_registrys_own_host_only():
    pages, digest = make_pages(FILE, KEY)
    token = {"/token": json.dumps({"token": "t0ken"}).encode()}
    with serve_pages(token) as other, serve_pages(pages) as server:
        for realm, code in ((server.host, ""), (other.host, "ZS0314")):
            challenge = f'Bearer realm="http://{realm}/token",service="s",scope="repository:team/hello:pull"'
            server.pages = guard(pages, challenge) | token
            if code:
                assert refusal(server, digest)[0] == code
            else:
                assert pull(server, digest) == FILE
        assert other.asked == []


HOSTILE = {
    "another manifest": lambda pages, digest: pages.update({manifest_of(digest): make_manifest()}),
    "another file": lambda pages, digest: pages.update({blob_of(FILE): b"\x7fELF" + bytes(14)}),
    "a longer file": lambda pages, digest: pages.update({blob_of(FILE): FILE * 2}),
    "no file": lambda pages, digest: pages.pop(blob_of(FILE)),
    "no manifest": lambda pages, digest: pages.pop(manifest_of(digest)),
    "a large manifest": lambda pages, digest: pages.update({manifest_of(digest): b" " * (1 << 20)}),
    "a fault": lambda pages, digest: pages.update({manifest_of(digest): lambda _: (500, {}, b"")}),
}


def manifest_of(digest):
    return f"/v2/team/hello/manifests/{digest}"


def blob_of(content):
    return f"/v2/team/hello/blobs/{digest_of(content)}"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_registry_cannot_give_anything_else(name):
    pages, digest = make_pages(FILE, KEY)
    HOSTILE[name](pages, digest)
    with serve_pages(pages) as server:
        assert refusal(server, digest)[0] == "ZS0312"


SIGNED_NONSENSE = {
    "no JSON": b"{",
    "a list": b"[]",
    "no layers": b"{}",
    "two files": make_manifest(layer(FILE, "a/b"), layer(b"x", "a/b")),
    "many layers": make_manifest(*[layer(FILE, "a/b")] * 100),
    "a layer without a digest": make_manifest({"mediaType": "a/b", "size": 3}),
    "a layer elsewhere": make_manifest({"mediaType": "a/b", "size": 3, "digest": "../../x"}),
    "a huge file": make_manifest({**layer(FILE, "a/b"), "size": OBJECT_BYTES_MAX + 1}),
    "a size in words": make_manifest({**layer(FILE, "a/b"), "size": "3"}),
}


@pytest.mark.parametrize("name", SIGNED_NONSENSE)
def test_what_was_signed_and_is_no_plugin_is_refused(name):
    manifest = SIGNED_NONSENSE[name]
    digest = digest_of(manifest)
    pages = sign_manifest(manifest)
    with serve_pages(pages) as server:
        assert refusal(server, digest)[0] == "ZS0312"


def sign_manifest(manifest):
    """Return pages where a manifest of any bytes is signed."""
    from .signing import make_payload, sign

    digest = digest_of(manifest)
    payload = make_payload(digest)
    kind = "application/vnd.dev.cosign.simplesigning.v1+json"
    signed = layer(payload, kind, **{"dev.cosignproject.cosign/signature": sign(KEY, payload)})
    base = "/v2/team/hello/manifests"
    return {
        f"{base}/{digest}": manifest,
        f"{base}/{digest.replace(':', '-')}.sig": make_manifest(signed),
        blob_of(payload): payload,
        blob_of(FILE): FILE,
    }


def test_accounts_are_read_by_host():
    config = {
        "auths": {
            "a.example": {"auth": base64.b64encode(b"ci:p:w").decode()},
            "https://b.example": {"username": "me", "password": "pw"},
        }
    }
    text = json.dumps(config).encode()
    assert read_credentials(text, "a.example") == Credentials("ci", "p:w")
    assert read_credentials(text, "b.example") == Credentials("me", "pw")
    assert read_credentials(text, "c.example") is None
    assert "p:w" not in repr(read_credentials(text, "a.example"))
    for broken in (b"{", b"[]", b'{"auths": {"a.example": {"auth": "%"}}}'):
        with pytest.raises(ArtifactError):
            read_credentials(broken, "a.example")
