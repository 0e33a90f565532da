"""`configuration-snippet`: directives that set header fields are read, whatever else is in it closes."""

import pytest
from zeroserve_ir import tree
from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.annotations.snippets import Directive, SnippetError, read_directives
from zeroserve_operator.pipeline import DEV_SETTINGS

SNIPPET = "configuration-snippet"
MANY = "".join(f"add_header X-{number} a;\n" for number in range(129))
MANY_OF_A_NAME = "add_header X-A a;\n" * 129


def write(ingress, text, **annotations):
    """An Ingress with a snippet that YAML cannot change."""
    named = {key.replace("_", "-"): value for key, value in annotations.items()}
    lines = "".join(f"      {line}\n" for line in text.split("\n"))
    given = ingress(annotations={"use-regex": "false", **named})
    return given.replace("  annotations:\n", f"  annotations:\n    {PREFIX}{SNIPPET}: |-\n{lines}", 1)


def proxies(loaded):
    def walk(routes):
        for route in routes:
            for handler in route.handlers:
                yield handler
                if isinstance(handler, tree.Subroute):
                    yield from walk(handler.routes)

    found = [handler for site in loaded.sites for handler in walk(site.routes)]
    return [handler for handler in found if isinstance(handler, tree.ReverseProxy)]


@pytest.mark.parametrize(
    ("text", "directives"),
    [
        ("a b;", [Directive("a", ("b",), 1)]),
        ('# x; y {\n\n a \'b c\' "d\\"e";f;', [Directive("a", ("b c", 'd"e'), 3), Directive("f", (), 3)]),
        ("a\n  b\n  c;", [Directive("a", ("b", "c"), 1)]),
        ("a b#c;", [Directive("a", ("b#c",), 1)]),
        ("a 'b\\n\\d';", [Directive("a", ("b\n\\d",), 1)]),
        ("a b\"c';", [Directive("a", ("b\"c'",), 1)]),
        (" \n# nothing", []),
    ],
)
def test_words_are_those_that_nginx_reads(text, directives):
    assert list(read_directives(text)) == directives


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a;\nb", 2),
        ("a 'b", 1),
        ("a 'b'c;", 1),
        (";", 1),
        ("a;\n\nif (b) {\n}", 3),
        ("}", 1),
        ("a ${b};", 1),
        ("a b{", 1),
        ("a \\", 1),
    ],
)
def test_what_nginx_refuses_and_blocks_are_not_read(text, line):
    with pytest.raises(SnippetError, match=f"line {line}: "):
        list(read_directives(text))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("deny all;", 1),
        ("add_header X-A b;\nreturn 403;", 2),
        ("add_header X-A b;\nif ($host = x) { return 403; }", 2),
        ("add_header X-A;", 1),
        ("add_header X-A b sometimes;", 1),
        ('add_header X-A "b\\r\\nSet-Cookie: c";', 1),
        ('add_header X-A "b\nSet-Cookie: c";', 1),
        ('add_header "X-A: b" c;', 1),
        ("add_header X_A b;", 1),
        ("add_header Content-Length 1;", 1),
        ("add_header Etag x;", 1),
        ("add_header X-A $upstream_status;", 1),
        ("add_header X-A $request_id;", 1),
        ("add_header X-A a$;", 1),
        (r"add_header X-A a\$host;", 1),
        ("proxy_set_header Host other.example;", 1),
        ("proxy_set_header X-Forwarded-For $http_x_a;", 1),
        ("proxy_set_header X-Forwarded-Proto https;", 1),
        ("proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;", 1),
        ("proxy_set_header X-Forwarded-For $HTTP_X_Forwarded_For;", 1),
        ("proxy_set_header X_Forwarded_For $http_x_forwarded_for;", 1),
        ("proxy_set_header Connection close;", 1),
        ("proxy_set_header X-A a;\nproxy_set_header X-a b;", 2),
        ("proxy_set_header X-A a;\nproxy_set_header X-B $http_x_a;", 2),
        ("proxy_set_header X-A a;\nproxy_set_header X-B $Http_X_A;", 2),
        ("proxy_set_header Cookie a;\nproxy_set_header X-B $cookie_x;", 2),
        ("proxy_hide_header X-*;", 1),
        ("proxy_hide_header Transfer-Encoding;", 1),
        ("more_set_headers -s 404 'X-A: b';", 1),
        ("more_set_headers X-A;", 1),
        ("more_set_headers;", 1),
        ("more_set_headers 'Transfer-Encoding: chunked';", 1),
        ("more_set_headers 'X-A: b';\nmore_clear_headers 'X-*';", 2),
        ("more_set_headers 'X-A: b';\nadd_header X-A c;", 2),
        ("more_clear_headers -t text/html X-A;", 1),
        ("more_clear_headers -s 404 X-A;", 1),
        ("more_clear_input_headers -r X-A;", 1),
        ("more_clear_headers *;", 1),
        ("more_clear_headers 'Con*';", 1),
        ("more_clear_headers '*-A';", 1),
        ("more_set_input_headers -r 'X-A: b';", 1),
        ("more_set_input_headers 'Host: b';", 1),
        ("more_set_input_headers 'X-A: b';\nproxy_set_header X-A c;", 2),
        ("more_clear_input_headers 'X-Forwarded-*';", 1),
        ("more_set_input_headers 'Y: $http_x_a';\nmore_clear_input_headers 'X-A*';", 2),
        ("access_by_lua_block {\n}", 1),
        ("auth_basic off;", 1),
        (MANY, 129),
        (MANY_OF_A_NAME, 129),
        ("".join(f"add_header X-{number} {'$http_a' * 16};\n" for number in range(9)), 9),
        ("add_header X-A " + "$host" * 17 + ";", 1),
        (f"add_header X-A {'a' * 4097};", 1),
        ("more_set_headers 'X-A : b';", 1),
    ],
)
def test_a_snippet_that_does_anything_else_closes_and_names_the_line(build, ingress, text, line):
    loaded = build(write(ingress, text))
    assert not proxies(loaded)
    (found,) = [item for item in loaded.diagnostics if item.code.name == "ZS0402"]
    assert f"line {line}: " in found.message and found.severity.value == "error"
    assert found.span.line == 7 and "ZeroserveRoute" in found.help


