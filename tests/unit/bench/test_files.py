"""Scenes with files: each proxy that can serves them, with the mark that the load generator asks for."""

import dataclasses
import subprocess
from pathlib import Path

import pytest

from bench.caddyfiles import render_caddyfile
from bench.comparing import make_files
from bench.proxies import PROXIES, Tools, proxy_named
from bench.running import Running
from bench.workloads import FILES, WORKLOADS, workload_named

TOOLS = Tools(
    *(Path("/tools") / name for name in ("load", "zeroserve", "nginx", "haproxy", "caddy", "envoy"))
)
SERVERS = sorted(name for name, proxy in PROXIES.items() if proxy.serves_files)


@pytest.fixture
def file_scene(scene, tmp_path):
    return dataclasses.replace(scene, files=tmp_path / "files")


def test_each_file_is_asked_for_over_both_protocols():
    found = {(one.paths, one.tls) for one in WORKLOADS if one.serves_files}
    assert found == {(((f"/{name}", 1),), tls) for name in FILES for tls in (True, False)}
    assert workload_named("file-10m-https").tls


def test_proxies_that_serve_no_files_are_left_out():
    assert SERVERS == ["caddy", "nginx", "zeroserve"]


@pytest.mark.parametrize("name", SERVERS)
def test_the_directory_and_the_mark_take_the_place_of_the_backends(name, file_scene):
    text = "".join(proxy_named(name, TOOLS).files(file_scene).values())
    assert str(file_scene.files) in text
    assert "X-Backend" in text
    assert "reverse_proxy" not in text and "proxy_pass" not in text


def test_nginx_sends_files_without_copies_and_keeps_them_open(file_scene):
    text = proxy_named("nginx", TOOLS).files(file_scene)["nginx.conf"]
    for directive in ("sendfile on;", "tcp_nopush on;", "open_file_cache max="):
        assert directive in text


def test_a_scene_with_files_is_asked_for_its_files(file_scene):
    running = Running(proxy_named("nginx", TOOLS), file_scene, None, 0.0)
    assert [path for path, _ in running.target().paths] == [f"/{name}" for name in FILES]


def test_files_have_the_lengths_of_their_names(tmp_path):
    make_files(tmp_path / "files")
    assert {file.name: file.stat().st_size for file in (tmp_path / "files").iterdir()} == FILES


def test_stock_caddy_accepts_both_forms(file_scene, caddy, tmp_path):
    document, text = tmp_path / "caddy.json", tmp_path / "Caddyfile"
    document.write_text(proxy_named("caddy", TOOLS).files(file_scene)["caddy.json"])
    text.write_text(render_caddyfile(file_scene))
    for file in (document, text):
        done = subprocess.run(
            [caddy, "validate", "--config", file], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
