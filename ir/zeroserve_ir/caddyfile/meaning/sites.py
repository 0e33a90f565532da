"""A whole Caddyfile under the `local` profile, to a `Configuration` of the tree.

In: a path or text, and the environment. Out: the configuration of everything that was understood, with
all findings. Called by the commands and by `zeroserve run` (httpcaddyfile/httptype.go Setup).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from zeroserve_ir.caddyfile import syntax
from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.listening import Server, listen_address, pair_sites
from zeroserve_ir.caddyfile.meaning.addresses import resolve_address, split_address
from zeroserve_ir.caddyfile.meaning.bodies import read_body
from zeroserve_ir.caddyfile.meaning.carried_options import read_bind
from zeroserve_ir.caddyfile.meaning.directives import build_routes, read_directives
from zeroserve_ir.caddyfile.meaning.loggers import read_site_log
from zeroserve_ir.caddyfile.meaning.options import read_options
from zeroserve_ir.caddyfile.meaning.ordering import DIRECTIVE_ORDER, Placed
from zeroserve_ir.caddyfile.meaning.profiles import ROWS, Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Profile,
    Reading,
    Scope,
    refusal,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.securing import read_tls
from zeroserve_ir.caddyfile.meaning.sharing import KeyedSite, find_mixed_schemes, find_unsignable_hosts
from zeroserve_ir.caddyfile.meaning.shorthands import expand_segment
from zeroserve_ir.caddyfile.opening import read_source
from zeroserve_ir.caddyfile.parser import parse
from zeroserve_ir.caddyfile.syntax import Segment, SiteBlock
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.sources import Span
from zeroserve_ir.tree import Configuration, NamedRoute, Options, Route, Site
from zeroserve_ir.tree_carried import Json
from zeroserve_ir.tree_logging import Logger


@dataclass(frozen=True, slots=True)
class ReadConfiguration:
    """A configuration with its findings, and the texts that the findings' spans point into."""

    configuration: Configuration
    diagnostics: tuple[Diagnostic, ...]
    texts: Mapping[str, str] = field(default_factory=dict)


def read_configuration(
    source: Path | str, *, file: str = "Caddyfile", environment: Mapping[str, str] | None = None
) -> tuple[Configuration, tuple[Diagnostic, ...]]:
    """Read a Caddyfile from a path, or from text that is called `file`."""
    read = read_configuration_with_texts(source, file=file, environment=environment)
    return read.configuration, read.diagnostics


def read_configuration_with_texts(
    source: Path | str, *, file: str = "Caddyfile", environment: Mapping[str, str] | None = None
) -> ReadConfiguration:
    """Like `read_configuration`, with the texts of all files for rendering the findings."""
    text = source
    if isinstance(source, Path):
        file = str(source)
        try:
            text = read_source(source).decode("utf-8", errors="replace")
        except OSError as error:
            message = f"cannot read {file}: {error.strerror}"
            finding = Diagnostic(Code.ZS0111, message, Span(file, 0, 0, 0), help="name a readable Caddyfile")
            return ReadConfiguration(Configuration(()), (finding,))
    assert isinstance(text, str)
    if not text:
        finding = Diagnostic(Code.ZS0001, f"{file} is empty", Span(file, 1, 1, 1), help="write a site")
        return ReadConfiguration(Configuration(()), (finding,), {file: text})
    tree, diagnostics = parse(text, file, os.environ if environment is None else environment)
    reading = Reading(Profile.LOCAL, list(DIRECTIVE_ORDER), diagnostics=diagnostics)
    options = read_options(tuple(expand_segment(segment) for segment in tree.options), reading)
    others = options.others.value()
    named_routes = _read_named_routes(tree.named_routes, reading)
    drafts = [_read_site(block, options, others, reading) for block in tree.sites]
    drafts = [draft for draft in drafts if draft.site.addresses]
    _refuse_equal_addresses(drafts, reading)
    servers = pair_sites([draft.site for draft in drafts])
    keyed = [KeyedSite(draft.site, draft.keys) for draft in drafts]
    reading.diagnostics += find_unsignable_hosts(keyed, options, others)
    reading.diagnostics += find_mixed_schemes(servers, keyed, options, others)
    sites = _route_sites(drafts, servers, reading)
    _check_invoked(named_routes, reading)
    configuration = Configuration(sites, options, named_routes)
    return ReadConfiguration(configuration, tuple(reading.diagnostics), tree.texts)


def _read_named_routes(named: Iterable[syntax.NamedRoute], reading: Reading) -> tuple[NamedRoute, ...]:
    """Read `&(name)` blocks; their groups are numbered by themselves (httptype.go extractNamedRoutes)."""
    found: dict[str, NamedRoute] = {}
    own = replace(reading, groups=0)
    for one in named:
        name = one.name.text
        if name in found:
            message = f"named route &({name}) is defined twice"
            reading.diagnostics.append(
                Diagnostic(Code.ZS0001, message, one.name.span, help="rename one of them")
            )
        elif one.segments:
            segments = [expand_segment(segment) for segment in one.segments]
            placed = read_directives(segments, Scope(own))
            found[name] = NamedRoute(name, build_routes(placed, own, sort=True))
    return tuple(found.values())


