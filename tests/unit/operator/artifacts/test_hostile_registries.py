"""A registry that answers slowly or strangely costs a pull, and neither its thread nor others' time."""

import contextlib
import io
import time

import pytest
from zeroserve_operator.artifacts import registries
from zeroserve_operator.artifacts.faults import ArtifactError
from zeroserve_operator.artifacts.pulling import PullRequest, pull_plugin
from zeroserve_operator.artifacts.references import AllowedRegistry, Reference
from zeroserve_operator.artifacts.registries import RegistryPolicy
from zeroserve_operator.artifacts.signatures import read_public_key

from .registry import make_pages, serve_pages
from .signing import make_key

KEY, PEM = make_key()


def refusal(server, digest):
    policy = RegistryPolicy((AllowedRegistry(server.host, scheme="http"),))
    reference = Reference(server.host, "team/hello", digest)
    with pytest.raises(ArtifactError) as refused:
        pull_plugin(PullRequest(reference, read_public_key(PEM.encode())), policy)
    return refused.value.message


def drip(beginning, forever):
    """Answer with a beginning, then bytes without end: often enough that no read of them times out."""

    def answer(request):
        with contextlib.suppress(OSError):
            request.wfile.write(beginning)
            while True:
                request.wfile.write(forever)
                time.sleep(0.02)
        request.wfile = io.BytesIO()
        return 200, {}, b""

    return answer


@pytest.mark.parametrize(
    ("beginning", "forever"),
    [
        (b"HTTP/1.1 200 ", b"O"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"b"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"{"),
    ],
    ids=["status line", "field", "interim answers", "length of a chunk", "body"],
)
def test_an_answer_that_drips_ends_with_the_pull_s_time(monkeypatch, beginning, forever):
    monkeypatch.setattr(registries, "PULL_S", 0.5)
    pages, digest = make_pages(b"\x7fELF", KEY)
    pages[f"/v2/team/hello/manifests/{digest}"] = drip(beginning, forever)
    with serve_pages(pages) as server:
        assert "took longer than 0.5 s" in refusal(server, digest)


def test_a_challenge_of_one_long_word_is_read_in_one_pass():
    """From each letter of it anew it takes minutes: the test would not end in its time."""
    pages, digest = make_pages(b"\x7fELF", KEY)
    challenge = "Bearer " + "a" * 60_000
    pages[f"/v2/team/hello/manifests/{digest}"] = lambda _: (401, {"WWW-Authenticate": challenge}, b"")
    with serve_pages(pages) as server:
        assert "refuses a pull without credentials" in refusal(server, digest)
