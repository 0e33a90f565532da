"""What one replica tells of its nodes is what the other one knows of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroserve_ir._pb import discovery_pb2 as discovery
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_operator.publishing.acknowledgements import Acknowledgements
from zeroserve_operator.publishing.telling import Listener, Teller, TellingError

SITE = (int(pb.VIRTUAL_HOST), "shop")
held = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"]), max_size=3)
steps = st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["open", "answer", "refuse", "close"]), held))


def answer(acknowledgements, stream, versions, refused=()):
    keyed = {(int(pb.VIRTUAL_HOST), name): version for name, version in versions.items()}
    refusals = [
        discovery.Refusal(type=pb.VIRTUAL_HOST, name=name, version=versions[name], code="ZS0601")
        for name in refused
    ]
    acknowledgements.acknowledge(
        stream, keyed, discovery.Acknowledge(snapshot=repr(sorted(versions.items())), refusals=refusals)
    )


@given(steps)
def test_after_each_report_the_listener_knows_what_the_teller_knows(actions):
    acknowledgements, teller, listener = Acknowledgements(), Teller(), Listener()
    opened = set()
    for stream, action, versions in actions:
        if action == "close":
            acknowledgements.close(stream)
            opened.discard(stream)
            continue
        if stream not in opened:
            acknowledgements.open(stream, f"node-{stream}")
            opened.add(stream)
        if action != "open":
            answer(acknowledgements, stream, versions, list(versions)[:1] if action == "refuse" else ())
        report = teller.report(acknowledgements.own)
        if report is not None:
            wired = discovery.AnswersReport.FromString(report.SerializeToString())
            known = {state.stream: state for state in listener.take(wired)}
            assert known == {state.stream: state for state in acknowledgements.own}


def test_nothing_changed_is_no_report():
    acknowledgements, teller = Acknowledgements(), Teller()
    acknowledgements.open(1, "node-1")
    assert teller.report(acknowledgements.own) is not None
    assert teller.report(acknowledgements.own) is None


def test_a_snapshot_is_described_once_for_all_nodes():
    acknowledgements, teller = Acknowledgements(), Teller()
    for stream in range(1, 50):
        acknowledgements.open(stream, f"node-{stream}")
        answer(acknowledgements, stream, {"shop": "1"})
    assert len(teller.report(acknowledgements.own).snapshots) == 1


def test_an_answer_to_a_snapshot_that_was_not_told_is_refused():
    report = discovery.AnswersReport(answers=[discovery.NodeAnswer(stream=1, node="n", snapshot="x")])
    with pytest.raises(TellingError):
        Listener().take(report)


def test_heard_nodes_count_until_their_replica_goes():
    acknowledgements = Acknowledgements()
    acknowledgements.open(1, "node-1")
    answer(acknowledgements, 1, {"shop": "1"})
    other = Acknowledgements()
    other.open(1, "node-2")
    answer(other, 1, {"shop": "1"})
    acknowledgements.hear(7, other.own)
    assert acknowledgements.tally(SITE, "1").served == ("node-1", "node-2")
    assert [state.node for state in acknowledgements.own] == ["node-1"]
    acknowledgements.unhear(7)
    assert acknowledgements.tally(SITE, "1").served == ("node-1",)