@pytest.mark.parametrize(
    ("text", "annotations"),
    [
        ("more_set_headers 'Access-Control-Allow-Origin: *';", {"enable-cors": "true"}),
        ("more_clear_headers 'Access-*';", {"enable-cors": "true"}),
        ("more_set_input_headers 'Authorization: Basic x';", {"auth-type": "basic", "auth-secret": "users"}),
        ("more_clear_input_headers Cookie;", {"auth-url": "http://auth.default.svc.cluster.local"}),
        ("proxy_set_header X-A b;", {"backend-protocol": "GRPC"}),
        ("proxy_hide_header X-A;", {"backend-protocol": "GRPCS"}),
    ],
)
def test_what_means_something_else_beside_other_annotations_closes(build, ingress, text, annotations):
    assert not proxies(build(write(ingress, text, **annotations)))


@pytest.mark.parametrize(
    ("name", "annotations"),
    [
        ("X-User", {"auth-url": "http://auth.default.svc.cluster.local", "auth-response-headers": "x-user"}),
        ("Cookie", {"auth-url": "http://auth.default.svc.cluster.local", "auth-response-headers": "Cookie"}),
        ("Ssl-Client-Verify", {"auth-tls-secret": "default/authorities"}),
    ],
)
@pytest.mark.parametrize("kind", [SNIPPET, "server-snippet"])
def test_fields_that_are_set_where_access_is_checked_are_neither_read_nor_sent(
    build, ingress, name, annotations, kind
):
    variable = "$cookie_a" if name == "Cookie" else f"$http_{name.lower().replace('-', '_')}"
    sent = [f"proxy_set_header {name} $http_x_claim;", f"proxy_set_header {name} {variable};"]
    for text in (f"add_header X-A {variable};", f"add_header X-A {variable.upper()};", *sent):
        loaded = build(ingress(annotations={kind: text, **annotations}))
        assert [item for item in loaded.diagnostics if kind in item.message and item.code.name == "ZS0402"]
    other = build(ingress(annotations={kind: "add_header X-A $http_x_b;", **annotations}))
    assert not [item for item in other.diagnostics if kind in item.message]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        'proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection "upgrade";',
        "proxy_set_header Host $http_host;\nproxy_set_header X-Real-IP $remote_addr;",
        "proxy_set_header X-Forwarded-Proto $scheme;\nproxy_set_header X-User-Id $http_x_user_id;",
    ],
)
def test_what_is_so_anyway_changes_nothing(build, ingress, text):
    loaded = build(write(ingress, text))
    assert proxies(loaded) == proxies(build(ingress()))
    assert {item.code.name for item in loaded.diagnostics} == {"ZS0302"}


