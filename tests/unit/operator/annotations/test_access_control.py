"""An annotation that restricts access is honoured, or its routes are closed: never open."""

import base64

import pytest
from zeroserve_ir import tree
from zeroserve_operator.annotations.names import SUPPORTED, Effect, classify
from zeroserve_operator.pipeline import DEV_SETTINGS

# Documented by ingress-nginx (docs/user-guide/nginx-configuration/annotations.md) or seen in manifests.
RESTRICTING = [
    ("auth-url", "http://auth.example"),
    ("auth-proxy-set-headers", "default/headers"),
    ("auth-snippet", "proxy_set_header X y;"),
    ("configuration-snippet", "deny all;"),
    ("server-snippet", "deny all;"),
    ("stream-snippet", "deny all;"),
    ("modsecurity-snippet", "SecRuleEngine On"),
    ("enable-modsecurity", "true"),
    ("enable-owasp-core-rules", "true"),
    ("deny-source-range", "10.0.0.0/8"),
    ("enable-global-auth", "true"),
    ("some-new-allow-list", "10.0.0.0/8"),
    # Written wrongly, they still say that somebody is to be kept out.
    ("Whitelist-Source-Range", "10.0.0.0/8"),
    ("white-list-source-range", "10.0.0.0/8"),
    ("whitlist-source-range", "10.0.0.0/8"),
    ("source-range", "10.0.0.0/8"),
    ("AUTH-URL", "http://auth.example"),
    ("auth_type", "basic"),
    ("authtype", "basic"),
    ("basic-auth-secret", "users"),
    ("external-auth-url", "http://auth.example"),
    ("configuration-snipet", "deny all;"),
    ("Satisfy", "any"),
    ("block-cidrs", "10.0.0.0/8"),
    ("jwt", "key"),
    ("require-client-cert", "true"),
]
OTHER_PREFIXES = [
    "ingress.kubernetes.io/auth-url",
    "Nginx.ingress.kubernetes.io/auth-url",
    "nginx.ingress.kuberntes.io/auth-url",
    "nginx.kubernetes.io/whitelist-source-range",
    "custom.ingress.kubernetes.io/auth-type",
    "edge.example.com/whitelist-source-range",
    "auth-url",
    "nginx.org/basic-auth-secret",
    "nginx.org/policies",
    "nginx.org/location-snippets",
    "nginx.com/jwt-key",
    "appprotect.f5.com/app-protect-enable",
    "haproxy.org/allow-list",
    "haproxy.org/auth-type",
    "haproxy.router.openshift.io/ip_whitelist",
    "haproxy-ingress.github.io/auth-url",
    "traefik.ingress.kubernetes.io/router.middlewares",
    "traefik.ingress.kubernetes.io/router.tls.options",
    "alb.ingress.kubernetes.io/inbound-cidrs",
    "alb.ingress.kubernetes.io/auth-type",
    "konghq.com/plugins",
    "projectcontour.io/auth-virtual-host",
    "zeroserve.dev/plugin",
    "zeroserve.dev/Plugins",
]
OTHER_HARMLESS = [
    ("cert-manager.io/cluster-issuer", "letsencrypt"),
    ("kubernetes.io/ingress.class", "nginx"),
    ("kubernetes.io/ingress.allow-http", "false"),
    ("argocd.argoproj.io/sync-wave", "1"),
    ("alb.ingress.kubernetes.io/auth-type", "none"),
    ("alb.ingress.kubernetes.io/inbound-cidrs", "0.0.0.0/0, ::/0"),
    ("haproxy.org/cors-allow-origin", "*"),
    ("haproxy.org/rate-limit-requests", "5"),
    ("traefik.ingress.kubernetes.io/router.entrypoints", "websecure"),
    ("traefik.ingress.kubernetes.io/router.middlewares", "web-redirect-https@kubernetescrd"),
    ("konghq.com/plugins", "add-headers, cors"),
]
HARMLESS = [
    ("global-rate-limit", "5"),
    ("rate-limit", "100"),
    ("service-upstream", "true"),
    ("enable-modsecurity", "false"),
    ("enable-global-auth", "false"),
    ("auth-snippet", ""),
    ("auth-cache-key", "$cookie_session"),
    ("auth-cache-duration", "200 202 10m"),
    ("ssl-ciphers", "HIGH"),
    ("proxy-buffering", "off"),
    ("client-body-buffer-size", "1m"),
]


def handlers(loaded):
    return [route.handlers[0] for site in loaded.sites for route in site.routes]


