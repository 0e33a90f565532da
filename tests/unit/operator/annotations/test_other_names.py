"""`server-alias` and `from-to-www-redirect`: other names of hosts, where nobody else has them."""

import pytest
from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb


def hosts(loaded):
    return {address.host: site for site in loaded.sites for address in site.addresses}


def test_an_alias_serves_the_same_paths(build, ingress):
    loaded = build(ingress(annotations={"server-alias": "a.example, b.example"}))
    found = hosts(loaded)
    assert found.keys() == {"shop.example", "a.example", "b.example"}
    assert found["a.example"].routes == found["shop.example"].routes


def test_an_alias_yields_to_who_names_the_host_in_a_rule(build, ingress):
    other = ingress("other", host="a.example", created="2026-05-01T00:00:00Z")
    loaded = build(ingress(annotations={"server-alias": "a.example"}) + "---\n" + other)
    (route,) = hosts(loaded)["a.example"].routes
    assert route.handlers[0].upstreams[0].service.name == "other"
    assert any(item.code.name == "ZS0304" and "default/other" in item.message for item in loaded.diagnostics)


@pytest.mark.parametrize("alias", ["~^www\\d+$", "a b", "10.0.0.1"])
def test_an_alias_that_is_no_name_is_told(build, ingress, alias):
    loaded = build(ingress(annotations={"server-alias": alias}))
    assert hosts(loaded).keys() == {"shop.example"}
    assert "ZS0305" in {item.code.name for item in loaded.diagnostics}


def test_a_certificate_is_asked_for_the_alias_too(build, ingress):
    loaded = build(ingress(annotations={"server-alias": "a.example"}, tls="shop-tls"))
    assert all(site.tls is None or site.tls.secrets == ("default/shop-tls",) for site in loaded.sites)
    assert any(site.tls for site in loaded.sites if site.addresses[0].host == "a.example")


@pytest.mark.parametrize(
    ("host", "other"), [("shop.example", "www.shop.example"), ("www.shop.example", "shop.example")]
)
def test_the_other_form_is_redirected_with_its_path(build, ingress, host, other):
    loaded = build(ingress(host=host, annotations={"from-to-www-redirect": "true"}))
    (route,) = hosts(loaded)[other].routes
    location = f"{{http.request.scheme}}://{host}{{http.request.orig_uri}}"
    assert route.handlers == (tree.StaticResponse(status="308", headers=(("Location", location),)),)


def test_two_ingresses_of_one_host_do_not_dispute_its_other_form(build, ingress):
    annotations = {"from-to-www-redirect": "true"}
    api = ingress("api", paths=(("/api", "Prefix"),), annotations=annotations)
    loaded = build(f"{ingress(annotations=annotations)}---\n{api}")
    assert "www.shop.example" in hosts(loaded)
    assert not [
        item for item in loaded.diagnostics if item.code.name == "ZS0304" and item.severity.value == "error"
    ]
    assert pb.VIRTUAL_HOST in {kind for kind, _ in loaded.draft.resources}