def test_what_is_sent_is_set_after_the_password_was_asked_for(build, ingress):
    annotations = {"auth-type": "basic", "auth-secret": "users"}
    accounts = (
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: users}\nstringData: {auth: 'ann:{SHA}x='}\n"
    )
    text = write(ingress, "proxy_set_header Authorization $cookie_a;", **annotations)
    (route,) = build(text + accounts.replace("{SHA}x=", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=")).sites[0].routes
    assert [type(handler) for handler in route.handlers] == [tree.BasicAuth, tree.Subroute, tree.ReverseProxy]


@pytest.mark.parametrize(
    "text",
    ["deny all;", "location /x {\n}", "proxy_set_header X-A b;", "return 403;", "add_header X-A ${b};"],
)
def test_a_snippet_for_a_server_that_does_anything_else_closes_too(build, ingress, text):
    loaded = build(ingress(annotations={"server-snippet": text.replace("\n", " ")}))
    assert not proxies(loaded)
    (found,) = [item for item in loaded.diagnostics if item.code.name == "ZS0402"]
    assert "server-snippet" in found.message and "line 1: " in found.message


def test_each_snippet_that_closes_is_named(build, ingress):
    annotations = {"server-snippet": "deny all;", "configuration-snippet": "allow all;"}
    named = [item.message for item in build(ingress(annotations=annotations)).diagnostics]
    assert [text.split()[0].rpartition("/")[2] for text in named] == list(annotations)


def test_a_snippet_for_a_server_says_whose_paths_it_holds_for(build, ingress):
    one = ingress(annotations={"server-snippet": "add_header X-A b;"})
    other = ingress("other", paths=(("/other", "Prefix"),))
    assert {item.code.name for item in build(one).diagnostics} == {"ZS0302"}
    (found,) = [item for item in build(f"{one}---\n{other}").diagnostics if item.code.name == "ZS0401"]
    assert "paths of its own Ingress on shop.example" in found.message


def test_braces_of_a_value_are_no_placeholders(build, ingress):
    loaded = build(write(ingress, "proxy_set_header X-A '{env.HOME}$host';"))
    (proxy,) = proxies(loaded)
    assert proxy.request_headers.set == (("X-A", "\\{env.HOME\\}{http.request.host}"),)


def test_the_switch_serves_other_snippets_open_and_still_says_so(build, ingress):
    settings = DEV_SETTINGS.__class__(claim_all=True, local=True, honour_restrictions=False)
    loaded = build(write(ingress, "deny all;"), settings)
    assert proxies(loaded)
    assert [item.severity.value for item in loaded.diagnostics if item.code.name == "ZS0402"] == ["warning"]
