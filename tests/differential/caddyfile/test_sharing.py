"""Sites that Caddy refuses together: names that nobody signs, HTTP and HTTPS on one listener."""

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.codes import Code

RESPOND = "\trespond x\n}\n"


def sites(*addresses):
    return "".join(f"{address} {{\n{RESPOND}" for address in addresses)


REFUSED = {
    "an unset variable": (sites("app.{$NOT_SET}"), 1),
    "a template's mark": (sites("app.<domain>"), 1),
    "a wildcard inside": (sites("a.example", "a.*.example"), 4),
    "a placeholder": (sites("{env.NAME}.example"), 1),
    "certificates of files do not sign": ("x. {\n\ttls a.crt a.key\n}\n", 1),
    "one listener of HTTP and HTTPS": (sites("https://a.example:8080", "http://b.example:8080"), 4),
    "in one site": (sites("https://a.example:8080, http://b.example:8080"), 1),
    "a bare port beside https": (sites(":8080", "https://a.example:8080"), 1),
    "certificates for HTTP": ("http://a.example {\n\ttls a.crt a.key\n}\n", 1),
    "versions for HTTP": ("a.example:80 {\n\ttls {\n\t\tprotocols tls1.3\n\t}\n}\n", 1),
}
TAKEN = {
    "signed here": "x. {\n\ttls internal\n}\n",
    "signed here, by option": "{\n\tlocal_certs\n}\n" + sites("x."),
    "plain HTTP": sites("http://app.<domain>", "x.:80"),
    "of tailscale": sites("a!.ts.net"),
    "a host without scheme follows": sites("https://a.example:8080", "b.example:8080"),
    "the own authority beside a bare port": "a.example:8080 {\n\ttls internal\n}\n" + sites(":8080"),
    "other addresses": sites("https://a.example:8080", "http://a.example:8081"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_at_its_address(case, stock_caddy):
    text, line = REFUSED[case]
    _, (found,) = read_configuration(text, environment={})
    assert (found.code, found.span.line) == (Code.ZS0107, line)
    assert stock_caddy.refuses(text)


@pytest.mark.parametrize("case", TAKEN)
def test_taken(case, stock_caddy):
    configuration, found = read_configuration(TAKEN[case], environment={})
    assert found == ()
    assert adapt_configuration(configuration) == stock_caddy.adapt(TAKEN[case])
