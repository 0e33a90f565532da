"""Drafting: sites, endpoints and certificates to the resources of a snapshot.

In: the sites of one host, or addresses, or settings. Out: resources (`zeroserve_ir.drafting`). Programs and
tables are named by their content, so hosts of one shape share them. Rule: a host that cannot be lowered is
published as closed (503), never left out: the next host must not answer for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.diagnostics import Diagnostic, DiagnosticError
from zeroserve_ir.drafting import make_resource
from zeroserve_ir.drafting_explained import lower_explained, make_explained_host
from zeroserve_ir.model import EndpointAddress
from zeroserve_ir.program.clusters import EndpointsSource
from zeroserve_ir.program.lowering import LoweredSite, lower_site

from zeroserve_operator.building.endpoints import DENIED_ADDRESSES
from zeroserve_operator.rendering_clients import build_policy
from zeroserve_operator.settings import BuildSettings, TracedHosts

MARKER_LENGTH = 12


@dataclass(frozen=True, slots=True)
class DraftedHost:
    """The resources of one host."""

    resources: tuple[pb.Resource, ...]
    endpoints: tuple[EndpointsSource, ...]
    diagnostics: tuple[Diagnostic, ...] = ()


def draft_host(sites: Iterable[tree.Site], settings: BuildSettings) -> DraftedHost:
    """Lower the sites of a host."""
    resources: list[pb.Resource] = []
    endpoints: dict[str, EndpointsSource] = {}
    findings: list[Diagnostic] = []
    for site in sites:
        try:
            lowered = lower_site(site)
        except DiagnosticError as error:
            findings.extend(error.diagnostics)
            resources.append(make_resource(_close_host(site, error.diagnostics, settings)))
            continue
        resources += _draft_site(site, lowered, settings)
        endpoints.update({source.name: source for source in lowered.endpoints})
    return DraftedHost(tuple(resources), tuple(endpoints.values()), tuple(findings))


def draft_endpoints(name: str, addresses: Iterable[EndpointAddress]) -> pb.Resource:
    """Return the Endpoints of a Service's port."""
    message = pb.Endpoints(name=name)
    for item in addresses:
        message.endpoints.add(address=item.address, port=item.port, draining=item.draining, zones=item.zones)
    return make_resource(message)


def draft_settings(
    settings: BuildSettings, default_certificate: str, ticket_keys: Sequence[bytes] = ()
) -> list[pb.Resource]:
    """Return the Settings and the Listeners."""
    denied = () if settings.local else DENIED_ADDRESSES + settings.endpoint_addresses_denied
    sampling = settings.tracing.sampling
    message = pb.Settings(
        trusted_proxies=settings.trusted_proxies,
        default_certificate=default_certificate,
        access_log=settings.access_log,
        request_body_bytes_max=settings.request_body_bytes_max,
        drain_timeout_ms=settings.drain_timeout_ms,
        strict_encoded_slash=settings.strict_encoded_slash,
        denied_upstreams=denied,
        ticket_keys=ticket_keys,
        explain_key=settings.explain_key,
        exports_spans=settings.tracing.hosts is not TracedHosts.NONE,
        trace_sampling=sampling.to_message() if sampling else None,
    )
    listeners = (
        pb.Listener(
            name=item.name,
            address=item.address,
            port=item.port,
            tls=item.tls,
            proxy_protocol=item.proxy_protocol,
            external_port=item.external_port,
        )
        for item in settings.listeners
    )
    return [make_resource(message), *(make_resource(item) for item in listeners)]


def _draft_site(site: tree.Site, lowered: LoweredSite, settings: BuildSettings) -> list[pb.Resource]:
    host = _name_host(site, settings)
    resources = draft_lowered(host, lowered)
    if settings.explain_key and (explained := lower_explained(site)):
        resources += draft_lowered(make_explained_host(host), explained)
    return resources


def draft_lowered(host: pb.VirtualHost, lowered: LoweredSite) -> list[pb.Resource]:
    """Return the host with its program and tables, and the clusters they name."""
    program = lowered.make_program()
    host.program = program.name
    host.constants = lowered.constants
    host.tables = lowered.tables.name
    host.error_entry = lowered.error_entry
    digest = hashlib.sha256(host.SerializeToString(deterministic=True))
    host.marker = digest.hexdigest()[:MARKER_LENGTH]
    resources = [make_resource(host), make_resource(program)]
    if lowered.tables.name:
        resources.append(make_resource(lowered.tables))
    return [*resources, *(make_resource(cluster) for cluster in lowered.clusters)]


def _name_host(site: tree.Site, settings: BuildSettings) -> pb.VirtualHost:
    first = site.addresses[0]
    schemes = {address.scheme is tree.Scheme.HTTPS for address in site.addresses}
    policy = build_policy(site.tls)
    return pb.VirtualHost(
        name=f"{first.scheme.value}://{first.host or '*'}",
        hosts=sorted({address.host for address in site.addresses}),
        listeners=[item.name for item in settings.listeners if item.tls in schemes],
        stream=pb.PASS_THROUGH if site.passthrough else pb.NO_STREAM,
        tls=policy,
        strict_sni_host=policy is not None,
    )


def _close_host(
    site: tree.Site, diagnostics: tuple[Diagnostic, ...], settings: BuildSettings
) -> pb.VirtualHost:
    host = _name_host(site, settings)
    host.deny = True
    host.deny_reason = diagnostics[0].render_short() if diagnostics else "the host cannot be built"
    return host
