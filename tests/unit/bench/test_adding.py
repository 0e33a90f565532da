"""The changes that `bench adding` makes are changes as an operator sends them."""

from zeroserve_dataplane.subscribing import Merger
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SnapshotDraft, make_resource

from bench.adding import AddingReport, make_change, render


def test_each_change_brings_one_host_more():
    host = pb.VirtualHost(name="first", hosts=["first.test"], program="p", constants=b"c")
    merger = Merger(SnapshotDraft.of([make_resource(host)]))
    for number in range(3):
        merger.merge(make_change(merger.draft, number))
    hosts = [pb.VirtualHost.FromString(one.payload) for one in merger.draft.resources.values()]
    assert [list(one.hosts) for one in hosts] == [
        ["first.test"],
        ["added0.test"],
        ["added1.test"],
        ["added2.test"],
    ]
    assert {one.program for one in hosts} == {"p"}


def test_the_report_names_what_was_promised():
    report = AddingReport(hosts=10_000, added=9, p50_ms=4.0, p99_ms=8.0, cpu_p50_ms=3.0, cpu_least_ms=2.5)
    assert "| 10,000 | 9 | 4.0 | 8.0 | 3.0 | 2.5 | 10 |" in render(report)
