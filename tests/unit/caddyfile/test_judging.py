"""What is adapted but not run: refused where going without would change an answer or open access."""

import pytest
from zeroserve_ir.caddyfile.invoking import expand_named_routes
from zeroserve_ir.caddyfile.judging import find_unsupported
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import DiagnosticError, Severity
from zeroserve_ir.program.lowering import lower_site
from zeroserve_ir.tree import RaiseError, Route, StaticResponse, Subroute


def read(text):
    configuration, findings = read_configuration(text, environment={})
    assert findings == ()
    return configuration


ERRORS = [
    "a.example {\n\ttls {\n\t\tload /certificates\n\t}\n}\n",
    "a.example {\n\tacme_server\n}\n",
    "a.example {\n\t@m url_pattern /a/:id\n\trespond @m x\n}\n",
    "a.example {\n\t@m not url_pattern /a/:id\n\thandle {\n\t\trespond @m x\n\t}\n}\n",
    "a.example {\n\tfs other\n}\n",
    # In front of TLS is where `tls` follows.
    "{\n\tservers {\n\t\tlistener_wrappers {\n\t\t\tproxy_protocol\n\t\t}\n\t}\n}\na.example {\n}\n",
    "{\n\tservers {\n\t\tlistener_wrappers {\n\t\t\ttls\n\t\t}\n\t}\n}\nhttp://a.example {\n}\n",
    "{\n\tservers {\n\t\tlistener_wrappers {\n\t\t\tproxy_protocol {\n\t\t\t\tallow 10.0.0.1\n\t\t\t}\n"
    "\t\t\ttls\n\t\t}\n\t}\n}\na.example {\n}\n",
]
WARNINGS = [
    "a.example {\n\tpush /x\n}\n",
    "a.example {\n\ttls me@a.example\n}\n",
    "a.example {\n\ttls {\n\t\tciphers TLS_RSA_WITH_AES_128_CBC_SHA\n\t}\n}\n",
    "{\n\temail me@a.example\n}\na.example {\n}\n",
    "{\n\tservers {\n\t\tmax_header_size 1MB\n\t}\n}\na.example {\n}\n",
    "{\n\tservers {\n\t\tprotocols h2\n\t}\n}\na.example {\n}\n",
]
SILENT = [
    "a.example {\n\ttls {\n\t\tclient_auth {\n\t\t\tmode require\n\t\t}\n\t}\n}\n",
    "a.example {\n\ttls {\n\t\tciphers TLS_AES_128_GCM_SHA256\n\t}\n}\n",
    "{\n\tservers {\n\t\tstrict_sni_host\n\t}\n}\na.example {\n}\n",
    "a.example {\n\trespond x\n}\n",
    "a.example {\n\ttls internal {\n\t\tprotocols tls1.3\n\t}\n}\n",
    "a.example {\n\ttls cert.pem key.pem\n}\n",
    "{\n\tadmin off\n\tservers {\n\t\ttrusted_proxies static 10.0.0.0/8\n\t}\n}\na.example {\n\tlog\n}\n",
    "{\n\tservers {\n\t\tclient_ip_headers X-Real-IP\n\t\ttrusted_proxies_strict\n\t}\n}\na.example {\n}\n",
    "{\n\tservers :443 {\n\t\ttrusted_proxies static 10.0.0.0/8\n\t}\n}\na.example {\n}\n",
    "{\n\tservers :443 {\n\t\ttrusted_proxies static 10.0.0.0/8\n\t}\n}\na.example, a.example:444 {\n}\n",
    "{\n\tservers {\n\t\texpected_underscore_headers X_A\n\t}\n}\na.example {\n}\n",
    "{\n\tservers {\n\t\ttimeouts {\n\t\t\tidle 5m\n\t\t}\n\t\tprotocols h1\n\t}\n}\na.example {\n}\n",
    "{\n\tservers {\n\t\tlistener_wrappers {\n\t\t\tproxy_protocol\n\t\t}\n\t}\n}\nhttp://a.example {\n}\n",
    "{\n\tservers {\n\t\tlistener_wrappers {\n\t\t\thttp_redirect\n\t\t\ttls\n\t\t}\n\t}\n}\na.example {\n}",
    "a.example {\n\turi query a ^b c\n\theader {\n\t\tX-A b\n\t\tmatch status 2xx\n\t}\n}\n",
]


@pytest.mark.parametrize("text", ERRORS)
def test_what_changes_an_answer_or_opens_access_is_refused(text):
    found = find_unsupported(read(text))
    assert Severity.ERROR in {one.severity for one in found}
    assert all(one.code is Code.ZS0110 and one.span.line and one.help for one in found)


@pytest.mark.parametrize("text", WARNINGS)
def test_what_changes_no_answer_is_warned_about(text):
    found = find_unsupported(read(text))
    assert {one.severity for one in found} == {Severity.WARNING}
    assert all(one.code is Code.ZS0110 and one.span.line for one in found)


@pytest.mark.parametrize("text", SILENT)
def test_what_is_run_is_not_mentioned(text):
    assert find_unsupported(read(text)) == ()


def test_a_site_with_a_carried_handler_is_not_lowered_without_it():
    (site,) = read("a.example {\n\tacme_server\n}\n").sites
    with pytest.raises(DiagnosticError):
        lower_site(site)


NAMED = "&(one) {\n\trespond first\n}\na.example {\n\thandle /x {\n\t\tinvoke one\n\t}\n}\n"


def test_a_named_route_is_put_where_it_is_invoked():
    (site,) = expand_named_routes(read(NAMED)).sites
    (route,) = site.routes
    (inner,) = route.handlers[0].routes
    assert inner == Route((Subroute((Route((StaticResponse(body="first"),)),)),))


def test_a_route_that_invokes_itself_answers_an_error():
    (site,) = expand_named_routes(read("&(one) {\n\tinvoke one\n}\na.example {\n\tinvoke one\n}\n")).sites
    (inner,) = site.routes[0].handlers[0].routes
    assert isinstance(inner.handlers[0], RaiseError)


def test_an_unknown_named_route_is_refused():
    _, (found,) = read_configuration("a.example {\n\tinvoke none\n}\n", environment={})
    assert (found.code, found.span.line) == (Code.ZS0104, 2)
