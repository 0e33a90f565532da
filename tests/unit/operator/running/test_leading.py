"""Leader election: one holder at a time, whatever fails."""

import copy

import pytest
from zeroserve_operator.cluster_client import ClusterError
from zeroserve_operator.leading import Election


class Leases:
    """The API server's Leases, with its optimistic locking."""

    def __init__(self):
        self.lease = None
        self.down = False

    def request(self, method, path, body=None):
        if self.down:
            raise ClusterError(0, "down")
        if method == "GET":
            if self.lease is None:
                raise ClusterError(404, "not found")
            return copy.deepcopy(self.lease)
        version = int(self.lease["metadata"]["resourceVersion"]) if self.lease else 0
        if method == "POST" and self.lease is not None:
            raise ClusterError(409, "exists")
        if method == "PUT" and body["metadata"]["resourceVersion"] != str(version):
            raise ClusterError(409, "conflict")
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(version + 1)
        return copy.deepcopy(self.lease)


@pytest.fixture
def leases():
    return Leases()


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def elect(leases, clock):
    return lambda name: Election(leases, "ns", "lease", name, duration_s=15, steady=lambda: clock[0])


def test_the_first_one_leads_and_the_second_waits(elect, leases):
    assert elect("a").attempt() and not elect("b").attempt()
    assert leases.lease["spec"]["holderIdentity"] == "a"


def test_a_holder_that_renews_keeps_it(elect, clock):
    first, second = elect("a"), elect("b")
    for _ in range(10):
        assert first.attempt() and not second.attempt()
        clock[0] += 5


def test_a_silent_holder_is_followed_after_its_duration_by_our_clock(elect, clock, leases):
    first, second = elect("a"), elect("b")
    first.attempt()
    assert not second.attempt()
    clock[0] += 14
    assert not second.attempt()
    clock[0] += 2
    assert second.attempt() and leases.lease["spec"]["leaseTransitions"] == 1


def test_who_cannot_renew_stops_before_another_may_begin(elect, clock, leases):
    first = elect("a")
    first.attempt()
    leases.down = True
    clock[0] += 10
    assert not first.attempt() and not first.is_leading


def test_of_two_at_once_one_wins(elect, leases):
    first, second = elect("a"), elect("b")
    assert first.attempt()
    first.release()
    request = leases.request

    def race(method, path, body=None):
        answer = request(method, path, body)
        if method == "GET":
            leases.request = request
            assert first.attempt()
        return answer

    leases.request = race
    assert not second.attempt() and leases.lease["spec"]["holderIdentity"] == "a"


def test_a_released_lease_is_free_at_once(elect, clock):
    first, second = elect("a"), elect("b")
    first.attempt()
    assert not second.attempt()
    first.release()
    assert not first.is_leading and second.attempt()
