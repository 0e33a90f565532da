"""A snapshot's version follows its changes as if it were digested anew."""

from hypothesis import given
from hypothesis import strategies as st
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import (
    EMPTY_DRAFT_VERSION,
    SnapshotDigest,
    SnapshotDraft,
    digest_snapshot,
    make_resource,
)

CLUSTERS = st.dictionaries(st.text("ab/", min_size=1, max_size=3), st.integers(0, 3))


def resources(clusters):
    made = (make_resource(pb.Cluster(name=name, retries=retries)) for name, retries in clusters.items())
    return dict(SnapshotDraft.of(made).resources)


@given(CLUSTERS, CLUSTERS)
def test_the_version_after_changes_is_that_of_the_resources(before, after):
    former, wanted = resources(before), resources(after)
    digest = SnapshotDigest({key: resource.version for key, resource in former.items()})
    assert digest.digest() == digest_snapshot(former)
    for key in former.keys() - wanted.keys():
        digest.remove(key)
        digest.remove(key)
    for key, resource in wanted.items():
        digest.put(key, resource.version)
    assert digest.digest() == digest_snapshot(wanted)


@given(CLUSTERS, CLUSTERS)
def test_versions_are_equal_where_the_resources_are(one, other):
    assert (digest_snapshot(resources(one)) == digest_snapshot(resources(other))) == (one == other)


def test_a_snapshot_of_nothing_has_the_empty_version():
    assert digest_snapshot({}) == EMPTY_DRAFT_VERSION
