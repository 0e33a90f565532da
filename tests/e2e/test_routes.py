"""The product's first promise: apply a manifest, get the answer over TLS, by native code."""

import base64
import time
from functools import partial

import manifests
import pytest
import yaml
from cluster.certificates import Authority
from cluster.clients import Client, CommandError
from releases import Release
from traffic import Target, fetch

SERVED_SECONDS = 120


@pytest.fixture(scope="module")
def shop(namespace: Client, release: Release, authority: Authority) -> Target:
    """An Ingress for shop.example with a backend of two Pods."""
    namespace.apply(manifests.backend("shop", replicas=2))
    namespace.rolled_out("deployment/shop")
    namespace.apply(manifests.tls_secret("shop-tls", authority.issue("shop", alternatives=("shop.example",))))
    namespace.apply(manifests.ingress("shop", "shop.example", "shop", "shop-tls", release.ingress_class))
    target = release.target("shop.example", authority.pair.certificate)
    namespace.eventually(lambda: fetch(namespace, target).status == 200, SERVED_SECONDS)
    return target


def test_an_ingress_answers_over_tls_with_what_the_client_sent(namespace: Client, shop: Target) -> None:
    seen = fetch(namespace, shop, "/cart?id=7", X_Cart="blue").json()
    assert (seen["path"], seen["query"], seen["host"]) == ("/cart", "id=7", "shop.example")
    assert seen["headers"]["X-Cart"] == ["blue"]
    assert seen["headers"]["X-Forwarded-Proto"] == ["https"]


def test_plain_http_is_redirected_where_tls_is_set(namespace: Client, shop: Target) -> None:
    answer = fetch(namespace, Target(shop.address, shop.host), "/cart?id=7")
    assert (answer.status, answer.headers["location"]) == (308, "https://shop.example/cart?id=7")


def test_both_pods_of_a_service_answer(namespace: Client, shop: Target) -> None:
    pods = {pod["metadata"]["name"] for pod in namespace.pods("app=shop")}
    namespace.eventually(lambda: {fetch(namespace, shop).json()["pod"] for _ in range(60)} == pods, 120)


def test_an_unknown_host_is_not_found(namespace: Client, shop: Target) -> None:
    assert fetch(namespace, Target(shop.address, "nobody.example")).status == 404


def test_the_load_balancers_address_is_published(namespace: Client, release: Release, shop: Target) -> None:
    def published() -> list[dict[str, str]]:
        found: list[dict[str, str]] = namespace.get("ingress", "shop")["status"]["loadBalancer"]["ingress"]
        return found

    assert namespace.eventually(published, 120)[0]["ip"] == release.address


def test_a_zeroserve_route_answers_as_its_caddyfile_says(
    namespace: Client, release: Release, shop: Target, authority: Authority
) -> None:
    caddyfile = """
        handle_path /api/* {
            reverse_proxy shop:80
        }
        respond /teapot "short and stout" 418
        respond "home"
    """
    pair = authority.issue("blog", alternatives=("blog.example",))
    namespace.apply(manifests.tls_secret("blog-tls", pair))
    route = manifests.zeroserve_route("blog", "blog.example", caddyfile, "blog-tls", release.ingress_class)
    namespace.apply(route)
    blog = release.target("blog.example", authority.pair.certificate)
    namespace.eventually(lambda: fetch(namespace, blog).body == b"home", SERVED_SECONDS)
    assert fetch(namespace, blog, "/api/items").json()["path"] == "/items"
    assert (fetch(namespace, blog, "/teapot").status, fetch(namespace, blog).status) == (418, 200)


def test_a_routes_status_counts_the_nodes_that_serve_it(namespace: Client, release: Release) -> None:
    route = manifests.zeroserve_route(
        "status", "status.example", 'respond "served"', "none", release.ingress_class
    )
    namespace.apply(route)

    def acknowledged() -> bool:
        found = namespace.get("zeroserveroute", "status")
        generation = found["metadata"]["generation"]
        conditions = {one["type"]: one for one in found["status"]["conditions"]}
        assert all(one["observedGeneration"] == generation for one in conditions.values()), conditions
        return bool(found["status"]["nodes"] == {"acked": 1, "total": 1})

    assert namespace.eventually(acknowledged, 120)


def test_a_changed_password_is_asked_for(
    namespace: Client, release: Release, shop: Target, authority: Authority
) -> None:
    pair = authority.issue("guarded", alternatives=("guarded.example",))
    namespace.apply(manifests.tls_secret("guarded-tls", pair))
    text = manifests.ingress("guarded", "guarded.example", "shop", "guarded-tls", release.ingress_class)
    guarded = yaml.safe_load(text)
    prefix = "nginx.ingress.kubernetes.io/auth"
    guarded["metadata"]["annotations"] = {f"{prefix}-type": "basic", f"{prefix}-secret": "guarded-users"}
    namespace.apply(manifests.dump(manifests.accounts("guarded-users", "alice", "first"), guarded))
    target = release.target("guarded.example", authority.pair.certificate)

    def status(password: str) -> int:
        token = base64.b64encode(f"alice:{password}".encode()).decode()
        return fetch(namespace, target, Authorization=f"Basic {token}").status

    def is_let_in(password: str) -> bool:
        return status(password) == 200

    namespace.eventually(partial(is_let_in, "first"), SERVED_SECONDS)
    for former, password in (("first", "second"), ("second", "third")):
        namespace.apply(manifests.dump(manifests.accounts("guarded-users", "alice", password)))
        namespace.eventually(partial(is_let_in, password), SERVED_SECONDS)
        assert status(former) == 401
    namespace.kubectl("delete", "secret", "guarded-users")
    namespace.eventually(lambda: status("third") == 503, SERVED_SECONDS)


def test_a_definition_refuses_what_no_controller_could_serve(namespace: Client, release: Release) -> None:
    route = manifests.zeroserve_route("bad", "Shop.Example", "respond 200", "none", release.ingress_class)
    with pytest.raises(CommandError, match=r"spec.hosts\[0\]"):
        namespace.apply(route)


def test_a_change_is_live_soon_after_the_api_server_took_it(
    namespace: Client, release: Release, shop: Target, authority: Authority
) -> None:
    """A bound far above the budget of the design: it catches a lost change, benchmarks measure."""
    pair = authority.issue("live", alternatives=("live.example",))
    namespace.apply(manifests.tls_secret("live-tls", pair))
    live = release.target("live.example", authority.pair.certificate)

    def answers(text: str) -> bool:
        return fetch(namespace, live).body == text.encode()

    for turn in range(5):
        text = f"turn {turn}"
        route = manifests.zeroserve_route(
            "live", "live.example", f'respond "{text}"', "live-tls", release.ingress_class
        )
        namespace.apply(route)
        applied = time.monotonic()
        namespace.eventually(partial(answers, text), SERVED_SECONDS)
        assert time.monotonic() - applied < SERVED_SECONDS


def test_native_code_served_all_of_it(namespace: Client, release: Release, shop: Target) -> None:
    name = "zeroserve_engine_program_executions_total"
    before = release.metric(name, mode="native")
    for _ in range(20):
        assert fetch(namespace, shop).status == 200
    namespace.eventually(lambda: release.metric(name, mode="native") >= before + 20, 120)
    assert release.metric(name, mode="interpreted") == 0
