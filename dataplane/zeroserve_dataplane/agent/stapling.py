"""OCSP stapling: fresh answers of authorities about the certificates of a node (RFC 6066 8).

In: Certificate resources as they came, the settings of the snapshot. Out: the same with a response to staple,
where the certificate names a responder and the chain its issuer. Who calls: the node, when it renders for the
engine, and `upkeep`. Rules: without a response that `asking_responders` takes, the certificate is served as
it is; an authority is asked again when half of its answer's time is over.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import make_resource

logger = logging.getLogger(__name__)

RETRY = datetime.timedelta(minutes=10)
"""After an authority did not answer, or not well."""
ANSWERED_ALREADY = datetime.timedelta(hours=12)
"""Until a certificate that came with its response is looked at again."""
ASKED_AT_ONCE_MAX = 8


@dataclass(slots=True)
class _Staple:
    """What is known of one version of a Certificate."""

    due: datetime.datetime
    ends: datetime.datetime | None = None
    rendered: pb.Resource | None = None

    def drop(self) -> bool:
        """Forget the response; whether there was one."""
        had, self.rendered, self.ends = self.rendered is not None, None, None
        return had


class Stapler:
    """Responses of all certificates of a node, by the version of their resource."""

    def __init__(self) -> None:
        self._known: dict[str, _Staple | None] = {}

    def render(self, resource: pb.Resource) -> pb.Resource:
        """Return a Certificate with its response; as it is where there is none, or it has one."""
        staple = self._known.get(resource.version)
        if staple is None or staple.rendered is None or staple.ends is None:
            return resource
        return staple.rendered if _now() < staple.ends else resource

    async def refresh(self, resources: Iterable[pb.Resource], settings: pb.Settings) -> bool:
        """Ask where it is time; whether there is something new to tell the engine."""
        listed = list(resources)
        new = [resource for resource in listed if resource.version not in self._known]
        if new:
            self._known |= await asyncio.to_thread(_scan, new)
        self._known = {resource.version: self._known[resource.version] for resource in listed}
        staples = [(resource, staple) for resource in listed if (staple := self._known[resource.version])]
        if settings.ocsp_off:
            dropped = [staple.drop() for _, staple in staples]
            for _, staple in staples:
                staple.due = _now()
            return any(dropped)
        limit = asyncio.Semaphore(ASKED_AT_ONCE_MAX)

        async def ask(resource: pb.Resource, staple: _Staple) -> bool:
            async with limit:
                return await _renew(resource, staple, settings)

        due = [ask(resource, staple) for resource, staple in staples if staple.due <= _now()]
        renewed = await asyncio.gather(*due)
        # Clients refuse a response that is over, and take a certificate without one.
        over = [staple.drop() for _, staple in staples if staple.ends is not None and staple.ends <= _now()]
        return any(renewed) or any(over)


def _scan(resources: list[pb.Resource]) -> dict[str, _Staple | None]:
    """Find out which certificates name a responder; many take seconds."""
    # Loaded where there are certificates: X.509 takes a fifth of the time of an agent's imports.
    from zeroserve_dataplane.agent.asking_responders import find_question  # noqa: PLC0415

    found: dict[str, _Staple | None] = {}
    for resource in resources:
        question = find_question(pb.Certificate.FromString(resource.payload))
        found[resource.version] = _Staple(_now()) if question is not None else None
    return found


async def _renew(resource: pb.Resource, staple: _Staple, settings: pb.Settings) -> bool:
    from zeroserve_dataplane.agent import asking_responders as asking  # noqa: PLC0415

    message = pb.Certificate.FromString(resource.payload)
    question = asking.find_question(message)
    if question is None or message.ocsp:
        staple.due = _now() + ANSWERED_ALREADY
        return False
    try:
        response = await asking.ask_responder(question, settings.denied_upstreams)
        staple.due, staple.ends = asking.judge_response(response, question, _now())
    except asking.StapleError as error:
        logger.warning("no OCSP response for %s: %s", resource.name, error)
        staple.due = _now() + RETRY
        return isinstance(error, asking.RevokedError) and staple.drop()
    message.ocsp = response
    staple.rendered = make_resource(message)
    logger.info("OCSP response for %s until %s", resource.name, staple.ends.isoformat())
    return True


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
