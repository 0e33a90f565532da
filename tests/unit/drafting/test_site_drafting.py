"""Sites of a Caddyfile as resources: listeners, hosts, certificates, upstreams."""

import datetime
import json

import pytest
from cryptography import x509
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.authorities import Authority
from zeroserve_ir.caddyfile.decoding import decode_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.settling import settle_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Severity
from zeroserve_ir.drafting import TYPE_OF_MESSAGE
from zeroserve_ir.drafting_sites import draft_sites
from zeroserve_ir.site_certificates import LocalCertificates

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
MESSAGES = {int(kind): message for message, kind in TYPE_OF_MESSAGE.items()}


@pytest.fixture(scope="module")
def certificates():
    return LocalCertificates.create(NOW)


def refuse_files(path):
    raise FileNotFoundError(2, "No such file or directory")


@pytest.fixture
def draft(certificates):
    def run(text, read_file=refuse_files):
        configuration, diagnostics = read_configuration(text, environment={})
        assert not diagnostics
        return draft_sites(configuration, read_file, certificates, NOW)

    return run


def messages(drafted, kind):
    found = (resource for key, resource in drafted.draft.resources.items() if key[0] == kind)
    return {resource.name: MESSAGES[int(kind)].FromString(resource.payload) for resource in found}


def test_a_plain_site_is_a_listener_a_host_and_its_endpoints(draft):
    drafted = draft("http://shop.example:8080 {\n reverse_proxy 127.0.0.1:9000 [::1]:9001\n}")
    assert drafted.diagnostics == ()
    (listener,) = messages(drafted, pb.LISTENER).values()
    assert (listener.name, listener.port, listener.tls) == ("http-8080", 8080, False)
    (host,) = messages(drafted, pb.VIRTUAL_HOST).values()
    assert (list(host.hosts), list(host.listeners)) == (["shop.example"], ["http-8080"])
    assert host.program in messages(drafted, pb.PROGRAM)
    (endpoints,) = messages(drafted, pb.ENDPOINTS).values()
    assert [(one.address, one.port) for one in endpoints.endpoints] == [("127.0.0.1", 9000), ("::1", 9001)]
    (cluster,) = messages(drafted, pb.CLUSTER).values()
    assert cluster.endpoints == endpoints.name


def test_names_of_upstreams_are_left_to_the_agent(draft):
    drafted = draft("http://a {\n reverse_proxy backend.internal:80\n}")
    (endpoints,) = messages(drafted, pb.ENDPOINTS).values()
    assert [(one.address, one.port) for one in endpoints.endpoints] == [("backend.internal", 80)]


def test_equal_sites_share_what_they_refer_to_and_each_is_named_where_it_cannot_be_dialled(draft):
    drafted = draft(
        "http://a, http://b {\n reverse_proxy 127.0.0.1:x/y\n}\nhttp://c {\n reverse_proxy 127.0.0.1:x/y\n}"
    )
    assert [(one.code, one.span.line) for one in drafted.diagnostics] == [(Code.ZS0110, 1), (Code.ZS0110, 4)]
    assert len(messages(drafted, pb.ENDPOINTS)) == len(messages(drafted, pb.PROGRAM)) == 1


