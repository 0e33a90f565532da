"""File servers beyond one answer: several ranges, whose boundary is random, and files that change."""

import re

from asking import ask
from tables import Request


def get(target, *fields):
    lines = [f"GET {target} HTTP/1.1", "Host: a.example", *fields, "Connection: close", "", ""]
    return Request("files", target, "\r\n".join(lines).encode())


def without_boundary(answer):
    fields = dict(answer.fields)
    boundary = re.search(r"boundary=([0-9a-f]{60})$", fields["content-type"])[1]
    fields["content-type"] = fields["content-type"].replace(boundary, "BOUNDARY")
    return answer.status, fields, answer.body.replace(boundary, "BOUNDARY")


def test_several_ranges_are_one_multipart_body(servers):
    request = get("/a.txt", "Range: bytes=0-4, 10-12,-3")
    caddy, ours = (without_boundary(ask(server.port("files", False), request)) for server in servers)
    assert ours == caddy
    assert ours[0] == 206


def test_a_changed_file_is_seen_at_once(servers, variables):
    port = servers[1].port("files", False)
    path = variables["SITE"] / "changing.txt"
    try:
        for content in (b"first", b"second, longer", b"3"):
            path.write_bytes(content)
            assert ask(port, get("/changing.txt")).body == content.decode()
            other = path.with_suffix(".new")
            other.write_bytes(content[::-1])
            other.rename(path)
            assert ask(port, get("/changing.txt")).body == content[::-1].decode()
        path.unlink()
        assert ask(port, get("/changing.txt")).status == 404
    finally:
        path.unlink(missing_ok=True)
