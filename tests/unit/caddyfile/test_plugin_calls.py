"""`zeroserve_call`, `zeroserve_plugin` and `plugins` are read, printed, encoded, decoded; or refused."""

import json

import pytest
from zeroserve_ir import tree
from zeroserve_ir.caddyfile.adapting import adapt_configuration
from zeroserve_ir.caddyfile.decoding import decode_configuration, encode_configuration
from zeroserve_ir.caddyfile.meaning.sites import read_configuration
from zeroserve_ir.caddyfile.printer import print_configuration
from zeroserve_ir.codes import Code

TEXT = """{
	plugins {
		io.su3.aws-sigv4 sigv4.o {
			allow request_write secrets
			upstream sts 127.0.0.1:9001
			secret key "s3cret"
			budget 5000
			fail closed
		}
	}
}

http://a.example {
	zeroserve_plugin io.su3.aws-sigv4 {
		mode "{path}"
	}
	route {
		zeroserve_call io.su3.aws-sigv4 sign_request {
			access_key_id "{http.request.header.x-id}"
			region eu
			region us
			session {
				name x
				trusted
			}
			names a b
		}
		respond ok
	}
}
"""


def read(text):
    configuration, diagnostics = read_configuration(text, environment={})
    assert diagnostics == ()
    return configuration


def find_calls(adapted, handler="zeroserve_call"):
    found = []

    def walk(value):
        if isinstance(value, dict):
            if value.get("handler") == handler:
                found.append(value)
            value = list(value.values())
        for one in value if isinstance(value, list) else ():
            walk(one)

    walk(adapted)
    return found


def test_the_block_becomes_a_json_object():
    (call,) = find_calls(adapt_configuration(read(TEXT)))
    assert (call["plugin"], call["function"]) == ("io.su3.aws-sigv4", "sign_request")
    assert call["config"] == {
        "access_key_id": "{http.request.header.x-id}",
        "region": ["eu", "us"],
        "session": {"name": "x", "trusted": True},
        "names": ["a", "b"],
    }


def test_an_attached_plugin_has_a_configuration_too():
    (attached,) = find_calls(adapt_configuration(read(TEXT)), "zeroserve_plugin")
    assert (attached["plugin"], attached["config"]) == (
        "io.su3.aws-sigv4",
        {"mode": "{http.request.uri.path}"},
    )


def test_a_plugin_is_attached_before_all_other_directives():
    (site,) = read("http://a {\nheader X-A 1\nzeroserve_plugin p\nmap {path} {x} {\n/a b\n}\n}").sites
    handlers = [handler for route in site.routes for handler in route.handlers]
    assert handlers[0] == tree.AttachPlugin("p")


def test_grants_stand_in_the_option():
    plugins = adapt_configuration(read(TEXT))["apps"]["zeroserve"]["plugins"]
    assert plugins["io.su3.aws-sigv4"] == {
        "file": "sigv4.o",
        "capabilities": ["request_write", "secrets"],
        "upstreams": {"sts": "127.0.0.1:9001"},
        "secrets": {"key": "s3cret"},
        "fuel": 5000,
        "fail_open": False,
    }


def test_what_is_printed_means_the_same():
    configuration = read(TEXT)
    again = read(print_configuration(configuration))
    assert adapt_configuration(again) == adapt_configuration(configuration)


def test_json_is_read_back():
    adapted = adapt_configuration(read(TEXT))
    decoded, _ = decode_configuration(json.dumps(adapted), "caddy.json")
    for handler in ("zeroserve_call", "zeroserve_plugin"):
        assert find_calls(encode_configuration(decoded), handler) == find_calls(adapted, handler) != []


@pytest.mark.parametrize(
    ("directive", "code"),
    [
        ("zeroserve_call p", Code.ZS0102),
        ("zeroserve_call p f g", Code.ZS0102),
        ("zeroserve_call p/ f", Code.ZS0103),
        ("zeroserve_call p f-g", Code.ZS0103),
        ("zeroserve_plugin", Code.ZS0102),
        ("zeroserve_plugin p f", Code.ZS0102),
        ("zeroserve_plugin p/", Code.ZS0103),
        ("zeroserve_call p f {\nkey value {\nother x\n}\n}", Code.ZS0109),
    ],
)
def test_a_call_that_cannot_be_is_refused(directive, code):
    _, diagnostics = read_configuration(f"http://a {{\n{directive}\n}}", environment={})
    assert [one.code for one in diagnostics] == [code]


@pytest.mark.parametrize(
    ("grant", "code"),
    [
        ("allow everything", Code.ZS0103),
        ("fail maybe", Code.ZS0103),
        ("budget 0", Code.ZS0103),
        ("upstream sts", Code.ZS0102),
        ("upstream sts sts.example:99999", Code.ZS0103),
        ("upstream sts sts.example:80-81", Code.ZS0103),
        ("upstream sts https://sts.example", Code.ZS0103),
        ("trust me", Code.ZS0109),
        ("upstream sts a:1\nupstream sts b:2", Code.ZS0105),
        ("secret key a\nsecret key b", Code.ZS0105),
        ("fail open\nfail closed", Code.ZS0105),
        ("budget 1\nbudget 2", Code.ZS0105),
    ],
)
def test_a_grant_that_cannot_be_is_refused(grant, code):
    text = f"{{\nplugins {{\np p.o {{\n{grant}\n}}\n}}\n}}\nhttp://a {{\nrespond ok\n}}"
    _, diagnostics = read_configuration(text, environment={})
    assert [one.code for one in diagnostics] == [code]


def test_grants_of_several_names_add_up():
    grant = "allow secrets\nallow proxy\nsecret a 1\nsecret b 2\nupstream a x:1\nupstream b y:2"
    text = f"{{\nplugins {{\np p.o {{\n{grant}\n}}\n}}\n}}\nhttp://a {{\nrespond ok\n}}"
    found = read(text).options.others.value()["plugins"]["p"]
    assert found["capabilities"] == ["proxy", "secrets"]
    assert (found["secrets"], found["upstreams"]) == ({"a": "1", "b": "2"}, {"a": "x:1", "b": "y:2"})


@pytest.mark.parametrize(
    ("written", "dial"),
    [
        ("sts.example:9001", "sts.example:9001"),
        ("sts.example", "sts.example:80"),
        ("http://sts.example", "sts.example:80"),
        ("unix//run/sts.sock", "unix//run/sts.sock"),
    ],
)
def test_upstreams_of_plugins_are_written_as_those_of_reverse_proxy(written, dial):
    text = f"{{\nplugins {{\np p.o {{\nupstream sts {written}\n}}\n}}\n}}\nhttp://a {{\nrespond ok\n}}"
    assert read(text).options.others.value()["plugins"]["p"]["upstreams"] == {"sts": dial}


def test_places_in_a_route_are_those_of_the_text():
    text = "http://a {\nroute {\nzeroserve_call p f\nrewrite /x\n}\n}"
    (site,) = read(text).sites
    names = [type(handler) for route in site.routes[0].handlers[0].routes for handler in route.handlers]
    assert names == [tree.CallPlugin, tree.Rewrite]
