"""Many Ingresses, and changes of single ones, each confirmed by the answer that it asks for.

Comes in: a release, a backend's Service. Goes out: `Changes`: how long each change took from the API server's
acknowledgement to the right answer, and which never came. Called by the test, which asks that all came, and
by `python -m bench cluster`, which prints the times.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import manifests
import yaml
from cluster.clients import Client
from cluster.requests import Requests
from releases import Release
from traffic import Target

REWRITE = "nginx.ingress.kubernetes.io/rewrite-target"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/{}/ingresses"
ROUTES = "/apis/zeroserve.dev/v1alpha1/namespaces/{}/zeroserveroutes"
ROUTE_HOST = "changing.example"
CONFIRM_SECONDS = 60.0
POLL_SECONDS = 0.001


@dataclass(slots=True)
class Changes:
    """What became of changes: milliseconds of those that came, words for the others."""

    times_ms: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def host(number: int) -> str:
    """Return the host of one of many Ingresses."""
    return f"h{number}.changing.example"


def ingress_object(number: int, service: str, ingress_class: str) -> dict[str, Any]:
    """Return one of many Ingresses, over plain HTTP."""
    (found,) = yaml.safe_load_all(
        manifests.ingress(f"many-{number}", host(number), service, "none", ingress_class)
    )
    del found["spec"]["tls"]
    assert isinstance(found, dict)
    return found


def make_ingresses(client: Client, release: Release, service: str, count: int) -> None:
    """Make so many Ingresses and one ZeroserveRoute; wait until the last of them answer."""
    (route,) = yaml.safe_load_all(
        manifests.zeroserve_route("changing", ROUTE_HOST, 'respond "new"', "", release.ingress_class)
    )

    def make() -> None:
        requests = Requests(client.places)
        for number in range(count):
            body = ingress_object(number, service, release.ingress_class)
            requests.send("POST", INGRESSES.format(client.namespace), body)
        requests.send("POST", ROUTES.format(client.namespace), route)
        requests.close()

    client.in_network(make)
    client.eventually(lambda: ask(client, release, host(count - 1))[0] == 200, 60)
    client.eventually(lambda: ask(client, release, ROUTE_HOST)[0] == 200, 60)


def ask(client: Client, release: Release, name: str) -> tuple[int, bytes]:
    """Ask a host once, over plain HTTP."""

    def once() -> tuple[int, bytes]:
        poller = _Poller(Target(release.address, name))
        try:
            return poller.ask(name)
        finally:
            poller.close()

    return client.in_network(once)


def change_all(
    client: Client, release: Release, count: int, changes: int, say: Callable[[str], None] = lambda _: None
) -> Changes:
    """Change an Ingress and the ZeroserveRoute in turn, `changes` in all, each confirmed before the next."""
    found = Changes()

    def change() -> None:
        requests, poller = Requests(client.places), _Poller(Target(release.address, ROUTE_HOST))
        for turn in range(changes):
            number = turn * 7919 % count
            if turn % 2:
                path = f"{ROUTES}/changing"
                patch: dict[str, Any] = {"spec": {"caddyfile": f'respond "turn {turn}"'}}
                name, wanted = ROUTE_HOST, f"turn {turn}"
            else:
                path = f"{INGRESSES}/many-{number}"
                patch = {"metadata": {"annotations": {REWRITE: f"/turn-{turn}"}}}
                name, wanted = host(number), f"/turn-{turn}"
            requests.merge(path.format(client.namespace), patch)
            took = poller.await_answer(name, wanted)
            if took is None:
                found.lost.append(f"change {turn}: {name} does not answer {wanted!r}")
                say(found.lost[-1])
            else:
                found.times_ms.append(took * 1000)
        requests.close()
        poller.close()

    client.in_network(change)
    return found


class _Poller:
    """Asks on one keep-alive connection, again and again."""

    def __init__(self, target: Target) -> None:
        self._connection = http.client.HTTPConnection(*target.place, timeout=CONFIRM_SECONDS)

    def ask(self, name: str) -> tuple[int, bytes]:
        """Return status and body."""
        self._connection.request("GET", "/", headers={"Host": name})
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def await_answer(self, name: str, wanted: str) -> float | None:
        """Return after how many seconds the answer was the wanted one, None if it never was."""
        begun = time.monotonic()
        while (now := time.monotonic()) - begun < CONFIRM_SECONDS:
            status, body = self.ask(name)
            if status == 200 and _shown(body) == wanted:
                return time.monotonic() - begun
            time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - now)))
        return None

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _shown(body: bytes) -> str:
    """Return the path that the demo backend saw, or the body where it was not the backend that answered."""
    try:
        return str(json.loads(body)["path"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace")
