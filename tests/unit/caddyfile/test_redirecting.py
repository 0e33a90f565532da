"""Automatic redirects from http to https."""

from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.redirecting import add_redirects
from zeroserve_ir.tree import Scheme, SiteAddress, StaticResponse


def added(text):
    configuration, _ = read_configuration(text, environment={})
    sites = add_redirects(configuration).sites[len(configuration.sites) :]
    result = {}
    for site in sites:
        (handler,) = site.routes[0].handlers
        assert isinstance(handler, StaticResponse)
        assert (handler.status, handler.close) == ("308", True)
        result |= dict.fromkeys(site.addresses, handler.headers[0][1])
    return result


def http(host, port=80):
    return SiteAddress(Scheme.HTTP, host, port)


TO = "https://{http.request.host}{http.request.uri}"


def test_hosts_with_tls_are_redirected_and_all_others_too():
    assert added("a.example, *.b.example {\n}") == {
        http("a.example"): TO,
        http("*.b.example"): TO,
        http(""): TO,
    }


def test_another_port_is_named():
    to = "https://{http.request.host}:8443{http.request.uri}"
    assert added("a.example:8443 {\n}") == {http("a.example"): to, http(""): TO}


def test_own_http_sites_stay():
    assert added("a.example {\n}\nhttp://a.example {\n}\n:80 {\n}") == {}


def test_plain_sites_and_switches_give_none():
    assert added(":8080 {\n}\nhttp://a.example {\n}") == {}
    assert added("{\nauto_https off\n}\na.example {\n}") == {}
    assert added("{\nauto_https disable_redirects\n}\na.example {\n}") == {}


def test_the_http_port_is_that_of_the_options():
    assert http("a.example", 8080) in added("{\nhttp_port 8080\n}\na.example {\n}")
