"""The running product answers as stock Caddy does: status, fields, body, and what the backend was sent."""

import difflib
from pathlib import Path

import pytest
from asking import ask
from tables import case_names, read_requests

COMPATIBILITY = Path(__file__).resolve().parents[3] / "docs" / "compatibility.md"
REQUESTS = [request for name in case_names() for request in read_requests(name)]


@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_answer(servers, request_):
    caddy, ours = (ask(server.port(request_.case, request_.sni is not None), request_) for server in servers)
    if request_.reason:
        assert ours.status == request_.ours
        assert ours != caddy, "no longer a difference"
    elif ours != caddy:
        pytest.fail("\n".join(difflib.ndiff(caddy.lines(), ours.lines())), pytrace=False)


@pytest.mark.parametrize("reason", sorted({request.reason for request in REQUESTS} - {""}))
def test_every_deliberate_difference_is_explained(reason):
    assert f"| `{reason}` |" in COMPATIBILITY.read_text()
