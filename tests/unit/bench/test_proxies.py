import json
import subprocess
from pathlib import Path

import pytest

from bench.proxies import OURS, PROXIES, Tools, proxy_named

TOOLS = Tools(
    *(Path("/tools") / name for name in ("load", "zeroserve", "nginx", "haproxy", "caddy", "envoy"))
)


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("nginx", "nginx version: nginx/1.22.1\n", "1.22.1"),
        ("nginx", "nginx version: nginx/1.26.3 (Ubuntu)\n", "1.26.3"),
        (
            "haproxy",
            "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\nStatus: x\n",
            "2.6.12",
        ),
        ("caddy", "v2.11.7 h1:abc=\n", "2.11.7"),
        ("envoy", "\n/x/envoy  version: 0123abc/1.40.0/Clean/RELEASE/BoringSSL\n", "1.40.0"),
        ("zeroserve", "zeroserve-ingress 0.1.0 (program ABI 1)\nllvmlite 0.50.0 (compiler)\n", "0.1.0"),
    ],
)
def test_version_is_read_from_what_the_executable_prints(name, text, version):
    assert proxy_named(name, TOOLS).parse_version(text) == version


@pytest.mark.parametrize("name", sorted(PROXIES))
def test_every_host_and_backend_is_in_the_configuration(name, scene):
    files = proxy_named(name, TOOLS).files(scene)
    text = "".join(files.values())
    for host in scene.hosts:
        assert host in text
    for route in scene.routes:
        assert route.prefix in text
    assert str(scene.port) in text
    if scene.tls and name != "haproxy":  # which takes both in one file of its own
        assert str(scene.certificate.certificate) in text


def test_peers_are_pinned_and_ours_is_not():
    assert {name for name, proxy in PROXIES.items() if proxy.pinned is None} == {OURS}


def test_stock_caddy_accepts_its_configuration(scene, caddy, tmp_path):
    file = tmp_path / "caddy.json"
    file.write_text(proxy_named("caddy", TOOLS).files(scene)["caddy.json"])
    done = subprocess.run([caddy, "validate", "--config", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_envoys_configuration_has_a_virtual_host_per_host(scene):
    document = json.loads(proxy_named("envoy", TOOLS).files(scene)["envoy.json"])
    (listener,) = document["static_resources"]["listeners"]
    (chain,) = listener["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    assert [host["name"] for host in manager["route_config"]["virtual_hosts"]] == list(scene.hosts)
    assert ("transport_socket" in chain) is scene.tls


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="no proxy `apache`; there are zeroserve, nginx"):
        proxy_named("apache", TOOLS)


@pytest.mark.parametrize(
    ("name", "file", "marks"),
    [
        ("zeroserve", "Caddyfile", ["reverse_proxy h2c://"]),
        ("nginx", "nginx.conf", [" http2;", "grpc_pass grpc://"]),
        ("haproxy", "haproxy.cfg", ["alpn h2", " proto h2 "]),
        ("caddy", "caddy.json", ['"versions": ["h2c", "2"]']),
        ("envoy", "envoy.json", ['"codec_type": "HTTP2"', "http2_protocol_options"]),
    ],
)
def test_both_sides_speak_http2_for_grpc_only(name, file, marks, scene):
    text = proxy_named(name, TOOLS).files(scene)[file]
    assert [mark in text for mark in marks] == [scene.grpc] * len(marks)
