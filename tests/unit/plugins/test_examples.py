"""The other examples, on the reference interpreter: what they let through, refuse and change."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from hypothesis import given, settings
from hypothesis import strategies as st
from zeroserve_cli.plugins.building import compile_c, find_compiler
from zeroserve_ir.plugins.loading import load
from zeroserve_ir.program import abi

from .reference_helpers import Request, run

EXAMPLES = Path(__file__).resolve().parents[3] / "examples/plugins"
CONTINUE = (abi.Verdict.CONTINUE, 0)
REFUSED = (abi.Verdict.RESPOND, 401)
NOW = 1_800_000_000
KEY = "a secret of some length"


@pytest.fixture(scope="module")
def plugins():
    return {
        name: load(compile_c([EXAMPLES / name / "plugin.c"], find_compiler()))
        for name in ("jwt", "ab-split", "bot-filter")
    }


def encode(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def make_token(claims, header=None, key=KEY):
    parts = [header or {"alg": "HS256", "typ": "JWT"}, claims]
    text = ".".join(encode(json.dumps(part).encode()) for part in parts)
    mac = hmac.HMAC(key.encode(), hashes.SHA256())
    mac.update(text.encode())
    return f"{text}.{encode(mac.finalize())}"


def verify(plugins, token, scheme="Bearer ", fields=(), **config):
    request = Request(
        fields=[*fields, ("Authorization", scheme + token)], config={"key": KEY} | config, now=NOW
    )
    return run(plugins["jwt"], "verify", request), request


SOUND = {"sub": "ada", "exp": NOW + 300, "iss": "us", "aud": ["shop", "mail"], "level": 3}


def test_a_sound_token_passes_and_its_claims_are_handed_on(plugins):
    forged = [("X-User", "root"), ("X-Group", "admins")]
    verdict, request = verify(
        plugins,
        make_token(SOUND),
        fields=forged,
        claims={"sub": "X-User", "level": "X-Level", "group": "X-Group"},
    )
    assert verdict == CONTINUE
    assert (request.get("x-user"), request.get("x-level"), request.get("x-group")) == ("ada", "3", None)


def test_the_scheme_has_no_case(plugins):
    assert verify(plugins, make_token(SOUND), scheme="bearer ")[0] == CONTINUE


def test_the_token_may_be_in_a_cookie(plugins):
    request = Request(
        fields=[("Cookie", f"a=b; session={make_token(SOUND)}")],
        config={"key": KEY, "cookie": "session"},
        now=NOW,
    )
    assert run(plugins["jwt"], "verify", request) == CONTINUE


def test_the_key_may_be_a_secret(plugins):
    request = Request(
        fields=[("Authorization", f"Bearer {make_token(SOUND)}")],
        config={"secrets": "yes"},
        secrets={"jwt_key": KEY.encode()},
        now=NOW,
    )
    assert run(plugins["jwt"], "verify", request) == CONTINUE


TOKENS = {
    "another key": make_token(SOUND, key="another"),
    "algorithm none": make_token(SOUND, header={"alg": "none"}),
    "algorithm of the token's choice": make_token(SOUND, header={"alg": "HS512"}),
    "no signature": make_token(SOUND).rpartition(".")[0] + ".",
    "two parts": make_token(SOUND).rpartition(".")[0],
    "four parts": make_token(SOUND) + ".x",
    "critical extension": make_token(SOUND, header={"alg": "HS256", "crit": ["b64"]}),
    "expired": make_token(SOUND | {"exp": NOW - 61}),
    "not yet": make_token(SOUND | {"nbf": NOW + 61}),
    "endless": make_token({"sub": "ada"}),
    "expiry is no number": make_token(SOUND | {"exp": "never"}),
    "no JSON": f"{encode(b'{')}.{encode(b'{}')}.{encode(b'x')}",
    "claims are no object": make_token(["sub"]),
    "nothing": "",
}


@pytest.mark.parametrize("name", TOKENS)
def test_refused_token(plugins, name):
    verdict, request = verify(plugins, TOKENS[name])
    assert verdict == REFUSED
    assert request.answer[0][0] == "www-authenticate"


@pytest.mark.parametrize(
    ("config", "passes"),
    [
        ({"issuer": "us"}, True),
        ({"issuer": "them"}, False),
        ({"audience": "mail"}, True),
        ({"audience": "bank"}, False),
        ({"algorithm": "RS256"}, False),
        ({"algorithm": "HS384"}, False),
        ({"key": ""}, False),
    ],
    ids=str,
)
def test_the_configuration_is_demanded(plugins, config, passes):
    assert (verify(plugins, make_token(SOUND), **config)[0] == CONTINUE) is passes


PEM = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize("pem", [PEM, f"\n{PEM}"], ids=["pem", "pem after a line"])
@pytest.mark.parametrize("config", [{}, {"algorithm": ""}, {"algorithm": "HS256"}], ids=str)
def test_a_public_key_is_no_secret(plugins, config, pem):
    verdict, _ = verify(plugins, make_token(SOUND, key=pem), key=pem, **config)
    assert verdict == (abi.Verdict.ERROR, 500)


def test_an_empty_secret_is_no_key(plugins):
    request = Request(
        fields=[("Authorization", f"Bearer {make_token(SOUND, key='')}")],
        config={"secrets": "yes"},
        secrets={"jwt_key": b""},
        now=NOW,
    )
    assert run(plugins["jwt"], "verify", request) == (abi.Verdict.ERROR, 500)


@pytest.mark.parametrize("said", ["no", "", "false"])
def test_tokens_without_an_end_pass_where_it_says_yes(plugins, said):
    endless = make_token({"sub": "ada"})
    assert verify(plugins, endless, allow_endless="yes")[0] == CONTINUE
    assert verify(plugins, endless, allow_endless=True)[0] == CONTINUE  # the word alone
    assert verify(plugins, endless, allow_endless=said)[0] == REFUSED


def test_each_of_several_keys_counts_while_they_are_changed(plugins):
    keys = ["the one before", "", KEY]
    assert verify(plugins, make_token(SOUND), key=keys)[0] == CONTINUE
    assert verify(plugins, make_token(SOUND, key=keys[0]), key=keys)[0] == CONTINUE
    assert verify(plugins, make_token(SOUND, key="another"), key=keys)[0] == REFUSED
    assert verify(plugins, make_token(SOUND, key=""), key=keys)[0] == REFUSED


def test_claims_may_be_named_by_urls(plugins):
    name = "https://shop.example/~role"
    verdict, request = verify(plugins, make_token(SOUND | {name: "admin"}), claims={name: "X-Role"})
    assert (verdict, request.get("x-role")) == (CONTINUE, "admin")


def test_times_have_a_leeway(plugins):
    assert verify(plugins, make_token(SOUND | {"exp": NOW - 59}))[0] == CONTINUE
    assert verify(plugins, make_token(SOUND | {"exp": NOW - 59}), leeway="10")[0] == REFUSED


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_changed_token_passes(plugins, data):
    sound = make_token(SOUND)
    place = data.draw(st.integers(0, len(sound) - 1))
    letter = data.draw(st.sampled_from("AZaz09-_.="))
    changed = sound[:place] + letter + sound[place + 1 :]
    decoded = [part.rstrip("=") for part in changed.split(".")]
    last = place >= len(sound) - 1  # its last letter holds two bits that no byte has
    if decoded != sound.split(".") and not last:
        assert verify(plugins, changed)[0] == REFUSED


SPLIT = {"split": {"a": "90", "b": "10"}}


@pytest.mark.parametrize(("lot", "variant"), [(0, "a"), (89, "a"), (90, "b"), (99, "b"), (100, "a")])
def test_a_new_client_is_drawn_by_weight_and_remembers(plugins, lot, variant):
    request = Request(config=SPLIT, lot=lot)
    assert run(plugins["ab-split"], "choose", request) == CONTINUE
    assert request.get("x-variant") == variant
    assert request.answer == [("set-cookie", f"variant={variant}; Path=/; Max-Age=2592000; SameSite=Lax")]


def test_the_cookie_keeps_a_client_where_it_was(plugins):
    request = Request(config=SPLIT, fields=[("Cookie", "variant=b")], lot=0)
    assert run(plugins["ab-split"], "choose", request) == CONTINUE
    assert (request.get("x-variant"), request.answer) == ("b", [])


def test_a_client_may_ask_for_a_variant_that_exists(plugins):
    request = Request(config=SPLIT, fields=[("X-Variant", "b")])
    assert run(plugins["ab-split"], "choose", request) == CONTINUE
    assert (request.get("x-variant"), request.answer) == ("b", [])


@pytest.mark.parametrize("fields", [[("X-Variant", "c")], [("Cookie", "variant=c")]])
def test_a_variant_that_does_not_exist_is_drawn_anew(plugins, fields):
    request = Request(config=SPLIT, fields=fields, lot=0)
    assert run(plugins["ab-split"], "choose", request) == CONTINUE
    assert request.get("x-variant") == "a"


@pytest.mark.parametrize("config", [{}, {"split": "a"}, {"split": {"a": "0"}}, {"split": {"a": "many"}}])
def test_a_split_that_makes_no_sense_is_an_error(plugins, config):
    assert run(plugins["ab-split"], "choose", Request(config=config)) == (abi.Verdict.ERROR, 500)


FILTER = {"deny": ["curl", "Scrapy", "python-requests"], "allow": "Googlebot", "empty": "deny"}


@pytest.mark.parametrize(
    ("agent", "passes"),
    [
        ("Mozilla/5.0 (X11)", True),
        ("curl/8.0", False),
        ("SCRAPY/2.1", False),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; curl)", True),
        ("", False),
        ("x" * 2000, True),
    ],
)
def test_agents(plugins, agent, passes):
    request = Request(config=FILTER, fields=[("User-Agent", agent)])
    assert (run(plugins["bot-filter"], "filter", request) == CONTINUE) is passes


def test_a_client_without_an_agent_passes_unless_told(plugins):
    config = {"deny": "curl"}
    assert run(plugins["bot-filter"], "filter", Request(config=config)) == CONTINUE
    assert run(plugins["bot-filter"], "filter", Request(config=FILTER)) == (abi.Verdict.RESPOND, 403)


def test_too_many_requests_of_one_address_are_slowed_down(plugins):
    events = {}

    def ask(client):
        request = Request(config={"limit": "2", "window": "10"}, client=client, events=events)
        return run(plugins["bot-filter"], "filter", request), request.answer

    assert [ask("192.0.2.1")[0] for _ in range(2)] == [CONTINUE] * 2
    assert ask("192.0.2.1") == ((abi.Verdict.RESPOND, 429), [("retry-after", "10")])
    assert ask("192.0.2.2")[0] == CONTINUE
