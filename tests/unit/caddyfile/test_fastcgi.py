"""`transport fastcgi` and `php_fastcgi`: what they read, what they refuse, what they stand for."""

import pytest
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.drafting_roots import find_roots, resolve_roots
from zeroserve_ir.program.lowering import lower_site
from zeroserve_ir.tree import ReverseProxy, Subroute
from zeroserve_ir.tree_fastcgi import FastCgi
from zeroserve_ir.tree_upstreams import NO_KEEPALIVE_MS


def read(text):
    return read_configuration(f":80 {{\n{text}\n}}\n", environment={})


def proxies(routes):
    for route in routes:
        for handler in route.handlers:
            if isinstance(handler, Subroute):
                yield from proxies(handler.routes)
            elif isinstance(handler, ReverseProxy):
                yield handler


WHOLE = """reverse_proxy unix//run/php.sock {
transport fastcgi {
root /srv
split .php .PHP5
env A {http.request.host}
env A two
env B three
resolve_root_symlink
dial_timeout 1s
read_timeout 2s
write_timeout 3s
capture_stderr
}
}"""


def test_every_subdirective_of_the_transport_is_read_and_printed():
    configuration, findings = read(WHOLE)
    assert findings == ()
    (proxy,) = proxies(configuration.sites[0].routes)
    assert proxy.fastcgi == FastCgi("/srv", (".php", ".PHP5"), (("A", "two"), ("B", "three")), True, True)
    transport = proxy.transport
    timeouts = transport.dial_timeout_ms, transport.read_timeout_ms, transport.write_timeout_ms
    assert timeouts == (1000, 2000, 3000)
    assert transport.keepalive_ms == NO_KEEPALIVE_MS
    again, findings = read_configuration(print_configuration(configuration), environment={})
    assert (again, findings) == (configuration, ())
    assert adapt_configuration(again) == adapt_configuration(configuration)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("reverse_proxy a:1 {\ntransport fastcgi {\nsplit\n}\n}", "ZS0102"),
        ("reverse_proxy a:1 {\ntransport fastcgi {\nsplit .ph\u00fc\n}\n}", "ZS0103"),
        ("reverse_proxy a:1 {\ntransport fastcgi {\nenv A\n}\n}", "ZS0102"),
        ("reverse_proxy a:1 {\ntransport fastcgi {\nkeepalive 3\n}\n}", "ZS0109"),
        ("reverse_proxy a:1 {\ntransport fastcgi {\nread_timeout soon\n}\n}", "ZS0103"),
        ("reverse_proxy a:1 {\ntransport fastcgi {\ncapture_stderr yes\n}\n}", "ZS0102"),
        ("reverse_proxy https://a {\ntransport fastcgi\n}", "ZS0103"),
        ("reverse_proxy a:1 {\ntransport scgi\n}", "ZS0103"),
        ("php_fastcgi a:1 {\nindex\n}", "ZS0102"),
        ("php_fastcgi a:1 {\ntry_files\n}", "ZS0102"),
        ("php_fastcgi a:1 {\nunheard_of\n}", "ZS0109"),
    ],
)
def test_what_is_wrong_is_refused_where_it_stands(text, code):
    _, findings = read(text)
    assert [finding.code.name for finding in findings] == [code]


@pytest.mark.parametrize(
    ("block", "routes"),
    [
        ("", 3),
        ("index off", 1),
        ("index start.php", 3),
        ("try_files {path} start.php", 2),
        ("try_files {path} {path}/index.php", 3),
    ],
)
def test_php_fastcgi_is_a_redirect_a_rewrite_and_a_proxy(block, routes):
    configuration, findings = read(f"php_fastcgi a:9000 {{\n{block}\n}}")
    assert findings == ()
    site = configuration.sites[0]
    assert len(site.routes) == routes
    assert [proxy.fastcgi.split for proxy in proxies(site.routes)] == [(".php",)]


def test_a_cluster_of_php_keeps_no_connection():
    configuration, _ = read("php_fastcgi a:9000 {\nindex off\nenv X {http.request.method}\n}")
    lowered = lower_site(configuration.sites[0])
    (call,) = lowered.tables.proxies
    assert call.fastcgi.split == [".php"]
    assert call.fastcgi.root.parts[0].placeholder == "http.vars.root"
    assert call.fastcgi.environment[0].value.parts[0].placeholder == "http.request.method"
    assert lowered.clusters[0].keepalive_timeout_ms == 1


def test_linked_roots_are_found_out(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")
    configuration, _ = read(f"root * {link}\nroot /x* {{http.request.host}}\nrespond ok")
    roots = find_roots(configuration.sites)
    assert sorted(roots) == sorted((str(link), "{http.request.host}"))
    resolved = resolve_roots(FastCgi(resolve_root_symlink=True), roots).resolved_roots
    assert resolved == ((str(link), str((tmp_path / "real").resolve())),)
