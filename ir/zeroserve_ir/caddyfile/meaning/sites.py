"""A whole Caddyfile under the `local` profile, to a `Configuration` of the tree.

In: a path or text, and the environment. Out: the configuration of everything that was understood, with
all findings. Called by the commands and by `zeroserve run` (httpcaddyfile/httptype.go Setup).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.listening import listen_address, pair_sites
from zeroserve_ir.caddyfile.meaning.addresses import resolve_address, split_address
from zeroserve_ir.caddyfile.meaning.bodies import read_body
from zeroserve_ir.caddyfile.meaning.directives import build_routes
from zeroserve_ir.caddyfile.meaning.options import read_options
from zeroserve_ir.caddyfile.meaning.ordering import DIRECTIVE_ORDER, Placed
from zeroserve_ir.caddyfile.meaning.profiles import ROWS, Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Profile,
    Reading,
    Scope,
    refusal,
    some_arguments,
    texts,
    wrong_count,
)
from zeroserve_ir.caddyfile.meaning.shorthands import expand_segment
from zeroserve_ir.caddyfile.parser import parse
from zeroserve_ir.caddyfile.syntax import Segment, SiteBlock
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.sources import Span
from zeroserve_ir.tree import CertificateFiles, Configuration, Options, Route, Site, SiteTls


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
            text = source.read_bytes().decode("utf-8", errors="replace")
        except OSError as error:
            message = f"cannot read {file}: {error.strerror}"
            finding = Diagnostic(Code.ZS0111, message, Span(file, 0, 0, 0), help="name a readable Caddyfile")
            return ReadConfiguration(Configuration(()), (finding,))
    assert isinstance(text, str)
    tree, diagnostics = parse(text, file, os.environ if environment is None else environment)
    reading = Reading(Profile.LOCAL, list(DIRECTIVE_ORDER), diagnostics=diagnostics)
    options = read_options(tuple(expand_segment(segment) for segment in tree.options), reading)
    drafts = [_read_site(block, options, reading) for block in tree.sites]
    drafts = [draft for draft in drafts if draft.site.addresses]
    _refuse_equal_addresses(drafts, reading)
    sites = _route_sites(drafts, reading)
    return ReadConfiguration(Configuration(sites, options), tuple(reading.diagnostics), tree.texts)


@dataclass(slots=True)
class _Draft:
    site: Site
    keys: tuple[Token, ...]
    placed: list[Placed]


def _read_site(block: SiteBlock, options: Options, reading: Reading) -> _Draft:
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
                site = replace(site, tls=_read_tls(segment, site.tls or SiteTls(), reading))
            elif name == "bind":
                site = replace(site, bind=site.bind + _read_bind(segment, reading))
            else:
                site = replace(site, access_log=_read_log(segment, reading))
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


def _route_sites(drafts: list[_Draft], reading: Reading) -> tuple[Site, ...]:
    """Build the routes in the order of Caddy's servers, which the numbers of groups show."""
    routes: dict[int, tuple[Route, ...]] = {}
    for server in pair_sites([draft.site for draft in drafts]):
        for served in server.sites:
            built = build_routes(drafts[served.index].placed, reading, sort=True)
            routes.setdefault(served.index, built)
    return tuple(replace(draft.site, routes=routes[index]) for index, draft in enumerate(drafts))


def _read_bind(segment: Segment, reading: Reading) -> tuple[str, ...]:
    for inner in segment.block or ():
        check(reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "bind")
    return texts(some_arguments(Segment(segment.name, segment.arguments), "bind ADDRESS …"))


def _read_log(segment: Segment, reading: Reading) -> bool:
    """`log`: access log on; its output is stdout, whatever the block says (with a warning)."""
    if len(segment.arguments) > 1:
        raise wrong_count(segment, "log")
    enabled = True
    for inner in segment.block or ():
        line = (inner.name.text, *texts(inner.arguments))
        if line == ("output", "discard"):
            enabled = False
        elif line not in (("output", "stdout"), ("format", "json")):
            check(reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "log")
    return enabled


def _read_tls(segment: Segment, tls: SiteTls, reading: Reading) -> SiteTls:
    """`tls [internal|<email>|<cert> <key>] { protocols … }`."""
    match texts(segment.arguments):
        case ():
            pass
        case ("internal",):
            tls = replace(tls, internal=True)
        case (certificate, key):
            tls = replace(tls, files=(*tls.files, CertificateFiles(certificate, key)))
        case (single,) if "@" in single or single == "force_automate":
            cure = "write tls CERTIFICATE KEY, or tls internal"
            reading.warn(Code.ZS0110, "certificates are not obtained by ACME yet", segment.name, cure)
        case _:
            raise wrong_count(segment, "tls internal, tls EMAIL, or tls CERTIFICATE KEY")
    for inner in segment.block or ():
        with reading.collect():
            if check(reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "tls"):
                tls = _read_protocols(inner, tls)
    return tls


def _read_protocols(inner: Segment, tls: SiteTls) -> SiteTls:
    if len(inner.arguments) not in (1, 2):
        raise wrong_count(inner, "protocols MIN [MAX]")
    for token in inner.arguments:
        if token.text not in ("tls1.2", "tls1.3"):
            raise refusal(Code.ZS0103, f"unknown protocol {token.text!r}", token, "write tls1.2 or tls1.3")
    maximum = inner.arguments[1].text if len(inner.arguments) == 2 else tls.protocol_max
    return replace(tls, protocol_min=inner.arguments[0].text, protocol_max=maximum)