@pytest.mark.parametrize(("name", "value"), RESTRICTING)
def test_a_restriction_that_is_not_honoured_closes_its_routes(build, ingress, name, value):
    loaded = build(ingress(annotations={name: value}))
    answers = handlers(loaded)
    assert answers and all(isinstance(item, tree.StaticResponse) and item.status == "503" for item in answers)
    (found,) = [item for item in loaded.diagnostics if item.code.name == "ZS0402"]
    assert found.severity.value == "error"
    assert f"nginx.ingress.kubernetes.io/{name}" in found.message
    assert found.span.file == "case.yaml" and found.span.line == 7


@pytest.mark.parametrize(("name", "value"), HARMLESS)
def test_what_restricts_no_access_is_named_and_serves(build, ingress, name, value):
    loaded = build(ingress(annotations={name: value}))
    assert all(isinstance(item, tree.ReverseProxy) for item in handlers(loaded))
    (found,) = [item for item in loaded.diagnostics if item.code.name == "ZS0401"]
    assert found.severity.value == "warning"
    assert f"nginx.ingress.kubernetes.io/{name}" in found.message


@pytest.mark.parametrize("key", OTHER_PREFIXES)
def test_a_restriction_under_another_prefix_closes_too(build, ingress, key):
    loaded = build(ingress().replace("spec:", f"  annotations: {{{key}: internal}}\nspec:", 1))
    answers = handlers(loaded)
    assert answers and all(getattr(item, "status", "") == "503" for item in answers)
    (found,) = [item for item in loaded.diagnostics if item.code.name == "ZS0402"]
    assert key in found.message and found.span.line == 6


@pytest.mark.parametrize(
    "name", ["jwt2header", "redirect-to-login", "crowdsec-bouncer-headers", "cors, api-key"]
)
def test_a_reference_by_a_name_that_may_keep_somebody_out_closes(build, ingress, name):
    for key in ("konghq.com/plugins", "traefik.ingress.kubernetes.io/router.middlewares"):
        answers = handlers(build(ingress(annotations={key: name})))
        assert answers and all(getattr(item, "status", "") == "503" for item in answers), key


@pytest.mark.parametrize(("key", "value"), OTHER_HARMLESS)
def test_what_others_read_and_restricts_nothing_is_passed_over(build, ingress, key, value):
    loaded = build(ingress(annotations={key: value}))
    assert all(isinstance(item, tree.ReverseProxy) for item in handlers(loaded))
    assert not [item for item in loaded.diagnostics if item.code.name.startswith("ZS04")]


def test_what_was_meant_for_us_is_named_with_its_cure(build, ingress):
    (found,) = [
        item
        for item in build(ingress(annotations={"nginx.kubernetes.io/proxy-bodysize": "8m"})).diagnostics
        if item.code.name == "ZS0401"
    ]
    assert found.help == "write nginx.ingress.kubernetes.io/proxy-body-size"


def test_only_the_routes_of_the_ingress_are_closed(build, ingress):
    closed = ingress("admin", paths=(("/admin", "Prefix"),), annotations={"auth-url": "http://auth"})
    loaded = build(f"{closed}---\n{ingress('shop')}")
    by_path = {route.matchers[0][0].path: route.handlers[0] for route in loaded.sites[0].routes}
    assert by_path["/admin"].status == "503"
    assert isinstance(by_path["/"], tree.ReverseProxy)


def test_the_switch_serves_them_open_and_still_says_so(build, ingress):
    settings = DEV_SETTINGS.__class__(claim_all=True, local=True, honour_restrictions=False)
    loaded = build(ingress(annotations={"auth-url": "http://auth"}), settings)
    assert all(isinstance(item, tree.ReverseProxy) for item in handlers(loaded))
    assert [item.severity.value for item in loaded.diagnostics if item.code.name == "ZS0402"] == ["warning"]


