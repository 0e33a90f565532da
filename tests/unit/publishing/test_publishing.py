"""Deltas, acknowledgements and trust, without I/O."""

import datetime

from hypothesis import given
from hypothesis import strategies as st
from zeroserve_ir._pb import discovery_pb2 as discovery
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SnapshotDraft, digest_versions, make_resource
from zeroserve_operator.publishing.acknowledgements import Acknowledgements
from zeroserve_operator.publishing.deltas import (
    PART_BYTES_MAX,
    DeltaCache,
    Published,
    encode_delta,
    seal_part,
)
from zeroserve_operator.publishing.trusting import OVERLAP, ROOT_LIFETIME, TrustState

NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)

drafts = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 3)).map(
    lambda ports: SnapshotDraft.of(
        make_resource(pb.Listener(name=name, port=port)) for name, port in ports.items()
    )
)


def read_parts(parts):
    return [discovery.DiscoveryResponse.FromString(part) for part in parts]


@given(drafts, drafts)
def test_what_is_held_and_the_delta_make_what_is_published(before, after):
    held = dict(Published.of(before).versions)
    for part in read_parts(encode_delta(held, Published.of(after))):
        held.update({(int(one.type), one.name): one.version for one in part.resources})
        for gone in part.removed:
            del held[int(gone.type), gone.name]
    assert held == Published.of(after).versions


@given(drafts, drafts)
def test_a_delta_holds_nothing_that_is_held_already(before, after):
    held = Published.of(before).versions
    for part in read_parts(encode_delta(held, Published.of(after))):
        assert all(held.get((int(one.type), one.name)) != one.version for one in part.resources)


def test_parts_stay_below_a_mebibyte_and_a_larger_resource_travels_alone():
    small = [pb.Certificate(name=f"c{index}", key=bytes(40_000)) for index in range(100)]
    large = pb.Certificate(name="large", key=bytes(2 << 20))
    draft = SnapshotDraft.of(make_resource(one) for one in [*small, large])
    parts = encode_delta({}, Published.of(draft))
    sealed = [seal_part(part, 1 << 63, draft.version, last=False) for part in parts]
    over = [discovery.DiscoveryResponse.FromString(part) for part in sealed if len(part) >= PART_BYTES_MAX]
    assert [[one.name for one in part.resources] for part in over] == [["large"]]
    assert 5 <= len(parts) <= 7


def test_removals_are_split_too():
    held = {(1, f"{'n' * 200}{index}"): "v" for index in range(20_000)}
    parts = encode_delta(held, Published.of(SnapshotDraft.of([])))
    assert len(parts) > 1
    assert max(map(len, parts)) < PART_BYTES_MAX
    assert sum(len(part.removed) for part in read_parts(parts)) == 20_000


def test_nodes_that_hold_the_same_share_one_encoding():
    cache = DeltaCache()
    published = Published.of(SnapshotDraft.of([make_resource(pb.Listener(name="http", port=80))]))
    first = cache.encode({}, digest_versions({}), published)
    assert cache.encode({}, digest_versions({}), published) is first


def test_a_sealed_part_is_the_part_with_nonce_snapshot_and_last():
    part = discovery.DiscoveryResponse(resources=[make_resource(pb.Listener(name="http"))])
    sealed = discovery.DiscoveryResponse.FromString(seal_part(part.SerializeToString(), 7, "abc", last=True))
    assert (sealed.nonce, sealed.snapshot, sealed.last, sealed.resources) == (7, "abc", True, part.resources)


def test_a_version_counts_as_served_only_by_nodes_that_acknowledged_exactly_it():
    book = Acknowledgements()
    for stream, node in ((1, "a"), (2, "b"), (3, "c")):
        book.open(stream, node)
    key = (int(pb.VIRTUAL_HOST), "http://shop")
    refusal = discovery.Refusal(type=pb.VIRTUAL_HOST, name="http://shop", version="2", code="ZS0601")
    book.acknowledge(1, {key: "2"}, discovery.Acknowledge(nonce=1))
    book.acknowledge(2, {key: "2"}, discovery.Acknowledge(nonce=1, refusals=[refusal]))
    book.acknowledge(3, {key: "1"}, discovery.Acknowledge(nonce=1))
    tally = book.tally(key, "2")
    assert (tally.served, [node for node, _ in tally.refused], tally.pending) == (("a",), ["b"], ("c",))
    book.close(1)
    assert book.tally(key, "2").served == ()


def test_a_node_with_two_agents_serves_a_version_when_both_do():
    book = Acknowledgements()
    key = (int(pb.VIRTUAL_HOST), "http://shop")
    book.open(1, "a")
    book.open(2, "a")
    book.acknowledge(1, {key: "2"}, discovery.Acknowledge(nonce=1))
    assert (book.tally(key, "2").served, book.tally(key, "2").pending) == ((), ("a",))
    book.acknowledge(2, {key: "2"}, discovery.Acknowledge(nonce=1))
    assert book.tally(key, "2").served == ("a",)


def test_a_new_root_is_announced_long_before_anything_is_signed_by_it():
    state, now = TrustState.create(NOW), NOW
    announced_at = None
    while now < NOW + 3 * ROOT_LIFETIME:
        before, now = state, now + DAY
        state = state.rotate(now)
        if state.successor is not None and before.successor is None:
            announced_at = now
        if state.active != before.active:
            assert announced_at is not None
            assert now - announced_at >= OVERLAP - DAY
            assert before.active.certificate in state.former
        signer = state.active.certificate
        assert signer.not_valid_after_utc > now + 14 * DAY
        assert signer.subject == state.active.certificate.subject
        assert state.bundle_pem.count(b"BEGIN CERTIFICATE") <= 3
    assert announced_at is not None


def test_the_state_survives_its_store():
    state = TrustState.create(NOW).rotate(NOW + ROOT_LIFETIME - 100 * DAY)
    loaded = TrustState.load(state.dump())
    assert loaded.bundle_pem == state.bundle_pem
    assert state.successor is not None


def test_keys_are_not_printed():
    state = TrustState.create(NOW)
    assert "redacted" in repr(state)
    assert "redacted" in repr(state.issue_leaf(NOW))
