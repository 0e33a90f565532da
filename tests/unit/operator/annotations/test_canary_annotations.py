"""Canaries: which requests go to the other Service, and what an Ingress must be to get any."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroserve_ir import tree
from zeroserve_operator.rendering_routes import match_share

UUID = "{http.request.uuid}"


def canary(ingress, **rules):
    annotations = {"canary": "true"} | {
        f"canary-{name.replace('_', '-')}": text for name, text in rules.items()
    }
    return ingress("next", annotations=annotations, created="2026-02-01T00:00:00Z")


def choice(loaded):
    return loaded.sites[0].routes[0].handlers[0]


def asked(loaded):
    """Return the matcher sets that lead to the canary, after checking where both lead."""
    other, main = choice(loaded).routes
    assert [one.handlers[0].upstreams[0].service.name for one in (other, main)] == ["next", "shop"]
    assert not main.matchers
    return other.matchers


def test_a_header_sends_there_or_keeps_and_goes_before_cookie_and_weight(build, ingress):
    loaded = build(ingress() + "---\n" + canary(ingress, by_header="X-Next", by_cookie="next", weight="50"))
    always = tree.MatchHeaderRegexp("X-Next", "^always$")
    never = tree.MatchNot(((tree.MatchHeaderRegexp("X-Next", "^never$"),),))
    cookie = tree.MatchVars((("{http.request.cookie.next}", ("always",)),))
    kept = tree.MatchNot(((tree.MatchVars((("{http.request.cookie.next}", ("never",)),)),),))
    assert asked(loaded) == (
        (always,),
        (never, cookie),
        (never, kept, tree.MatchVarsRegexp(UUID, match_share(1, 2))),
    )


def test_a_value_of_its_own_leaves_other_values_to_the_other_rules(build, ingress):
    loaded = build(
        ingress() + "---\n" + canary(ingress, by_header="X-Next", by_header_value="a*b", weight="100")
    )
    assert asked(loaded) == ((tree.MatchHeaderRegexp("X-Next", r"^a\*b$"),), ())


def test_a_pattern_counts_where_no_value_is_set(build, ingress):
    loaded = build(ingress() + "---\n" + canary(ingress, by_header="X-Next", by_header_pattern="lab.*"))
    assert asked(loaded) == ((tree.MatchHeaderRegexp("X-Next", "lab.*"),),)


def test_a_pattern_that_is_no_re2_matches_nothing(build, ingress):
    loaded = build(ingress() + "---\n" + canary(ingress, by_header="X-Next", by_header_pattern="(?=x)"))
    ((matcher,),) = asked(loaded)
    assert not re.search(matcher.pattern.replace(r"\z", r"\Z"), "x")
    assert "ZS0403" in {item.code.name for item in loaded.diagnostics}


@pytest.mark.parametrize("rules", [{}, {"weight": "0"}, {"weight": "some"}])
def test_without_a_rule_the_main_service_keeps_all(build, ingress, rules):
    loaded = build(ingress() + "---\n" + canary(ingress, **rules))
    (only,) = choice(loaded).routes
    assert only.handlers[0].upstreams[0].service.name == "shop"


def test_what_the_main_ingress_does_before_holds_for_the_canary(build, ingress):
    main = ingress(annotations={"whitelist-source-range": "10.0.0.0/8", "rewrite-target": "/x"})
    steps = choice(build(f"{main}---\n{canary(ingress, weight='10')}")).routes
    assert isinstance(steps[0].handlers[0], tree.RaiseError)
    assert isinstance(steps[-2].handlers[0], tree.Rewrite)
    assert isinstance(steps[-1].handlers[0], tree.Subroute)


@pytest.mark.parametrize(
    "annotations",
    [
        {"auth-snippet": "deny all"},
        {"whitelist-source-range": "10.0.0.0/8"},
        {"denylist-source-range": "::1"},
    ],
)
def test_a_canary_that_restricts_otherwise_than_the_main_ingress_gets_nothing(build, ingress, annotations):
    other = ingress("next", annotations={"canary": "true", "canary-weight": "100"} | annotations)
    loaded = build(f"{ingress(created='2025-01-01T00:00:00Z')}---\n{other}")
    assert choice(loaded).upstreams[0].service.name == "shop"
    assert any("restricts access otherwise" in item.message for item in loaded.diagnostics)


def test_a_canary_of_another_namespace_gets_nothing(build, ingress):
    other = canary(ingress, weight="100").replace("  name: next", "  namespace: elsewhere\n  name: next")
    loaded = build(f"{ingress()}---\n{other}")
    assert choice(loaded).upstreams[0].service.name == "shop"
    assert any("of another namespace" in item.message for item in loaded.diagnostics)


def test_the_oldest_canary_of_a_path_counts(build, ingress):
    third = canary(ingress, weight="100").replace("next", "third").replace("2026-02", "2026-03")
    loaded = build(f"{ingress()}---\n{canary(ingress, weight='100')}---\n{third}")
    assert asked(loaded) == ((),)
    assert any("has a canary already" in item.message for item in loaded.diagnostics)


def test_a_canary_has_a_sticky_cookie_of_its_own(build, ingress):
    main = ingress(annotations={"affinity": "cookie", "session-cookie-name": "route"})
    routes = choice(build(f"{main}---\n{canary(ingress, weight='10')}")).routes
    assert [one.handlers[0].selection.key for one in routes] == ["route_canary", "route"]


def test_a_service_of_a_canary_that_is_not_there_is_told(build, ingress):
    loaded = build(ingress() + "---\n" + canary(ingress, weight="10"))
    missing = [item.message for item in loaded.diagnostics if item.code.name == "ZS0302"]
    assert sorted(missing) == [
        "Service default/next is not there: 503",
        "Service default/shop is not there: 503",
    ]


@given(
    st.uuids(version=4),
    st.integers(1, 200).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))),
)
def test_a_share_is_what_lies_below_a_number(drawn: uuid.UUID, share):
    part, total = share
    if part < total:
        below = int(str(drawn)[:4], 16) < max(part * 0x10000 // total, 1)
        assert (re.match(match_share(part, total), str(drawn)) is not None) is below
