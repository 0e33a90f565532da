"""Handlers: kopf's watches feed the store, and do nothing else.

In: raw watch events. Out: calls of an observer. The only module that names kopf. Raw event handlers alone:
kopf's handlers with state would write annotations into users' objects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import kopf

from zeroserve_operator.kinds import API_KINDS, ApiKind
from zeroserve_operator.resources.objects import Kind
from zeroserve_operator.settings import OperatorSettings

Observer = Callable[[Kind, Mapping[str, Any], bool], None]
"""Called with kind, raw object, and whether it is gone."""

SERVER_TIMEOUT_S = 240
CLIENT_TIMEOUT_S = 300
CONNECT_TIMEOUT_S = 10
DELETED = "DELETED"


def make_registry(observe: Observer) -> kopf.OperatorRegistry:
    """Return a registry with one raw event handler for each kind."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(_log_in)
    for api in API_KINDS.values():
        kopf.on.event(api.group, api.version, api.plural, id=f"observe-{api.plural}", registry=registry)(
            _make_handler(api, observe)
        )
    return registry


def make_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: watches that end by themselves, no Events, no scanning, no state."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    # Without these a watch goes deaf after a connection is lost without a word (kopf #585, #957).
    settings.watching.server_timeout = SERVER_TIMEOUT_S
    settings.watching.client_timeout = CLIENT_TIMEOUT_S
    settings.watching.connect_timeout = CONNECT_TIMEOUT_S
    settings.networking.connect_timeout = CONNECT_TIMEOUT_S
    for api in API_KINDS.values():
        if api.field_selector:
            settings.watching.field_selectors[api.plural] = api.field_selector
    # One line for each object and handler otherwise: a third of the time of the first listing.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    return settings


async def run_watches(
    settings: OperatorSettings, observe: Observer, stop: asyncio.Event, ready: asyncio.Event
) -> None:
    """Watch until `stop` is set."""
    await kopf.operator(
        registry=make_registry(observe),
        settings=make_settings(),
        standalone=True,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        stop_flag=stop,
        ready_flag=ready,
    )


def _log_in(**arguments: Any) -> kopf.ConnectionInfo | None:
    """Find the cluster as `cluster_client` does: this Pod's ServiceAccount, else the current kubeconfig."""
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


def _make_handler(api: ApiKind, observe: Observer) -> Callable[..., Any]:
    async def handle(event: Mapping[str, Any], **_: Any) -> None:
        observe(api.kind, event["object"], event.get("type") == DELETED)

    return handle
