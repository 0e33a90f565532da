import dataclasses
import subprocess

import pytest
from zeroserve_ir.caddyfile.meaning.sites import read_configuration

from bench.caddyfiles import render_caddyfile
from bench.reloading import SHAPE_BASE, render_version

PLAIN = """\
{
	admin off
	auto_https off
	http_port 18999
}
http://h0.bench.test:18999 {
	bind 127.0.0.1
	handle /a/* {
		reverse_proxy 127.0.0.1:1
	}
	handle /b/* {
		reverse_proxy 127.0.0.1:2
	}
	handle /c/* {
		reverse_proxy 127.0.0.1:3
	}
	handle {
		reverse_proxy 127.0.0.1:4
	}
}
"""


def validate(caddy, text, directory):
    file = directory / "Caddyfile"
    file.write_text(text)
    command = [caddy, "validate", "--adapter", "caddyfile", "--config", file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_host_is_a_site_of_its_own_and_others_get_404(scene):
    text = render_caddyfile(scene)
    if not scene.tls:
        assert text.startswith(PLAIN)
    scheme = "https" if scene.tls else "http"
    assert f"\n{scheme}://h1.bench.test:18999 {{\n" in text
    assert text.endswith("\trespond 404\n}\n")
    assert text.count("\ttls ") == (3 if scene.tls else 0)


def test_stock_caddy_accepts_it(scene, caddy, tmp_path):
    assert (done := validate(caddy, render_caddyfile(scene), tmp_path)).returncode == 0, done.stderr


@pytest.mark.parametrize("version", [0, 37, 100])
def test_zeroserve_reads_it_without_a_finding(scene, version):
    text = render_caddyfile(scene, extra_handles=render_version(version, 5))
    configuration, findings = read_configuration(text, environment={})
    assert [finding.render() for finding in findings] == []
    assert len(configuration.sites) == 3


@pytest.mark.parametrize("version", [0, 7, 10, 99, 100])
def test_stock_caddy_accepts_every_version(scene, caddy, tmp_path, version):
    text = render_caddyfile(scene, extra_handles=render_version(version, 5))
    assert (done := validate(caddy, text, tmp_path)).returncode == 0, done.stderr


def test_no_two_versions_have_one_shape():
    def shape(version):
        lines = render_version(version, 5)
        return (
            sum(line.strip().startswith("header ") for line in lines),
            sum(line.strip().startswith("handle ") for line in lines),
        )

    assert len({shape(version) for version in range(SHAPE_BASE**2)}) == SHAPE_BASE**2


def test_a_version_bears_its_marker():
    assert '\t\trespond "42" 200' in render_version(42, 5)


def test_an_access_log_is_written_where_the_scene_asks_for_one(scene):
    assert "log" not in render_caddyfile(scene)
    text = render_caddyfile(dataclasses.replace(scene, access_log=True))
    assert text.splitlines().count("\tlog") == len(scene.hosts) + 1
