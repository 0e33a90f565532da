"""Who serves what: the answers of nodes to what was published.

In: streams that open, acknowledge and end; what other replicas tell of theirs. Out: by resource and version,
the nodes that serve it, that refused it, that have not answered. Who calls: `serving` writes, the status
writer and `forwarding` read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from zeroserve_ir._pb import discovery_pb2 as discovery
from zeroserve_ir.drafting import ResourceKey

Versions = Mapping[ResourceKey, str]


@dataclass(frozen=True, slots=True)
class RefusedVersion:
    """A version that a node did not take, and why."""

    version: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class NodeState:
    """What one stream's node answered last; `versions` is what was published to it, refused ones included."""

    stream: int
    node: str
    snapshot: str = ""
    versions: Versions = field(default_factory=dict, repr=False)
    refusals: Mapping[ResourceKey, RefusedVersion] = field(default_factory=dict)

    def serves(self, key: ResourceKey, version: str) -> bool:
        """Whether the node acknowledged exactly this version."""
        return self.versions.get(key) == version and key not in self.refusals


@dataclass(frozen=True, slots=True)
class Tally:
    """The nodes' answers about one version of one resource."""

    served: tuple[str, ...]
    refused: tuple[tuple[str, RefusedVersion], ...]
    pending: tuple[str, ...]


class Acknowledgements:
    """The states of all connected nodes, of this replica and, by source, of others."""

    def __init__(self) -> None:
        self._states: dict[int, NodeState] = {}
        self._heard: dict[int, tuple[NodeState, ...]] = {}

    def open(self, stream: int, node: str) -> NodeState:
        """Note a connected node that has not answered yet."""
        self._states[stream] = NodeState(stream, node)
        return self._states[stream]

    def acknowledge(self, stream: int, versions: Versions, answer: discovery.Acknowledge) -> NodeState:
        """Note an ACK or NACK; earlier refusals stay while the refused version is still the published one."""
        former = self._states[stream]
        refusals = {
            key: refusal for key, refusal in former.refusals.items() if versions.get(key) == refusal.version
        }
        for refusal in answer.refusals:
            key = (int(refusal.type), refusal.name)
            refusals[key] = RefusedVersion(refusal.version, refusal.code, refusal.message)
        state = NodeState(stream, former.node, answer.snapshot, versions, refusals)
        self._states[stream] = state
        return state

    def close(self, stream: int) -> None:
        """Forget a stream that ended."""
        self._states.pop(stream, None)

    def hear(self, source: int, states: Iterable[NodeState]) -> None:
        """Note all that another replica tells of its nodes."""
        self._heard[source] = tuple(states)

    def unhear(self, source: int) -> None:
        """Forget what a replica told that went away: its nodes connect to others."""
        self._heard.pop(source, None)

    @property
    def own(self) -> tuple[NodeState, ...]:
        """The nodes that are connected to this replica, in the order in which they connected."""
        return tuple(self._states.values())

    @property
    def nodes(self) -> tuple[NodeState, ...]:
        """All connected nodes, our own first."""
        return (*self._states.values(), *(state for states in self._heard.values() for state in states))

    def tally(self, key: ResourceKey, version: str) -> Tally:
        """Count answers; during a rollout a node with two agents serves a version only when both do."""
        served: set[str] = set()
        refused: dict[str, RefusedVersion] = {}
        pending: set[str] = set()
        for state in self.nodes:
            if state.serves(key, version):
                served.add(state.node)
            elif (refusal := state.refusals.get(key)) is not None and refusal.version == version:
                refused[state.node] = refusal
            else:
                pending.add(state.node)
        return Tally(
            tuple(sorted(served - pending - refused.keys())),
            tuple(sorted(refused.items(), key=lambda item: item[0])),
            tuple(sorted(pending - refused.keys())),
        )
