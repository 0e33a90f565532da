"""`auth-tls-*`: one policy for a host, and closed routes where it cannot be that of an Ingress."""

import pytest
from signing import Authority, pem
from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb

CA = pem(Authority("clients").certificate).decode()
OTHER_CA = pem(Authority("others").certificate).decode()
MTLS = {"auth-tls-secret": "default/ca"}


def secret(name="ca", text=CA, key="ca.crt", **more):
    rows = "".join(f"  {name}: x\n" for name in more)
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    head = f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData:\n"
    return f"{head}  {key}: |\n{lines}{rows}"


def policies(loaded):
    found = {}
    for (kind, name), resource in loaded.draft.resources.items():
        if kind == pb.VIRTUAL_HOST:
            host = pb.VirtualHost.FromString(resource.payload)
            found[name] = host.tls.client_authentication if host.HasField("tls") else None
    return found


def answers(loaded):
    return {
        route.matchers[0][0].path: getattr(route.handlers[0], "status", "open")
        for site in loaded.sites
        for route in site.routes
        if route.matchers
    }


def test_the_policy_is_the_hosts_and_holds_for_https_alone(build, ingress):
    found = policies(build(ingress(annotations=MTLS) + secret()))
    assert found["http://shop.example"] is None
    policy = found["https://shop.example"]
    assert policy.mode == pb.ClientAuthentication.REQUIRE_AND_VERIFY and policy.depth == 1
    assert len(policy.trusted_ca) == 1 and not policy.system_roots


@pytest.mark.parametrize(
    ("text", "mode"),
    [("optional", "VERIFY_IF_GIVEN"), ("optional_no_ca", "REQUEST"), ("on", "REQUIRE_AND_VERIFY")],
)
def test_modes(build, ingress, text, mode):
    annotations = MTLS | {"auth-tls-verify-client": text, "auth-tls-verify-depth": "3"}
    policy = policies(build(ingress(annotations=annotations) + secret()))["https://shop.example"]
    assert (policy.mode, policy.depth) == (pb.ClientAuthentication.Mode.Value(mode), 3)


def test_off_asks_for_nothing(build, ingress):
    loaded = build(ingress(annotations=MTLS | {"auth-tls-verify-client": "off"}))
    assert set(policies(loaded).values()) == {None}
    assert isinstance(loaded.sites[0].routes[0].handlers[0], tree.ReverseProxy)


def test_plain_http_is_redirected_without_tls_in_the_object_too(build, ingress):
    plain, _ = build(ingress(annotations=MTLS | {"ssl-redirect": "false"}) + secret()).sites
    assert plain.routes[0].handlers[0].status == "308"


@pytest.mark.parametrize(
    "text",
    [secret(text="no certificate"), secret(key="tls.crt"), secret(**{"ca.crl": "x"}), secret(name="another")],
)
def test_a_secret_that_cannot_be_used_closes(build, ingress, text):
    loaded = build(ingress(annotations=MTLS) + text)
    assert answers(loaded).keys() == {"/"} and "open" not in answers(loaded).values()
    assert set(policies(loaded).values()) == {None}
    assert {"ZS0501", "ZS0502"} & {item.code.name for item in loaded.diagnostics}


def test_the_policy_covers_paths_of_others_on_the_host(build, ingress):
    open_one = ingress("open", paths=(("/open", "Prefix"),))
    found = policies(build(f"{ingress(annotations=MTLS)}---\n{open_one}{secret()}"))
    assert found["https://shop.example"].mode == pb.ClientAuthentication.REQUIRE_AND_VERIFY


def test_another_policy_on_the_same_host_closes_the_younger_one(build, ingress):
    younger = ingress(
        "api",
        paths=(("/api", "Prefix"),),
        annotations={"auth-tls-secret": "other"},
        created="2026-05-01T00:00:00Z",
    )
    loaded = build(f"{ingress(annotations=MTLS)}---\n{younger}{secret()}{secret('other', OTHER_CA)}")
    assert answers(loaded)["/api"] == "503"
    assert any("other certificates" in item.message for item in loaded.diagnostics)


def test_another_namespace_cannot_ask_the_clients_of_a_host(build, ingress):
    intruder = ingress(
        "api",
        paths=(("/api", "Prefix"),),
        annotations={"auth-tls-secret": "ca"},
        created="2026-05-01T00:00:00Z",
    )
    intruder = intruder.replace("  name: api", "  namespace: elsewhere\n  name: api")
    text = secret().replace("{name: ca}", "{name: ca, namespace: elsewhere}")
    loaded = build(f"{ingress()}---\n{intruder}{text}")
    assert set(policies(loaded).values()) == {None}
    assert answers(loaded)["/api"] == "503"


def test_a_changed_authority_is_another_policy(build, ingress):
    before = policies(build(ingress(annotations=MTLS) + secret()))["https://shop.example"]
    after = policies(build(ingress(annotations=MTLS) + secret(text=OTHER_CA)))["https://shop.example"]
    assert before != after


def test_another_error_page_is_named_and_clients_are_asked_all_the_same(build, ingress):
    loaded = build(
        ingress(annotations=MTLS | {"auth-tls-error-page": "https://shop.example/error"}) + secret()
    )
    assert policies(loaded)["https://shop.example"] is not None
    assert any("auth-tls-error-page" in item.message for item in loaded.diagnostics)
