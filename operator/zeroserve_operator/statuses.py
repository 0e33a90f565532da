"""Statuses: what the API server shall say of the objects that we serve.

In: the outcomes of a build, the addresses to publish, how many nodes serve what. Out: merge patches and
Events, as data; `patching` writes them. Pure. Rule: what is already so is not written again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from zeroserve_ir.diagnostics import Diagnostic, Severity

from zeroserve_operator.building.model import ObjectOutcome
from zeroserve_operator.resources.objects import GROUP_VERSION_OF_KIND, ObjectKey

MESSAGE_LENGTH_MAX = 1024
"""events.k8s.io limits `note` to 1 KiB; conditions take more, but nobody reads more."""
DIAGNOSTICS_SHOWN_MAX = 10
REPORTER = "zeroserve-operator"


@dataclass(frozen=True, slots=True)
class NodeCount:
    """Nodes that serve the version at hand, of those connected; refusals by diagnostic code."""

    acked: int
    total: int
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventNotice:
    """One Event: of equal ones the first is written, and counted on."""

    key: ObjectKey
    uid: str
    reason: str
    message: str
    warning: bool

    @property
    def name(self) -> str:
        """A name that is equal where the Event is."""
        digest = hashlib.sha256(f"{self.reason}\0{self.message}".encode()).hexdigest()[:10]
        return f"{self.key.name[:200]}.{digest}"


def make_ingress_status(addresses: Sequence[str]) -> dict[str, Any]:
    """Return `status.loadBalancer` of an Ingress that is served."""
    entries = [{"ip": item} if _is_ip(item) else {"hostname": item} for item in sorted(set(addresses))]
    return {"loadBalancer": {"ingress": entries}}


def make_route_status(
    outcome: ObjectOutcome, nodes: NodeCount, before: Mapping[str, Any], now: str
) -> dict[str, Any]:
    """Return conditions and node counts of a ZeroserveRoute; times change with a status only."""
    errors = [item for item in outcome.diagnostics if item.severity is Severity.ERROR]
    accepted = not errors and bool(outcome.hosts)
    reason = errors[0].code.name if errors else "Accepted" if accepted else "NoHosts"
    shown = errors or list(outcome.diagnostics)
    message = _join(shown) or (f"serves {', '.join(outcome.hosts)}" if accepted else "serves no host")
    programmed = accepted and nodes.total > 0 and nodes.acked == nodes.total and not nodes.refusals
    if nodes.refusals:
        why, text = nodes.refusals[0], f"refused by nodes: {', '.join(nodes.refusals)}"
    elif not accepted:
        why, text = "NotAccepted", "its hosts answer 503 or belong to others"
    else:
        why = "Programmed" if programmed else "Pending"
        text = f"served by {nodes.acked} of {nodes.total} nodes"
    known = {item.get("type"): item for item in before.get("conditions") or () if isinstance(item, Mapping)}
    shared: dict[str, Any] = {"generation": outcome.generation, "known": known, "now": now}
    conditions = [
        _condition("Accepted", accepted, reason, message, **shared),
        _condition("Programmed", programmed, why, text, **shared),
    ]
    return {"conditions": conditions, "nodes": {"acked": nodes.acked, "total": nodes.total}}


def make_plugin_status(
    outcome: ObjectOutcome, nodes: NodeCount, before: Mapping[str, Any], now: str
) -> dict[str, Any]:
    """Return conditions and node counts of a ZeroservePlugin, by the rules of routes."""
    status = _make_resource_status(outcome, nodes, before, now, without="calls of it answer 500")
    accepted, _ = status["conditions"]
    if accepted["status"] == "True":
        accepted["message"] = _join(outcome.diagnostics) or "loaded; every node verifies it again"
    return status


def make_purge_status(
    outcome: ObjectOutcome, nodes: NodeCount, before: Mapping[str, Any], now: str
) -> dict[str, Any]:
    """Return conditions and node counts of a ZeroserveCachePurge, by the rules of routes."""
    status = _make_resource_status(outcome, nodes, before, now, without="nothing is forgotten")
    accepted, programmed = status["conditions"]
    if accepted["status"] == "True":
        accepted["message"] = "told to every node"
        if not nodes.refusals:
            programmed["message"] = f"done by {nodes.acked} of {nodes.total} nodes"
    return status


def _make_resource_status(
    outcome: ObjectOutcome, nodes: NodeCount, before: Mapping[str, Any], now: str, *, without: str
) -> dict[str, Any]:
    """Return the status of what has resources, not hosts; `without` says what refusing it means."""
    told = replace(outcome, hosts=("resources",) if outcome.resources else ())
    status = make_route_status(told, nodes, before, now)
    accepted, programmed = status["conditions"]
    if accepted["status"] != "True":
        accepted["reason"] = "Refused" if accepted["reason"] == "NoHosts" else accepted["reason"]
        programmed["message"] = without
    return status


def list_notices(
    outcomes: Mapping[ObjectKey, ObjectOutcome], uids: Mapping[ObjectKey, str]
) -> list[EventNotice]:
    """Return the Events of a build: for each object one for each code, which names all findings of it."""
    found = []
    for key in sorted(outcomes, key=lambda key: key.order):
        by_code: dict[str, list[Diagnostic]] = {}
        for item in outcomes[key].diagnostics:
            by_code.setdefault(item.code.name, []).append(item)
        for code, items in sorted(by_code.items()):
            found.append(EventNotice(key, uids.get(key, ""), code, _join(items), True))
    return found


def make_event(notice: EventNotice, now: str) -> dict[str, Any]:
    """Return an Event (v1) that `kubectl describe` shows with its object."""
    key = notice.key
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": notice.name, "namespace": key.namespace or "default"},
        "involvedObject": {
            "apiVersion": GROUP_VERSION_OF_KIND[key.kind],
            "kind": key.kind.value,
            "namespace": key.namespace,
            "name": key.name,
            **({"uid": notice.uid} if notice.uid else {}),
        },
        "reason": notice.reason,
        "message": notice.message,
        "type": "Warning" if notice.warning else "Normal",
        "source": {"component": REPORTER},
        "reportingComponent": REPORTER,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _condition(
    kind: str,
    holds: bool,
    reason: str,
    message: str,
    *,
    generation: int,
    known: Mapping[Any, Mapping[str, Any]],
    now: str,
) -> dict[str, Any]:
    status = "True" if holds else "False"
    before = known.get(kind, {})
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since or now,
    }


def _join(diagnostics: Sequence[Diagnostic]) -> str:
    """Name each finding once, shortest form first, within what an Event may hold."""
    texts = list(dict.fromkeys(_short(item) for item in diagnostics))
    shown = "; ".join(texts[:DIAGNOSTICS_SHOWN_MAX])
    more = len(texts) - DIAGNOSTICS_SHOWN_MAX
    text = f"{shown}; and {more} more" if more > 0 else shown
    return text if len(text) <= MESSAGE_LENGTH_MAX else text[: MESSAGE_LENGTH_MAX - 1] + "…"


def _short(item: Diagnostic) -> str:
    place = ""
    if item.origin is not None and item.origin.field:
        place = f"{item.origin.field}: "
    if item.span.line:
        place = f"{item.origin.field if item.origin else ''}:{item.span.line}:{item.span.column}: ".lstrip(
            ":"
        )
    cure = f" ({item.help})" if item.help else ""
    return f"{place}{item.message}{cure}"


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
