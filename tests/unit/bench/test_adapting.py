import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.adapting import TaskError, build_command, parse_routes, read_task, write_caddyfile

EXECUTABLE = Path(__file__).resolve().parents[3] / "bench/zeroserve"
ROUTES = {
    "hosts": ["h0.bench.test", "new.bench.test"],
    "routes": [
        {"prefix": "/a/", "upstream": "127.0.0.1:19101"},
        {"prefix": "/b/", "upstream": "127.0.0.1:19102"},
        {"prefix": "/", "upstream": "127.0.0.1:19101"},
    ],
}


@pytest.fixture
def variables(tmp_path):
    routes = tmp_path / "routes.json"
    routes.write_text(json.dumps(ROUTES))
    return {
        "BENCH_DIR": str(tmp_path),
        "BENCH_WORK": "routes-2",
        "BENCH_TLS_PORT": "18400",
        "BENCH_HTTP_PORT": "18401",
        "BENCH_ADMIN_PORT": "18402",
        "BENCH_CERT": "/pki/cert.pem",
        "BENCH_KEY": "/pki/key.pem",
        "BENCH_ROUTES": str(routes),
    }


def test_routes_with_one_upstream_share_a_backend():
    hosts, routes, ports = parse_routes(json.dumps(ROUTES))
    assert hosts == ("h0.bench.test", "new.bench.test")
    assert [(route.prefix, route.backend) for route in routes] == [("/a/", 0), ("/b/", 1), ("/", 0)]
    assert ports == (19101, 19102)


@pytest.mark.parametrize(("work", "tls", "port"), [("https-h1", True, 18400), ("http-h1", False, 18401)])
def test_only_http_workloads_are_plain(variables, work, tls, port):
    scene = read_task({**variables, "BENCH_WORK": work}).scene
    assert (scene.tls, scene.port) == (tls, port)


def test_caddyfile_follows_the_routes_file(variables):
    task = read_task(variables)
    write_caddyfile(task)
    text = task.caddyfile.read_text()
    assert "https://new.bench.test:18400 {" in text
    assert "\ttls /pki/cert.pem /pki/key.pem\n" in text
    assert "\thandle /b/* {\n\t\treverse_proxy 127.0.0.1:19102\n" in text


def test_start_and_reload_are_the_shipped_commands_on_one_socket(variables):
    task = read_task(variables)
    start, reload = (build_command(action, task) for action in ("start", "reload"))
    assert (start[1], reload[1]) == ("run", "reload")
    assert start[2:] == reload[2:]
    assert start[-2:] == ["--admin", f"{variables['BENCH_DIR']}/admin.sock"]


@pytest.mark.parametrize(
    "missing", ["BENCH_DIR", "BENCH_WORK", "BENCH_TLS_PORT", "BENCH_CERT", "BENCH_ROUTES"]
)
def test_a_missing_variable_is_named(variables, missing):
    del variables[missing]
    with pytest.raises(TaskError, match=missing):
        read_task(variables)


def test_a_missing_routes_file_is_said(variables):
    with pytest.raises(TaskError, match="nowhere"):
        read_task({**variables, "BENCH_ROUTES": "/nowhere"})


@given(
    st.text()
    | st.recursive(st.none() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)).map(
        json.dumps
    )
)
def test_any_routes_text_is_read_or_refused(text):
    with contextlib.suppress(TaskError):
        parse_routes(text)


@pytest.mark.parametrize("arguments", [[], ["stop"], ["start", "twice"]])
def test_the_executable_refuses_other_calls(arguments):
    done = subprocess.run(
        [sys.executable, EXECUTABLE, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "start|reload|version" in done.stderr


def test_the_executable_prints_one_line_of_version():
    done = subprocess.run([EXECUTABLE, "version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("zeroserve-ingress ")
    assert done.stdout.count("\n") == 1
