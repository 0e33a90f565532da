"""RFC 9111, rule by rule: what is kept, how long it is fresh, what validates it and what forgets it.

Each case is what the origin answers in turn and what the client asks in turn; the table says how many of the
requests the origin saw and which of its answers the client got at last. Time is in the answers: one that is
100 seconds old says `Age: 100`, so no case waits.
"""

import itertools
from dataclasses import dataclass

import pytest
from origins import Told

CADDYFILE = """http://:PORT {
	cache /timed/* 5m {
		ttl 1h 404 501
	}
	cache
	reverse_proxy 127.0.0.1:%d
}
"""
_numbers = itertools.count()


@pytest.fixture(scope="module")
def node(serve, origin):
    return serve(CADDYFILE % origin.port)


@dataclass(frozen=True)
class Case:
    rule: str
    first: dict[str, str]
    """Fields of the origin's first answer; what it says later is `body 2`, fresh for an hour."""
    asked: int
    """How many of two requests the origin saw."""
    request: tuple[dict[str, str], dict[str, str]] = ({}, {})
    status: int = 200
    timed: bool = False
    """The route gives answers five minutes, 404 and 501 an hour."""
    got: int = 200
    """Status of the second answer."""


def answer(**fields):
    return {name.replace("_", "-"): value for name, value in fields.items()}