def _check_invoked(named_routes: tuple[NamedRoute, ...], reading: Reading) -> None:
    names = {one.name for one in named_routes}
    for name, token in reading.invoked.items():
        if name not in names:
            message = f"named route {name} is not defined"
            cure = f"define &({name}) {{ … }}"
            reading.diagnostics.append(Diagnostic(Code.ZS0104, message, token.span, help=cure))


@dataclass(slots=True)
class _Draft:
    site: Site
    keys: tuple[Token, ...]
    placed: list[Placed]


def _read_site(block: SiteBlock, options: Options, others: Json, reading: Reading) -> _Draft:
    segments = [expand_segment(segment) for segment in block.segments]
    reading.files = tuple(sorted({file for segment in block.segments for file in segment.files()}))
    if not block.braces:
        _hint_at_braces(segments, reading)
    site = Site((), (), span=block.keys[0].span)
    rest: list[Segment] = []
    for segment in segments:
        name = segment.name.text
        if name not in ("bind", "log", "tls"):
            rest.append(segment)
            continue
        with reading.collect():
            check(reading, Kind.DIRECTIVE, name, segment.name)
            if name == "tls":
                site = replace(site, tls=read_tls(segment, site.tls, others, reading))
            elif name == "bind":
                if not segment.arguments:
                    raise wrong_count(segment, "bind ADDRESS …")
                site = _bind(site, read_bind(segment, reading))
            else:
                logger = read_site_log(segment, reading)
                logged = site.access_log or not _discards(logger)
                site = replace(site, access_log=logged, loggers=(*site.loggers, logger))
    if not site.bind:
        for default in others.get("default_bind", ()):
            site = _bind(site, default)
    placed, errors = read_body(rest, Scope(reading))
    addresses = []
    keys = []
    for key in block.keys:
        with reading.collect():
            if (Kind.DIRECTIVE, key.text) in ROWS:
                cure = "put it into a site block; one site without braces begins with its address"
                raise refusal(
                    Code.ZS0107, f"directive {key.text} stands where an address is expected", key, cure
                )
            written = split_address(key)
            addresses.append(resolve_address(written, key, options, has_tls=site.tls is not None))
            keys.append(key)
    return _Draft(replace(site, addresses=tuple(addresses), errors=errors), tuple(keys), placed)


def _bind(site: Site, found: Json) -> Site:
    """Add the addresses of one `bind`; the last one that names an address says its protocols."""
    protocols = dict(site.protocols)
    for address in found["addresses"]:
        protocols[address] = tuple(found["protocols"])
    bind = tuple(dict.fromkeys((*site.bind, *found["addresses"])))
    named = tuple((address, names) for address, names in protocols.items() if names)
    return replace(site, bind=bind, protocols=named)


def _discards(logger: Logger) -> bool:
    """Whether nothing comes of a site's log: its lines go nowhere."""
    writer = logger.settings.value().get("writer", {})
    return bool(writer == {"output": "discard"})


def _hint_at_braces(segments: list[Segment], reading: Reading) -> None:
    for segment in segments:
        name = segment.name
        if (Kind.DIRECTIVE, name.text) not in ROWS and not name.text.startswith("@") and "." in name.text:
            cure = "write braces around the directives of each site"
            with reading.collect():
                raise refusal(Code.ZS0101, f"unknown directive {name.text}; is it a second site?", name, cure)
            segments.remove(segment)
            return


def _refuse_equal_addresses(drafts: list[_Draft], reading: Reading) -> None:
    """Report keys that two blocks share on one listener; the first one wins."""
    seen: dict[tuple[str, str], int] = {}
    for index, draft in enumerate(drafts):
        for key, address in zip(draft.keys, draft.site.addresses, strict=True):
            for bind in draft.site.bind or ("",):
                place = (listen_address(bind, address.port), key.text)
                if seen.setdefault(place, index) != index:
                    message = f"another site has the address {key.text}"
                    cure = "join the two sites, or change one address"
                    reading.diagnostics.append(Diagnostic(Code.ZS0108, message, key.span, help=cure))


def _route_sites(drafts: list[_Draft], servers: Iterable[Server], reading: Reading) -> tuple[Site, ...]:
    """Build the routes in the order of Caddy's servers, which the numbers of groups show."""
    routes: dict[int, tuple[Route, ...]] = {}
    for server in servers:
        for served in server.sites:
            built = build_routes(drafts[served.index].placed, reading, sort=True)
            routes.setdefault(served.index, built)
    return tuple(replace(draft.site, routes=routes[index]) for index, draft in enumerate(drafts))
