"""What people bring from Caddy 1, nginx and plugins is refused at its word, with a cure that helps."""

import pytest
from zeroserve_ir.caddyfile.meaning.sites import read_configuration

SITE = "http://:8080 {{\n\t{}\n}}\n"
PROXY = "http://:8080 {{\n\treverse_proxy a:1 {{\n\t\t{}\n\t}}\n}}\n"
OPTION = "{{\n\t{}\n}}\n:8080 {{\n\trespond x\n}}\n"
WHOLE = "{}\n"
CASES = [
    (SITE, "proxy / localhost:8080", "proxy", "write reverse_proxy [MATCHER] HOST:PORT"),
    (SITE, "gzip", "gzip", "write encode gzip"),
    (SITE, "location /api {\n}", "location", "write handle PATH* { … }"),
    (SITE, "server_name a.example;", "server_name", "write the names before the brace of the site"),
    (SITE, "crowdsec", "crowdsec", "it is a plugin of Caddy, which is not here: guard the route"),
    (SITE, "php_server", "php_server", "write php_fastcgi HOST:PORT and file_server"),
    (SITE, "fileserver", "fileserver", "write file_server"),
    (SITE, "basic-auth {\n}", "basic-auth", "write basic_auth"),
    (SITE, "file_server;", "file_server;", "remove the semicolon"),
    (SITE, "handle{\n\t}", "handle{", "write handle {"),
    (SITE, "// words", "//", "begin a comment with #"),
    (SITE, "header_up Host a", "header_up", "move it into the block of reverse_proxy"),
    (SITE, "email a@b.example", "email", "move it into the block without address"),
    (SITE, "path /a", "path", "path is a matcher: write @NAME path …"),
    (SITE, "@api /api/*", "/api/*", "write path /api/*"),
    (SITE, "@api methods GET", "methods", "write method"),
    (SITE, "encode brotli", "brotli", "write br"),
    (SITE, "respond “a b” 200", "“a", "with straight quotes"),
    (PROXY, "header_upstream A b", "header_upstream", "write header_up"),
    (PROXY, "websocket", "websocket", "remove it: reverse_proxy does so by itself"),
    (PROXY, "file_server", "file_server", "file_server is a directive: move it into a site"),
    (PROXY, "lb_policy p2c", "p2c", "write one of random, random_choose, round_robin"),
    (
        PROXY,
        "lb_retry_match status 503",
        "status",
        "write expression `{http.reverse_proxy.status",
    ),
    (
        SITE,
        "tls internal {\n client_auth require\n}",
        "require",
        "write mode require_and_verify",
    ),
    (SITE, "tls internal {\n client_auth\n}", "client_auth", "write mode require_and_verify"),
    (SITE, "tls internal {\n protocols tls1.3 tls1.2\n}", "tls1.3", "write protocols tls1.2 tls1.3"),
    (OPTION, "respond x", "respond", "respond is a directive: move it into a site"),
    (OPTION, '"apps" {\n}', '"apps"', "give the file a name that ends in .json"),
    (OPTION, "order webdav before file_server", "webdav", "it is a plugin of Caddy"),
    (WHOLE, "http://:8080 {\n\trespond x\n}\n}", "}", "remove it, or open its block"),
    (WHOLE, "http://:${PORT} {\n\trespond x\n}", "http://:${PORT}", "write {$NAME} for a variable"),
    (WHOLE, "http://:8080 {\n\trespond x\n}# end", "}#", "write } on a line of its own"),
]


@pytest.mark.parametrize(("place", "written", "word", "cure"), CASES, ids=[case[1] for case in CASES])
def test_a_foreign_word_has_a_cure(place, written, word, cure):
    text = place.format(written)
    _, findings = read_configuration(text, environment={})
    found = [one for one in findings if cure in one.help]
    assert found, [one.render_short() for one in findings]
    row = text.split("\n")[found[0].span.line - 1]
    assert row[found[0].span.column - 1 : found[0].span.end - 1] == word


def test_a_brace_on_its_own_line_is_one_finding():
    text = SITE.format("handle /a\n\t{\n\t\trespond x\n\t}")
    _, (finding,) = read_configuration(text, environment={})
    assert finding.help == "place the brace on the line of the directive"
