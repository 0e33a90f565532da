"""A snapshot's version follows its changes as if it were digested anew."""

from hypothesis import given
from hypothesis import strategies as st
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SnapshotDraft, SortedVersions, digest_snapshot, make_resource

CLUSTERS = st.dictionaries(st.text("ab/", min_size=1, max_size=3), st.integers(0, 3))


def resources(clusters):
    made = (make_resource(pb.Cluster(name=name, retries=retries)) for name, retries in clusters.items())
    return dict(SnapshotDraft.of(made).resources)


@given(CLUSTERS, CLUSTERS)
def test_the_version_after_changes_is_that_of_the_resources(before, after):
    former, wanted = resources(before), resources(after)
    versions = SortedVersions(former)
    assert versions.digest() == digest_snapshot(former)
    for key in former.keys() - wanted.keys():
        versions.remove(key)
        versions.remove(key)
    for key, resource in wanted.items():
        versions.put(key, resource.version)
    assert versions.digest() == digest_snapshot(wanted)
