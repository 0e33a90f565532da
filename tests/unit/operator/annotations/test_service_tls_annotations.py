"""`proxy-ssl-*`: a Service that was to be verified is verified, or its routes are closed."""

import base64
import ssl

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from signing import Authority, key_pem, name_of, pem
from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.printer import print_configuration

AUTHORITY = Authority("services")
CA = pem(AUTHORITY.certificate).decode()
KEY = ec.generate_private_key(ec.SECP256R1())
CERTIFICATE = pem(AUTHORITY.sign(name_of("node"), KEY)).decode()
PAIR = {"tls.crt": CERTIFICATE, "tls.key": key_pem(KEY).decode()}
SHOWN = {"backend-protocol": "HTTPS", "proxy-ssl-secret": "default/tls"}
VERIFIED = SHOWN | {"proxy-ssl-verify": "on", "proxy-ssl-name": "api.internal"}


def secret(name="tls", **data):
    rows = "".join(f"  {key}: {base64.b64encode(text.encode()).decode()}\n" for key, text in data.items())
    return f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ndata:\n{rows}"


def clusters(loaded):
    resources = loaded.draft.resources.items()
    return [pb.Cluster.FromString(one.payload) for (kind, _), one in resources if kind == pb.CLUSTER]


def answers(loaded):
    return {
        route.matchers[0][0].path: getattr(route.handlers[0], "status", "open")
        for site in loaded.sites
        for route in site.routes
        if route.matchers
    }


def is_closed(loaded):
    return set(answers(loaded).values()) == {"503"}


def codes(loaded):
    return {item.code.name for item in loaded.diagnostics if item.code.name != "ZS0302"}


@pytest.mark.parametrize(("protocol", "http2"), [("HTTPS", False), ("GRPCS", True)])
def test_a_service_is_verified_by_the_authority_and_the_name(build, ingress, protocol, http2):
    loaded = build(ingress(annotations=VERIFIED | {"backend-protocol": protocol}) + secret(**{"ca.crt": CA}))
    (cluster,) = clusters(loaded)
    assert list(cluster.tls.trusted_ca) == [ssl.PEM_cert_to_DER_cert(CA)]
    assert (cluster.tls.server_name, cluster.tls.insecure_skip_verify) == ("api.internal", False)
    assert (list(cluster.tls.client_chain), cluster.tls.http2) == ([], http2)
    assert not codes(loaded)


def test_the_key_pair_is_shown_to_the_service(build, ingress):
    (cluster,) = clusters(build(ingress(annotations=VERIFIED) + secret(**PAIR, **{"ca.crt": CA})))
    assert list(cluster.tls.client_chain) == [ssl.PEM_cert_to_DER_cert(CERTIFICATE)]
    assert cluster.tls.client_key and not cluster.tls.insecure_skip_verify


@pytest.mark.parametrize("more", [{}, {"proxy-ssl-verify": "off"}, {"proxy-ssl-verify": "false"}])
def test_without_verification_the_key_pair_alone_counts(build, ingress, more):
    (cluster,) = clusters(build(ingress(annotations=SHOWN | more) + secret(**PAIR)))
    assert cluster.tls.insecure_skip_verify and cluster.tls.client_chain


def test_a_name_needs_no_secret(build, ingress):
    annotations = {
        "backend-protocol": "HTTPS",
        "proxy-ssl-name": "api.internal",
        "proxy-ssl-server-name": "on",
    }
    loaded = build(ingress(annotations=annotations))
    (cluster,) = clusters(loaded)
    assert cluster.tls.server_name == "api.internal" and cluster.tls.insecure_skip_verify
    assert not codes(loaded)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"ca.crt": "no certificate"}, "ZS0502"),
        (PAIR, "ZS0502"),
        ({}, "ZS0502"),
        ({"ca.crt": CA, "ca.crl": "x"}, "ZS0502"),
        ({"ca.crt": CA, "tls.crt": CERTIFICATE}, "ZS0502"),
        ({"ca.crt": CA, "tls.crt": CERTIFICATE, "tls.key": "no key"}, "ZS0503"),
        ({"ca.crt": CA, "tls.crt": CA, "tls.key": PAIR["tls.key"]}, "ZS0503"),
    ],
)
def test_a_secret_that_cannot_be_used_closes(build, ingress, data, code):
    loaded = build(ingress(annotations=VERIFIED) + secret(**data))
    assert is_closed(loaded) and not clusters(loaded)
    assert codes(loaded) == {code}


def test_a_secret_that_is_not_there_closes_until_it_is(build, ingress):
    loaded = build(ingress(annotations=VERIFIED))
    assert is_closed(loaded)
    (found,) = [item for item in loaded.diagnostics if item.code.name == "ZS0501"]
    assert "Secret default/tls" in found.message and found.span.line == 8


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"proxy-ssl-secret": ""}, "ZS0404"),
        ({"proxy-ssl-name": ""}, "ZS0404"),
        ({"proxy-ssl-name": "$host"}, "ZS0403"),
        ({"proxy-ssl-name": "api.internal/x"}, "ZS0403"),
        ({"proxy-ssl-verify": "yes"}, "ZS0403"),
        ({"proxy-ssl-verify": "2"}, "ZS0403"),
        ({"proxy-ssl-secret": "other/tls"}, "ZS0308"),
        ({"proxy-ssl-secret": "a b"}, "ZS0403"),
        ({"proxy-ssl-secrets": "default/tls"}, "ZS0402"),
        ({"Proxy_SSL_Verify": "on"}, "ZS0402"),
    ],
)
def test_what_cannot_be_honoured_as_written_closes(build, ingress, changes, code):
    loaded = build(ingress(annotations=VERIFIED | changes) + secret(**{"ca.crt": CA}))
    assert is_closed(loaded)
    assert code in codes(loaded)


