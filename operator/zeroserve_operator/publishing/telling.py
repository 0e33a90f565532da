"""What replicas tell each other of their nodes, as messages.

In: the states of a replica's own nodes. Out: `AnswersReport`s of what changed (`Teller`), and at the other
end the states again (`Listener`). Called by `forwarding` and `serving`. Rule: what a snapshot holds is told
once, as difference to the one told before, however many nodes answered to it.
"""

from __future__ import annotations

from collections.abc import Iterable

from zeroserve_ir._pb import discovery_pb2 as discovery
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import ResourceKey

from zeroserve_operator.publishing.acknowledgements import NodeState, RefusedVersion, Versions


class TellingError(Exception):
    """A report names what was not told before it."""


class Teller:
    """Remembers what was told on one stream."""

    def __init__(self) -> None:
        self._told: dict[int, NodeState] = {}
        self._snapshots: set[str] = set()
        self._last: Versions = {}

    def report(self, states: Iterable[NodeState]) -> discovery.AnswersReport | None:
        """Return what changed since the last report, None when nothing did."""
        current = {state.stream: state for state in states}
        report = discovery.AnswersReport(ended=sorted(self._told.keys() - current.keys()))
        for stream, state in current.items():
            if self._told.get(stream) is not state:
                self._describe(report, state)
                report.answers.append(_write_answer(state))
        self._told = current
        named = {state.snapshot for state in current.values()}
        self._snapshots &= named
        return report if report.answers or report.ended else None

    def _describe(self, report: discovery.AnswersReport, state: NodeState) -> None:
        if not state.snapshot or state.snapshot in self._snapshots:
            return
        changed = (item for item in state.versions.items() if self._last.get(item[0]) != item[1])
        report.snapshots.append(
            discovery.SnapshotVersions(
                snapshot=state.snapshot,
                changed=[_write_version(key, version) for key, version in changed],
                removed=[_write_version(key, "") for key in self._last.keys() - state.versions.keys()],
            )
        )
        self._last = state.versions
        self._snapshots.add(state.snapshot)


class Listener:
    """Puts together what one replica told."""

    def __init__(self) -> None:
        self._states: dict[int, NodeState] = {}
        self._snapshots: dict[str, Versions] = {"": {}}
        self._last: Versions = {}

    def take(self, report: discovery.AnswersReport) -> tuple[NodeState, ...]:
        """Return the states of all the replica's nodes. Raises TellingError."""
        for snapshot in report.snapshots:
            versions = dict(self._last)
            for gone in snapshot.removed:
                versions.pop((int(gone.type), gone.name), None)
            versions.update({(int(one.type), one.name): one.version for one in snapshot.changed})
            self._snapshots[snapshot.snapshot] = self._last = versions
        for answer in report.answers:
            if answer.snapshot not in self._snapshots:
                raise TellingError(f"snapshot {answer.snapshot[:12]} was not told")
            self._states[answer.stream] = _read_answer(answer, self._snapshots[answer.snapshot])
        for stream in report.ended:
            self._states.pop(stream, None)
        named = {"", *(state.snapshot for state in self._states.values())}
        self._snapshots = {name: held for name, held in self._snapshots.items() if name in named}
        return tuple(self._states.values())


def _write_version(key: ResourceKey, version: str) -> discovery.ResourceVersion:
    return discovery.ResourceVersion(type=pb.ResourceType.ValueType(key[0]), name=key[1], version=version)


def _write_answer(state: NodeState) -> discovery.NodeAnswer:
    refusals = (
        discovery.Refusal(
            type=pb.ResourceType.ValueType(kind),
            name=name,
            version=refusal.version,
            code=refusal.code,
            message=refusal.message,
        )
        for (kind, name), refusal in state.refusals.items()
    )
    return discovery.NodeAnswer(
        stream=state.stream, node=state.node, snapshot=state.snapshot, refusals=refusals
    )


def _read_answer(answer: discovery.NodeAnswer, versions: Versions) -> NodeState:
    refusals = {
        (int(one.type), one.name): RefusedVersion(one.version, one.code, one.message)
        for one in answer.refusals
    }
    return NodeState(answer.stream, answer.node, answer.snapshot, versions, refusals)
