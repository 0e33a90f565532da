"""Errors that no error route answers are lines of `http.log.error`, as of stock Caddy without any `log`."""

import http.client
import json
import time

import pytest
from ports import free_ports
from starting import STOCK_CADDY, apart, ours, started

PATIENCE_S = 60
SITES = """{
	admin off
	auto_https off
}
http://127.0.0.1:{$BARE} {
	handle /down {
		reverse_proxy 127.0.0.1:{$NOBODY}
	}
	handle /hidden {
		log_skip
		reverse_proxy 127.0.0.1:{$NOBODY}
	}
	handle /rewritten {
		rewrite /elsewhere
		reverse_proxy 127.0.0.1:{$NOBODY}
	}
	handle /own {
		error "own words" 503
	}
	handle /client {
		error "not here" 404
	}
	handle {
		respond "fine"
	}
}
http://127.0.0.1:{$PAGES} {
	handle /twice {
		error "first" 503
	}
	handle {
		reverse_proxy 127.0.0.1:{$NOBODY}
	}
	handle_errors 503 {
		error "second" 505
	}
	handle_errors {
		respond "a page"
	}
}
http://127.0.0.1:{$UNMATCHED} {
	reverse_proxy 127.0.0.1:{$NOBODY}
	handle_errors 404 {
		respond "a page"
	}
}
http://127.0.0.1:{$LOGGED} {
	log named {
		output discard
	}
	reverse_proxy 127.0.0.1:{$NOBODY}
}
http://127.0.0.1:{$LAST} {
	error "the last" 500
}
"""
REQUESTS = [
    ("BARE", "/down?q=1"),
    ("BARE", "/hidden"),
    ("BARE", "/rewritten"),
    ("BARE", "/own"),
    ("BARE", "/client"),
    ("BARE", "/other"),
    ("PAGES", "/twice"),
    ("PAGES", "/"),
    ("UNMATCHED", "/"),
    ("LOGGED", "/"),
    ("LAST", "/"),
]
NAMES = ("BARE", "PAGES", "UNMATCHED", "LOGGED", "LAST", "NOBODY")


def list_error_lines(folder, command):
    """Return the lines of errors of a server that was asked everything, without what differs by run."""
    folder.mkdir()
    ports = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
    text = SITES
    for name, port in ports.items():
        text = text.replace(f"{{${name}}}", str(port))
    (folder / "Caddyfile").write_text(text)
    served = [ports[name] for name in NAMES[:-1]]
    with started(command, folder, *served, environment=apart(folder)):
        for name, target in REQUESTS:
            connection = http.client.HTTPConnection("127.0.0.1", ports[name], timeout=PATIENCE_S)
            connection.request("GET", target, headers={"Authorization": "secret", "X-Kept": "a"})
            connection.getresponse().read()
            connection.close()
        wait_for_text(folder / "log", "the last")
    found = [
        json.loads(line) for line in (folder / "log").read_text().splitlines() if "http.log.error" in line
    ]
    return [tell(line, ports) for line in found]


def wait_for_text(path, text):
    deadline = time.monotonic() + PATIENCE_S
    while text not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()
        time.sleep(0.05)


def tell(line, ports):
    assert line.pop("ts") > 0
    assert line.pop("duration") >= 0
    assert line["request"].pop("remote_port")
    line["request"]["headers"] = dict(sorted(line["request"]["headers"].items()))
    for errors in (line, line.get("first_error", {})):
        for field in ("err_id", "err_trace"):
            errors.pop(field, None)
    if "error" in line:
        line["error"] = line["error"][line["error"].rindex("HTTP ") :]
    shown = json.dumps(line)
    for name, port in ports.items():
        shown = shown.replace(f":{port}", f":{name}")
    return shown


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("errors")
    return [
        list_error_lines(folder / name, command)
        for name, command in (("caddy", STOCK_CADDY), ("zeroserve", ours()))
    ]


def test_errors_are_lines_of_the_default_logger_as_caddys(lines):
    caddys, own = lines
    assert own == caddys


def test_clients_faults_and_answers_of_error_routes_are_no_lines(lines):
    told = [json.loads(line) for line in lines[1]]
    assert [(line["logger"], line["msg"][:9]) for line in told] == [
        ("http.log.error", "dial tcp "),
        ("http.log.error", "dial tcp "),
        ("http.log.error", "dial tcp "),
        ("http.log.error", "own words"),
        ("http.log.error", "error han"),
        ("http.log.error.named", "dial tcp "),
        ("http.log.error", "the last"),
    ]
    assert all(line["request"]["headers"]["Authorization"] == ["REDACTED"] for line in told)