def test_https_sites_get_a_local_certificate_and_a_redirect(draft, certificates):
    drafted = draft("shop.example {\n respond 200\n}")
    found = messages(drafted, pb.CERTIFICATE)
    assert [list(one.hosts) for one in found.values()] == [["shop.example"]]
    leaf = x509.load_der_x509_certificate(found["local/shop.example"].chain[0])
    leaf.verify_directly_issued_by(certificates.authority.certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["shop.example"]
    assert sorted(one.port for one in messages(drafted, pb.LISTENER).values()) == [80, 443]


def test_an_equal_configuration_is_an_equal_draft(draft):
    text = "shop.example {\n respond 200\n}"
    assert draft(text).draft.version == draft(text).draft.version


def test_certificates_come_from_files(draft):
    authority = Authority.create("test", NOW, 100 * DAY)
    issued = authority.issue(["shop.example"], NOW, 10 * DAY)
    files = {"c.pem": issued.chain_pem, "k.pem": issued.key_pem}
    drafted = draft("shop.example {\n tls c.pem k.pem\n}", files.__getitem__)
    found = messages(drafted, pb.CERTIFICATE).values()
    assert [(list(one.hosts), tuple(one.chain)) for one in found] == [(["shop.example"], issued.chain)]
    assert drafted.diagnostics == ()


def issue_files():
    issued = Authority.create("test", NOW, 100 * DAY).issue(["*.example"], NOW, 10 * DAY)
    return {"c.pem": issued.chain_pem, "k.pem": issued.key_pem, "copy.pem": issued.chain_pem}


def test_sites_that_share_files_share_a_certificate_with_all_their_hosts(draft):
    text = "a.example {\n tls c.pem k.pem\n}\nb.example {\n tls copy.pem k.pem\n}"
    drafted = draft(text, issue_files().__getitem__)
    (certificate,) = messages(drafted, pb.CERTIFICATE).values()
    assert list(certificate.hosts) == ["*.example", "a.example", "b.example"]


def test_the_certificate_of_a_site_for_any_host_is_shown_to_all_others(draft):
    text = "a.example {\n tls c.pem k.pem\n}\nhttps:// {\n tls c.pem k.pem\n}"
    drafted = draft(text, issue_files().__getitem__)
    (certificate,) = messages(drafted, pb.CERTIFICATE).values()
    assert certificate.without_name and certificate.other_names
    assert list(certificate.hosts) == ["*.example", "a.example"]


def list_shown(drafted):
    """Return for whom each certificate is: names, listeners, clients without one, other names."""
    return sorted(
        (list(one.hosts), list(one.listeners), one.without_name, one.other_names)
        for one in messages(drafted, pb.CERTIFICATE).values()
    )


def test_a_wildcard_host_needs_no_certificates_for_hosts_below_it(draft):
    drafted = draft("*.example {\n respond 200\n}\na.example {\n respond 200\n}")
    assert list_shown(drafted) == [(["*.example"], [], False, False)]


def test_files_that_cover_a_host_stand_in_for_its_certificate(draft):
    text = "a.example {\n tls c.pem k.pem\n}\nb.example {\n respond 200\n}"
    drafted = draft(text, issue_files().__getitem__)
    assert list_shown(drafted) == [(["*.example", "a.example"], [], False, False)]


@pytest.mark.parametrize("mode", ["off", "disable_certs"])
def test_without_automatic_https_only_files_are_shown(draft, mode):
    drafted = draft(f"{{\n auto_https {mode}\n}}\nhttps://a.example {{\n respond 200\n}}")
    assert list_shown(drafted) == []


def test_default_sni_is_for_clients_without_a_name_and_fallback_sni_for_other_names(draft):
    text = "{\n default_sni a.example\n fallback_sni b.example\n}\na.example {\n}\nb.example {\n}"
    assert list_shown(draft(text)) == [
        (["a.example"], [], True, False),
        (["b.example"], [], False, True),
    ]


def test_each_listener_has_what_its_own_site_for_any_host_names(draft):
    files = issue_files()
    text = "https://:8443 {\n tls c.pem k.pem\n}\nhttps://x.test:9443 {\n respond 200\n}"
    assert list_shown(draft(text, files.__getitem__)) == [
        (["*.example"], [], False, False),
        (["x.test"], [], False, False),
        (["x.test"], ["https-8443"], True, True),
    ]


def test_addresses_are_for_clients_without_a_name(draft):
    drafted = draft("https://127.0.0.1 {\n respond 200\n}\nhttps://[::1] {\n respond 200\n}")
    assert list_shown(drafted) == [(["127.0.0.1"], [], False, False), (["::1"], [], False, False)]
    tls = [one for one in messages(drafted, pb.LISTENER).values() if one.tls]
    assert tls and all(one.reads_local for one in tls)


@pytest.mark.parametrize(("answer", "asked"), [("{http.request.local.host}", True), ("{host}", False)])
def test_a_listener_reads_where_clients_came_to_only_if_somebody_asks(draft, answer, asked):
    drafted = draft(f'http://a.example {{\n respond "{answer}"\n}}')
    (listener,) = messages(drafted, pb.LISTENER).values()
    assert listener.reads_local is asked


def certificate_files(case):
    authority = Authority.create("test", NOW - 50 * DAY, 100 * DAY)
    issued = authority.issue(["shop.example"], NOW, 10 * DAY)
    other = authority.issue(["shop.example"], NOW, 10 * DAY)
    ended = authority.issue(["shop.example"], NOW - 20 * DAY, 10 * DAY)
    return {
        "garbage certificate": {"c.pem": b"garbage", "k.pem": issued.key_pem},
        "empty certificate": {"c.pem": b"", "k.pem": issued.key_pem},
        "garbage key": {"c.pem": issued.chain_pem, "k.pem": b"garbage"},
        "key of another": {"c.pem": issued.chain_pem, "k.pem": other.key_pem},
        "ended": {"c.pem": ended.chain_pem, "k.pem": ended.key_pem},
    }[case]


@pytest.mark.parametrize(
    "case", ["garbage certificate", "empty certificate", "garbage key", "key of another", "ended"]
)
def test_an_unusable_certificate_is_a_finding_and_the_local_one_is_served(draft, case):
    drafted = draft("shop.example {\n tls c.pem k.pem\n}", certificate_files(case).__getitem__)
    assert [one.code.name for one in drafted.diagnostics] == ["ZS0503"]
    assert "local/shop.example" in messages(drafted, pb.CERTIFICATE)


def test_an_unreadable_certificate_is_a_finding_with_its_line(draft):
    drafted = draft("a.example {\n respond 200\n}\nshop.example {\n tls c.pem k.pem\n}")
    (finding,) = drafted.diagnostics
    assert (finding.code.name, finding.span.line) == ("ZS0111", 4)


def test_sites_that_share_a_host_by_paths_are_one_virtual_host(draft):
    drafted = draft(
        "http://a/x* {\n respond 201\n}\nhttp://a {\n respond 202\n}\nhttp://b {\n respond 203\n}"
    )
    hosts = messages(drafted, pb.VIRTUAL_HOST).values()
    assert sorted(tuple(one.hosts) for one in hosts) == [("a",), ("b",)]


def test_a_path_site_falls_through_to_the_wildcard_and_to_any_host(draft):
    sites = ("http://a.example/x*", 201), ("http://*.example", 202), ("http://", 203)
    text = "\n".join(f"{address} {{\n respond {status}\n}}" for address, status in sites)
    drafted = draft(text)
    tables = messages(drafted, pb.TABLES)
    bodies = {
        tuple(host.hosts): [one.status.parts[0].literal for one in tables[host.tables].responses]
        for host in messages(drafted, pb.VIRTUAL_HOST).values()
    }
    assert bodies == {("a.example",): ["201", "202"], ("*.example",): ["202"], ("",): ["203"]}


def test_addresses_of_one_site_are_one_virtual_host(draft):
    drafted = draft("http://a, http://b, http://c {\n respond 200\n}")
    (host,) = messages(drafted, pb.VIRTUAL_HOST).values()
    assert list(host.hosts) == ["a", "b", "c"]


def test_http_and_https_on_one_port_is_a_finding(certificates):
    text = "http://a:8443 {\n respond 200\n}\nhttps://b:8443 {\n respond 200\n}"
    configuration, _ = read_configuration(text, environment={})
    drafted = draft_sites(configuration, refuse_files, certificates, NOW)
    assert [one.code.name for one in drafted.diagnostics] == ["ZS0107"]


def test_an_authority_of_an_upstream_that_cannot_be_read_fails_closed(draft):
    transport = "transport http {\n tls_trusted_ca_certs ca.pem\n}"
    text = f"http://a {{\n reverse_proxy https://b {{\n {transport}\n }}\n}}"
    drafted = draft(text)
    assert [one.code.name for one in drafted.diagnostics] == ["ZS0111"]
    assert messages(drafted, pb.CLUSTER) == {}


def test_the_local_authority_survives_a_restart(tmp_path):
    first = LocalCertificates.open(tmp_path / "pki", NOW)
    second = LocalCertificates.open(tmp_path / "pki", NOW + DAY)
    assert first.authority.certificate == second.authority.certificate
    assert (tmp_path / "pki" / "root.pem").stat().st_mode & 0o777 == 0o600


def literals(drafted):
    (tables,) = messages(drafted, pb.TABLES).values()
    return [part.literal for response in tables.responses for part in response.body.parts]


def test_placeholders_of_files_become_their_content_without_its_last_line_end(draft):
    files = {"/motd": b"hello\r\n"}
    drafted = draft('http://a.example {\n respond "<{file./motd}>"\n}', files.__getitem__)
    assert drafted.diagnostics == ()
    assert literals(drafted) == ["<", "hello", ">"]
    other = draft('http://a.example {\n respond "<{file./motd}>"\n}', {"/motd": b"bye"}.__getitem__)
    assert set(messages(drafted, pb.TABLES)) != set(messages(other, pb.TABLES))


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_a_placeholder_of_a_file_that_is_no_text_is_empty_with_a_warning(draft, content):
    read_file = refuse_files if content is None else lambda path: content
    drafted = draft('http://a.example {\n respond "<{file./motd}>"\n}', read_file)
    assert literals(drafted) == ["<", "", ">"]
    (finding,) = drafted.diagnostics
    assert (finding.code, finding.severity) == (Code.ZS0111, Severity.WARNING)


def test_a_star_is_a_host_of_one_label_before_what_answers_for_any(draft):
    alone = draft("http://* {\n respond one\n}")
    assert [list(host.hosts) for host in messages(alone, pb.VIRTUAL_HOST).values()] == [[""]]
    both = draft("http://* {\n respond one\n}\nhttp://a.example {\n respond a\n}\nhttp:// {\n respond any\n}")
    assert sorted(list(host.hosts) for host in messages(both, pb.VIRTUAL_HOST).values()) == [
        [""],
        ["a.example"],
    ]
    hosts = [list(row.values) for tables in messages(both, pb.TABLES).values() for row in tables.hosts]
    assert ["*"] in hosts


def find_conditions(drafted):
    """By hosts: of each response the hosts that a matcher asks for, in the order of the routes."""
    tables = messages(drafted, pb.TABLES)
    return {
        tuple(host.hosts): [tuple(row.values) for row in tables[host.tables].hosts]
        for host in messages(drafted, pb.VIRTUAL_HOST).values()
    }


def test_each_star_of_a_name_is_a_label(draft):
    drafted = draft("http://*.*.a {\n respond two\n}\nhttp://*.a {\n respond one\n}")
    assert find_conditions(drafted) == {("",): [("*.*.a",)], ("*.a",): []}


def test_names_below_several_stars_fall_through_to_them(draft):
    sites = ("http://x.y.a/p", "http://*.y.a/p", "http://*.*.a", "http://z.*.a")
    drafted = draft("\n".join(f"{address} {{\n respond {address}\n}}" for address in sites))
    assert find_conditions(drafted) == {
        ("x.y.a",): [],
        ("*.y.a",): [("z.*.a",)],
        ("",): [("z.*.a",), ("*.*.a",)],
    }


@pytest.mark.parametrize("name", ["*", "*.*.a.example"])
def test_certificates_of_clients_are_not_asked_for_by_names_that_a_matcher_tells(draft, name):
    client = "client_auth {\n  mode require\n }"
    drafted = draft(f"https://{name} {{\n tls {{\n {client}\n }}\n respond secret\n}}")
    (finding,) = drafted.diagnostics
    assert (finding.code.name, name in finding.message) == ("ZS0110", True)
    hosts = messages(drafted, pb.VIRTUAL_HOST).values()
    (host,) = (one for one in hosts if one.name.startswith("https://"))
    assert host.deny


def test_variables_of_the_environment_are_filled_in(certificates):
    text = "http://a {\n header X {env.WORD}\n reverse_proxy {env.UP}:80 {env.NONE}127.0.0.1:81\n}"
    configuration, _ = read_configuration(text, environment={})
    environment = {"WORD": "{method}", "UP": "127.0.0.1"}
    drafted = draft_sites(configuration, refuse_files, certificates, NOW, environment)
    (endpoints,) = messages(drafted, pb.ENDPOINTS).values()
    assert [(one.address, one.port) for one in endpoints.endpoints] == [("127.0.0.1", 80), ("127.0.0.1", 81)]
    (tables,) = messages(drafted, pb.TABLES).values()
    (value,) = [change.value for row in tables.header_changes for change in row.changes]
    assert [part.literal for part in value.parts] == ["{method}"]


@pytest.mark.parametrize("provider", ["pki_root", "pki_intermediate", "inline", "file", "http", "no-such"])
def test_an_upstream_whose_trust_pool_gives_no_certificate_is_not_believed(provider):
    tls = {"protocol": "http", "tls": {"ca": {"provider": provider}}}
    proxy = {"handler": "reverse_proxy", "transport": tls, "upstreams": [{"dial": "127.0.0.1:9"}]}
    server = {"listen": [":8080"], "routes": [{"handle": [proxy]}]}
    adapted, findings = decode_configuration(json.dumps({"apps": {"http": {"servers": {"a": server}}}}), "a")
    assert not findings
    configuration, _ = settle_configuration(adapted)
    drafted = draft_sites(configuration, lambda path: b"", None, NOW)
    assert [one.code for one in drafted.diagnostics] == [Code.ZS0110]
    assert not messages(drafted, pb.CLUSTER)


def test_names_beyond_ascii_are_served_and_signed_as_clients_send_them(draft):
    drafted = draft("münchen.example {\n respond a\n}")
    hosts = {name for host in messages(drafted, pb.VIRTUAL_HOST).values() for name in host.hosts if name}
    assert hosts == {"xn--mnchen-3ya.example"}
    signed = {name for one in messages(drafted, pb.CERTIFICATE).values() for name in one.hosts}
    assert signed == {"xn--mnchen-3ya.example"}


def test_a_name_that_is_no_text_is_drafted_too(draft):
    assert not draft("\ufffd\ufffd:8080 {\n respond a\n}").diagnostics