@pytest.mark.parametrize(
    ("annotations", "code"),
    [
        ({"whitelist-source-range": "10.0.0.0/8,office"}, "ZS0403"),
        ({"denylist-source-range": "10.0.0.0/8,office"}, "ZS0403"),
        ({"satisfy": "any", "denylist-source-range": "10.0.0.0/8"}, "ZS0402"),
        ({"allowlist-source-range": ""}, "ZS0403"),
        ({"auth-type": "digest", "auth-secret": "users"}, "ZS0402"),
        ({"auth-type": "none", "auth-secret": "users"}, "ZS0403"),
        ({"auth-type": "basic"}, "ZS0404"),
        ({"auth-secret": "users"}, "ZS0404"),
        ({"auth-signin": "http://auth.example/start"}, "ZS0404"),
        ({"auth-response-headers": "X-User"}, "ZS0404"),
        ({"auth-type": "basic", "auth-secret": "other/users"}, "ZS0308"),
        ({"auth-type": "basic", "auth-secret": "users", "auth-secret-type": "ldap"}, "ZS0403"),
        ({"auth-type": "basic", "auth-secret": "missing"}, "ZS0501"),
        ({"rewrite-target": "http://elsewhere/{x}"}, "ZS0403"),
        ({"rewrite-target": "/$host"}, "ZS0403"),
        ({"ingress.kubernetes.io/auth-type": "basic"}, "ZS0402"),
        ({"ingress.kubernetes.io/auth-tls-secret": "default/ca"}, "ZS0402"),
        ({"auth-tls-secret": "default/missing"}, "ZS0501"),
        ({"auth-tls-secret": "other/ca"}, "ZS0308"),
        ({"auth-tls-secret": "a b"}, "ZS0403"),
        ({"auth-tls-secret": "ca", "auth-tls-verify-client": "sometimes"}, "ZS0403"),
        ({"auth-tls-secret": "ca", "auth-tls-verify-depth": "-1"}, "ZS0403"),
        ({"auth-tls-secret": "ca", "auth-tls-match-cn": "*.example.com"}, "ZS0403"),
        ({"auth-tls-secret": "ca", "auth-tls-match-cn": "CN=("}, "ZS0403"),
        ({"auth-tls-secret": "ca", "ssl-passthrough": "true"}, "ZS0402"),
        ({"auth-tls-verify-client": "on"}, "ZS0404"),
        ({"auth-tls-match-cn": "CN=x"}, "ZS0404"),
        ({"ingress.kubernetes.io/whitelist-source-range": "10.0.0.0/8"}, "ZS0402"),
    ],
)
def test_a_wrong_value_of_a_restriction_closes_too(build, ingress, annotations, code):
    loaded = build(ingress(annotations=annotations))
    assert all(getattr(item, "status", "") == "503" for item in handlers(loaded))
    assert code in {item.code.name for item in loaded.diagnostics if item.severity.value == "error"}


def secret(name, **data):
    rows = "".join(f"  {key}: {base64.b64encode(text.encode()).decode()}\n" for key, text in data.items())
    return f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ndata:\n{rows}"


BCRYPT = "$2y$05$" + "a" * 53
APR1 = "$apr1$salt1234$" + "b" * 22
AUTH = {"auth-type": "basic", "auth-secret": "users", "auth-realm": "The shop"}


def test_accounts_of_a_password_file(build, ingress):
    loaded = build(ingress(annotations=AUTH) + secret("users", auth=f"# staff\nann:{BCRYPT}\nbob:{APR1}\n"))
    check = handlers(loaded)[0]
    assert check == tree.BasicAuth((("ann", BCRYPT), ("bob", APR1)), "The shop")


def test_accounts_of_a_map(build, ingress):
    loaded = build(
        ingress(annotations={**AUTH, "auth-secret-type": "auth-map"}) + secret("users", ann=BCRYPT)
    )
    assert handlers(loaded)[0].accounts == (("ann", BCRYPT),)


def test_an_account_without_a_known_hash_cannot_log_in_and_is_told(build, ingress):
    loaded = build(ingress(annotations=AUTH) + secret("users", auth=f"ann:{BCRYPT}\neve:plaintext\n"))
    assert [name for name, _ in handlers(loaded)[0].accounts] == ["ann"]
    (found,) = [item for item in loaded.diagnostics if item.code.name == "ZS0502"]
    assert "line 2" in found.message and "plaintext" not in found.render()


@pytest.mark.parametrize("content", [{"auth": ""}, {"auth": "eve:plaintext"}, {"other": "x"}])
def test_a_secret_without_accounts_closes(build, ingress, content):
    loaded = build(ingress(annotations=AUTH) + secret("users", **content))
    assert all(item.status == "503" for item in handlers(loaded))


def test_clients_outside_the_ranges_get_403(build, ingress):
    loaded = build(ingress(annotations={"whitelist-source-range": "10.0.0.0/8, 2001:db8::1"}))
    (steps,) = handlers(loaded)
    outside = tree.MatchNot(((tree.MatchClientIp(("10.0.0.0/8", "2001:db8::1/128")),),))
    assert steps.routes[0] == tree.Route((tree.RaiseError("403"),), matchers=((outside,),))