MAX_AGE = answer(Cache_Control="max-age=60")
TAGGED = answer(Cache_Control="max-age=60", Age="100", ETag='"a"')
AUTHORIZED = answer(Authorization="Bearer x")
CASES = [
    # 3: storing
    Case("max-age makes an answer fresh (5.2.2.1)", MAX_AGE, 1),
    Case("an answer that says nothing is not kept: no heuristics (4.2.2)", answer(), 2),
    Case("nor one with Last-Modified alone", answer(Last_Modified="Mon, 01 Jan 2024 00:00:00 GMT"), 2),
    Case("nor one with public alone", answer(Cache_Control="public"), 2),
    Case("no-store is not kept (5.2.2.5)", answer(Cache_Control="no-store, max-age=60"), 2),
    Case(
        "must-understand overrules no-store for statuses we know",
        answer(Cache_Control="must-understand, no-store, max-age=60"),
        1,
    ),
    Case(
        "but not for others",
        answer(Cache_Control="must-understand, no-store, max-age=60"),
        2,
        status=299,
        got=200,
    ),
    Case("private is not kept (5.2.2.7)", answer(Cache_Control="private, max-age=60"), 2),
    Case("private with names is private", answer(Cache_Control='private="x", max-age=60'), 2),
    Case("directives have no case", answer(Cache_Control="MAX-AGE=60"), 1),
    Case("two lines are one list", answer(Cache_Control="public\nmax-age=60"), 1),
    Case("commas in quotes are no commas", answer(Cache_Control='x="a, no-store", max-age=60'), 1),
    Case("of two numbers the first counts (4.2.1)", answer(Cache_Control="max-age=60, max-age=0"), 1),
    Case("a number that is none is 0", answer(Cache_Control="max-age=abc"), 2),
    Case("a negative number is none", answer(Cache_Control="max-age=-5"), 2),
    Case("a huge number is bounded", answer(Cache_Control="max-age=99999999999999999999"), 1),
    Case("an event stream has no end", {**MAX_AGE, "Content-Type": "text/event-stream"}, 2),
    Case("Set-Cookie is for one client", {**MAX_AGE, "Set-Cookie": "a=b"}, 2),
    Case("an unknown status is kept where it says so", MAX_AGE, 1, status=299, got=299),
    Case("so is 404", MAX_AGE, 1, status=404, got=404),
    Case("so is 302", MAX_AGE, 1, status=302, got=302),
    Case("so is 204", MAX_AGE, 1, status=204, got=204),
    Case("a part of an answer is not kept", MAX_AGE, 2, status=206, got=200),
    # 3.5: credentials
    Case("Authorization forbids", MAX_AGE, 2, (AUTHORIZED, AUTHORIZED)),
    Case("but for public", answer(Cache_Control="public, max-age=60"), 1, (AUTHORIZED, {})),
    Case("but for s-maxage", answer(Cache_Control="s-maxage=60"), 1, (AUTHORIZED, {})),
    Case("but for must-revalidate", answer(Cache_Control="must-revalidate, max-age=60"), 1, (AUTHORIZED, {})),
    Case("what all may have serves the authorized too", MAX_AGE, 1, ({}, AUTHORIZED)),
    # 4.2: freshness
    Case("s-maxage goes before max-age (5.2.2.10)", answer(Cache_Control="max-age=0, s-maxage=60"), 1),
    Case("also where it is shorter", answer(Cache_Control="max-age=60, s-maxage=0"), 2),
    Case("Age counts (4.2.3)", {**MAX_AGE, "Age": "30"}, 1),
    Case("an old answer is stale", {**MAX_AGE, "Age": "61"}, 2),
    Case("Age that is no number is 0", {**MAX_AGE, "Age": "abc"}, 1),
    Case("of an Age list the first counts", {**MAX_AGE, "Age": "100, 1"}, 2),
    Case("Date counts (4.2.3)", {**MAX_AGE, "Date": "Mon, 01 Jan 2024 00:00:00 GMT"}, 2),
    Case(
        "Expires less Date is the time (5.3)",
        answer(Date="Mon, 01 Jan 2024 00:00:00 GMT", Expires="Mon, 01 Jan 2024 00:00:00 GMT"),
        2,
    ),
    Case("Expires in the future", answer(Expires="Mon, 01 Jan 2080 00:00:00 GMT"), 1),
    Case("Expires of RFC 850", answer(Expires="Monday, 01-Jan-29 00:00:00 GMT"), 1),
    Case("Expires of asctime", answer(Expires="Mon Jan  1 00:00:00 2080"), 1),
    Case("Expires in capitals (4.2)", answer(Expires="MON, 01 JAN 2080 00:00:00 GMT"), 1),
    Case("Expires that is no date has passed", answer(Expires="0"), 2),
    Case("so has one with two digits of a year", answer(Expires="Mon, 01 Jan 29 00:00:00 GMT"), 2),
    Case("with one digit of an hour", answer(Expires="Mon, 01 Jan 2080 0:00:00 GMT"), 2),
    Case("with more spaces", answer(Expires="Mon, 01  Jan  2080 00:00:00 GMT"), 2),
    Case("with dashes", answer(Expires="Mon, 01-Jan-2080 00:00:00 GMT"), 2),
    Case("max-age goes before Expires", answer(Cache_Control="max-age=60", Expires="0"), 1),
    Case(
        "no-cache is validated each time (5.2.2.4)",
        answer(Cache_Control="no-cache, max-age=60", ETag='"a"'),
        2,
    ),
    Case("so is no-cache with names", answer(Cache_Control='no-cache="x", max-age=60', ETag='"a"'), 2),
    Case("Pragma of an answer says nothing (5.4)", {**MAX_AGE, "Pragma": "no-cache"}, 1),
    # 4.2.4: stale
    Case(
        "stale-while-revalidate serves a stale answer",
        answer(Cache_Control="max-age=60, stale-while-revalidate=600", Age="100"),
        2,
    ),
    Case(
        "not beyond its window", answer(Cache_Control="max-age=60, stale-while-revalidate=10", Age="100"), 2
    ),
    # 5.2.1: what clients ask for
    Case(
        "max-age of a request bounds the age",
        {**MAX_AGE, "Age": "30"},
        2,
        ({}, answer(Cache_Control="max-age=10")),
    ),
    Case("and lets younger ones pass", {**MAX_AGE, "Age": "30"}, 1, ({}, answer(Cache_Control="max-age=50"))),
    Case(
        "min-fresh wants time to be left",
        {**MAX_AGE, "Age": "30"},
        2,
        ({}, answer(Cache_Control="min-fresh=40")),
    ),
    Case("max-stale takes a stale answer", TAGGED, 1, ({}, answer(Cache_Control="max-stale=100"))),
    Case("but not a staler one", TAGGED, 2, ({}, answer(Cache_Control="max-stale=10"))),
    Case(
        "nor where must-revalidate forbids it",
        answer(Cache_Control="max-age=60, must-revalidate", Age="100", ETag='"a"'),
        2,
        ({}, answer(Cache_Control="max-stale")),
    ),
    Case(
        "nor where s-maxage does",
        answer(Cache_Control="s-maxage=60", Age="100", ETag='"a"'),
        2,
        ({}, answer(Cache_Control="max-stale")),
    ),
    Case("no-cache of a request validates", MAX_AGE, 2, ({}, answer(Cache_Control="no-cache"))),
    Case("so does Pragma", MAX_AGE, 2, ({}, answer(Pragma="no-cache"))),
    Case(
        "unless Cache-Control is there",
        MAX_AGE,
        1,
        ({}, answer(Pragma="no-cache", Cache_Control="max-age=1000")),
    ),
    Case("no-store of a request keeps nothing", MAX_AGE, 2, (answer(Cache_Control="no-store"), {})),
    Case("only-if-cached takes what is there", MAX_AGE, 1, ({}, answer(Cache_Control="only-if-cached"))),
    Case("or 504", answer(), 1, ({}, answer(Cache_Control="only-if-cached")), got=504),
    # 4.1: Vary
    Case("the same value fits", {**MAX_AGE, "Vary": "X-A"}, 1, (answer(X_A="1"), answer(X_A="1"))),
    Case("another does not", {**MAX_AGE, "Vary": "X-A"}, 2, (answer(X_A="1"), answer(X_A="2"))),
    Case("none is another", {**MAX_AGE, "Vary": "X-A"}, 2, (answer(X_A="1"), {})),
    Case("two times none is the same", {**MAX_AGE, "Vary": "X-A"}, 1),
    Case(
        "fields that Vary does not name do not matter",
        {**MAX_AGE, "Vary": "X-A"},
        1,
        (answer(X_B="1"), answer(X_B="2")),
    ),
    Case("names have no case", {**MAX_AGE, "Vary": "x-a"}, 2, (answer(X_A="1"), answer(X_A="2"))),
    Case(
        "every name counts",
        {**MAX_AGE, "Vary": "X-A, X-B"},
        2,
        (answer(X_A="1", X_B="1"), answer(X_A="1", X_B="2")),
    ),
    Case(
        "so do lines of their own",
        {**MAX_AGE, "Vary": "X-A\nX-B"},
        2,
        (answer(X_A="1", X_B="1"), answer(X_A="1", X_B="2")),
    ),
    Case("Vary: * never fits", {**MAX_AGE, "Vary": "*"}, 2),
    Case("nor beside a name", {**MAX_AGE, "Vary": "X-A, *"}, 2),
    # the route's own times
    Case("a route's time is for answers that say nothing", answer(), 1, timed=True),
    Case("not for those that do", answer(Cache_Control="max-age=0"), 2, timed=True),
    Case("nor for private ones", answer(Cache_Control="private"), 2, timed=True),
    Case("nor for cookies", answer(Set_Cookie="a=b"), 2, timed=True),
    Case("a time is for its status", answer(), 1, status=404, got=404, timed=True),
    Case("an error has none of 200", answer(), 2, status=500, timed=True, got=200),
    Case("nor has a redirect that may change", answer(), 2, status=302, timed=True, got=200),
    Case("a permanent one has", answer(), 1, status=301, timed=True, got=301),
    Case("Authorization forbids here too", answer(), 2, (AUTHORIZED, AUTHORIZED), timed=True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_two_requests(node, origin, case):
    path = f"{'/timed' if case.timed else ''}/{next(_numbers)}"
    later = Told(answer(Cache_Control="max-age=3600"), b"later")
    origin.will(Told(case.first, b"first", case.status), later)
    first = node.ask(path, **case.request[0])
    assert first.status == case.status
    second = node.ask(path, **case.request[1])
    origin.settle(case.asked)
    assert len(origin.asked) == case.asked, second.get("Cache-Status")
    assert second.status == case.got