@pytest.mark.parametrize(
    "changes",
    [
        {"proxy-ssl-protocols": "TLSv1.3"},
        {"proxy-ssl-ciphers": "HIGH"},
        {"proxy-ssl-verify-depth": "2"},
        {"proxy-ssl-server-name": "off"},
    ],
)
def test_what_has_no_effect_is_named_and_the_service_verified(build, ingress, changes):
    loaded = build(ingress(annotations=VERIFIED | changes) + secret(**{"ca.crt": CA}))
    assert codes(loaded) == {"ZS0401"}
    assert not clusters(loaded)[0].tls.insecure_skip_verify


def test_without_tls_to_the_service_all_of_it_has_no_effect_and_is_named(build, ingress):
    for changes in ({}, {"proxy-ssl-secret": "other/tls"}, {"proxy-ssl-verify": "yes"}):
        loaded = build(ingress(annotations=VERIFIED | changes | {"backend-protocol": "HTTP"}))
        assert not clusters(loaded)[0].HasField("tls")
        assert codes(loaded) and "error" not in {
            item.severity.value for item in loaded.diagnostics if item.code.name != "ZS0302"
        }


def test_it_holds_for_other_ingresses_of_the_namespace_on_the_host(build, ingress):
    other = ingress("open", paths=(("/open", "Prefix"),), annotations={"backend-protocol": "HTTPS"})
    plain = ingress("plain", paths=(("/plain", "Prefix"),))
    objects = f"{ingress(annotations=VERIFIED)}---\n{other}---\n{plain}"
    found = {cluster.endpoints: cluster for cluster in clusters(build(objects + secret(**{"ca.crt": CA})))}
    assert found["default/open:80"].tls.server_name == "api.internal"
    assert not found["default/open:80"].tls.insecure_skip_verify
    assert not found["default/plain:80"].HasField("tls")
    assert answers(build(objects)) == {"/": "503", "/open": "503", "/plain": "open"}


def test_another_namespace_gets_nothing_of_a_secret(build, ingress):
    other = ingress("open", paths=(("/open", "Prefix"),), annotations={"backend-protocol": "HTTPS"})
    other = other.replace("  name: open", "  namespace: elsewhere\n  name: open")
    loaded = build(f"{ingress(annotations=VERIFIED)}---\n{other}{secret(**PAIR, **{'ca.crt': CA})}")
    found = {cluster.endpoints: cluster for cluster in clusters(loaded)}
    assert not found["elsewhere/open:80"].tls.client_chain
    assert found["elsewhere/open:80"].tls.server_name == ""


def test_who_is_asked_about_requests_over_tls_is_verified_too(build, ingress):
    asked = VERIFIED | {
        "auth-url": "https://auth.default.svc.cluster.local/check",
        "backend-protocol": "HTTP",
    }
    loaded = build(ingress(annotations=asked) + secret(**{"ca.crt": CA}))
    found = {cluster.endpoints: cluster for cluster in clusters(loaded)}
    assert found["default/auth:443"].tls.server_name == "api.internal"
    assert not found["default/auth:443"].tls.insecure_skip_verify


def test_a_path_of_the_host_that_is_asked_is_asked_by_its_own_tls(build, ingress):
    auth = ingress("auth", paths=(("/auth", "Prefix"),), annotations=VERIFIED)
    shop = ingress(annotations={"auth-url": "https://$host/auth"})
    loaded = build(f"{auth}---\n{shop}{secret(**{'ca.crt': CA})}")
    assert {
        one.tls.insecure_skip_verify for one in clusters(loaded) if one.endpoints == "default/auth:80"
    } == {False}


def test_a_canary_that_is_to_be_verified_gets_no_request_unverified(build, ingress):
    canary = ingress("next", annotations=VERIFIED | {"canary": "true", "canary-weight": "100"})
    main = ingress(annotations={"backend-protocol": "HTTPS"})
    loaded = build(f"{main}---\n{canary}{secret(**{'ca.crt': CA})}")
    assert [cluster.endpoints for cluster in clusters(loaded)] == ["default/shop:80"]
    assert any("has its Service verified" in item.message for item in loaded.diagnostics)


def test_a_canary_is_verified_as_the_ingress_of_its_path(build, ingress):
    canary = ingress("next", annotations={"canary": "true", "canary-weight": "50"})
    loaded = build(f"{ingress(annotations=VERIFIED)}---\n{canary}{secret(**{'ca.crt': CA})}")
    found = {cluster.endpoints: cluster.tls for cluster in clusters(loaded)}
    assert found["default/next:80"] == found["default/shop:80"]


def test_a_key_is_printed_nowhere(build, ingress):
    loaded = build(ingress(annotations=VERIFIED) + secret(**PAIR, **{"ca.crt": CA}))
    inner = PAIR["tls.key"].splitlines()[1]
    printed = print_configuration(tree.Configuration(loaded.sites))
    assert "from the cluster" in printed
    assert inner not in printed + repr(loaded.sites) + repr(loaded.diagnostics)