def test_both_names_of_the_list_restrict(build, ingress):
    both = {"whitelist-source-range": "10.0.0.0/8", "allowlist-source-range": "10.1.0.0/16"}
    (steps,) = handlers(build(ingress(annotations=both)))
    assert [len(route.matchers) for route in steps.routes] == [1, 1, 0]


def test_an_unquoted_restriction_does_not_vanish(build, ingress):
    text = ingress(annotations={"enable-modsecurity": "true"}).replace("'true'", "true")
    loaded = build(text)
    assert {"ZS0301", "ZS0402"} <= {item.code.name for item in loaded.diagnostics}
    assert all(item.status == "503" for item in handlers(loaded))


MALFORMED = [
    "annotations: [nginx.ingress.kubernetes.io/auth-url]",
    "annotations: nginx.ingress.kubernetes.io/auth-url",
    "annotations: {nginx.ingress.kubernetes.io/auth-url: [a, b]}",
    "annotations: {nginx.ingress.kubernetes.io/auth-url: {a: b}}",
    "annotations: {nginx.ingress.kubernetes.io/auth-url: a}\n  annotations: {team: shop}",
    "annotations: {nginx.ingress.kubernetes.io/auth-url: a}\n  annotations:",
    "annotations: [a]\n  annotations: {team: shop}",
    "annotations: {nginx.ingress.kubernetes.io/auth-url: a}\nmetadata: {labels: {team: shop}}",
]


@pytest.mark.parametrize("lines", MALFORMED)
def test_a_restriction_does_not_get_lost_in_a_malformed_object(build, ingress, lines):
    loaded = build(ingress().replace("spec:", f"  {lines}\nspec:", 1))
    answers = handlers(loaded)
    assert answers and all(getattr(item, "status", "") == "503" for item in answers)
    assert {"ZS0301"} <= {item.code.name for item in loaded.diagnostics}


def test_a_path_of_unknown_type_with_access_control_does_not_fall_to_an_open_one(build, ingress):
    admin = ingress(
        "admin", paths=(("/admin", "Prefix"),), annotations={"whitelist-source-range": "10.0.0.0/8"}
    )
    loaded = build(admin.replace("Type: Prefix", "Type: prefix") + "---\n" + ingress("shop"))
    first = loaded.sites[0].routes[0]
    assert first.handlers[0].status == "503"
    assert "ZS0301" in {item.code.name for item in loaded.diagnostics}


def test_a_canary_owns_no_path_beside_the_ingress_that_guards_its_host(build, ingress):
    guard = {"whitelist-source-range": "10.0.0.0/8"}
    older = {"annotations": {"canary": "true"}, "created": "2020-01-01T00:00:00Z"}
    canary = ingress("canary", paths=(("/", "Prefix"), ("/new", "Prefix")), **older)
    loaded = build(f"{canary}---\n{ingress('shop', annotations=guard)}")
    (route,) = loaded.sites[0].routes
    assert isinstance(route.handlers[0], tree.Subroute)
    assert "canary of shop.example/new gets no request" in "".join(
        item.message for item in loaded.diagnostics
    )


@pytest.mark.parametrize("name", SUPPORTED)
def test_supported_names_are_honoured(name):
    assert classify(name, "x") is Effect.HONOURED


def restrict_pattern(ingress, path):
    """Return an Ingress that restricts access to a pattern."""
    annotations = {"use-regex": "true", "whitelist-source-range": "10.0.0.0/8"}
    return ingress("admin", paths=((path, "ImplementationSpecific"),), annotations=annotations)


def test_an_unusable_path_with_access_control_does_not_fall_to_an_open_one(build, ingress):
    loaded = build(f"{restrict_pattern(ingress, '/admin(?!x).*')}---\n{ingress('shop')}")
    first = loaded.sites[0].routes[0]
    assert first.matchers == ((tree.MatchPathRegexp("(?i)^/admin"),),)
    assert first.handlers[0].status == "503"


def test_what_closes_in_the_place_of_an_unusable_path_has_its_rank(build, ingress):
    """Longest first: the path that stood there went before the open one."""
    admin = restrict_pattern(ingress, "/admin(?!x)/users/.*")
    loaded = build(f"{admin}---\n{ingress('shop', paths=(('/admin/users', 'Prefix'),))}")
    answers = [getattr(route.handlers[0], "status", "open") for route in loaded.sites[0].routes[:2]]
    assert answers == ["503", "open"]
