"""A denied path stays denied however it is spelt: match and upstream see one path."""

import posixpath
from urllib.parse import unquote

import pytest
from conftest import statuses

SPELLINGS = [
    "/admin",
    "/admin/",
    "/admin/x",
    "/%61dmin",
    "/%61%64%6d%69%6e/x",
    "/%41dmin/x",
    "/ADMIN/x",
    "/Admin",
    "//admin/x",
    "///admin",
    "/./admin/x",
    "/.//admin/x",
    "/x/../admin/x",
    "/x/%2e%2e/admin/x",
    "/x/.%2e/admin/x",
    "/x/%2E%2E/admin/x",
    "/%2e/admin/x",
    "/x/./../admin/x",
    "/x//../admin/x",
    "/x/y/../../admin/x",
    "/admin/./x",
    "/admin//x",
    "/admin/../admin/x",
    "/../admin/x",
    "/%2e%2e/admin/x",
    "/admin;a=b/x",
    "/admin%3ba=b",
    "/admin%2fx",
    "/admin%2Fx",
    "/%2fadmin/x",
    "/x%2f..%2fadmin/x",
    "/x/..%2fadmin/x",
    "/x%2f../admin/x",
    "/admin?x",
    "/admin%3fx",
    "/admin%00",
    "/admin%00.html",
    "/admin%20",
    "/admin%09",
    "/admin%0a",
    "/admin%0d%0a",
    "/admin.",
    "/admin\\x",
    "/admin%5cx",
    "/x\\..\\admin\\x",
    "/x%5c..%5cadmin/x",
    "/x/..;/admin/x",
    "/..;/admin",
    "/x/..%3b/admin/x",
    "/%c0%ae%c0%ae/admin/x",
    "/x/%c0%ae%c0%ae/admin",
    "/x/%c0%2e%c0%2e/admin",
    "/%u0061dmin",
    "/%2561dmin",
    "/x/%252e%252e/admin",
    "/admin#x",
    "/x#/../admin",
    "/%ef%bc%8fadmin",
    "/x/%e0%80%ae%e0%80%ae/admin/x",
]


def meanings(target):
    """Return what a backend may make of a path: decoded or not, dot segments resolved, slashes merged."""
    path = target.partition("?")[0].partition("#")[0]
    readings = {path, unquote(path), path.replace("\\", "/"), unquote(path).replace("\\", "/")}
    readings |= {"/".join(part.partition(";")[0] for part in one.split("/")) for one in set(readings)}
    return {posixpath.normpath("/" + one.lstrip("/")).lower() for one in readings}


@pytest.mark.parametrize("target", SPELLINGS)
def test_no_spelling_of_a_denied_path_reaches_the_backend(site, target):
    payload = f"GET {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
    (status,) = statuses(site.send(payload.encode("latin-1")))
    assert site.recorder.strangers == []
    for request in site.recorder.requests:
        reached = meanings(request.target)
        assert not any(path == "/admin" or path.startswith("/admin/") for path in reached), request.target
    assert site.recorder.requests or status >= 400


@pytest.mark.parametrize(
    "target", ["/group%2Fproject", "/@scope%2fname", "/a%20b", "/%E2%9C%93", "/a;b=c", "/a+b?c=%2f"]
)
def test_an_ordinary_path_arrives_as_it_was_sent(site, target):
    site.send(f"GET {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n".encode())
    assert [one.target for one in site.recorder.requests] == [target]
