"""Asks a node, and what it tells of its answer."""

import http.client


def ask(port, path, **fields):
    """Return the body, and the field that explains it, None without one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Host": "a.test"} | fields)
    answer = connection.getresponse()
    return answer.read().decode(), answer.headers.get("X-Zeroserve-Explained")
