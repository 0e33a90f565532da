"""`{env.*}` where a value counts before any request: names of sites, `bind`, files of `tls`, address ranges.

In: what a Caddyfile says, and the environment. Out: the same with the values of variables that are set.
Called by `drafting_sites` first of all, and for `listen` of JSON. An unset variable stays as it
is written, so that what needs its value is refused, as Caddy refuses it when it starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from zeroserve_ir import tree
from zeroserve_ir.caddyfile.meaning.matchers import is_range

_VARIABLE = re.compile(r"\{env\.([^{}\s]+)\}")


def fill_variables(text: str, environment: Mapping[str, str]) -> str:
    """Return a text with the values of its variables; those that are unset or empty stay as they are."""
    if "{env." not in text:
        return text
    return _VARIABLE.sub(lambda found: environment.get(found[1]) or found[0], text)


def find_unset(text: str, environment: Mapping[str, str]) -> list[str]:
    """Return the names of a text's variables that have no value."""
    return [name for name in _VARIABLE.findall(text) if not environment.get(name)]


def fill_sites(configuration: tree.Configuration, environment: Mapping[str, str]) -> tree.Configuration:
    """Return a configuration whose addresses, `bind` and files of `tls` have the values of variables."""

    def fill(text: str) -> str:
        return fill_variables(text, environment)

    def fill_tls(tls: tree.SiteTls | None) -> tree.SiteTls | None:
        if tls is None:
            return None
        files = tuple(replace(one, certificate=fill(one.certificate), key=fill(one.key)) for one in tls.files)
        return replace(tls, files=files)

    def fill_site(site: tree.Site) -> tree.Site:
        addresses = tuple(replace(one, host=fill(one.host).lower()) for one in site.addresses)
        bind = tuple(fill(one) for one in site.bind)
        return replace(site, addresses=addresses, bind=bind, tls=fill_tls(site.tls))

    def concerns(site: tree.Site) -> bool:
        files = site.tls.files if site.tls else ()
        named = (name for one in files for name in (one.certificate, one.key))
        return any("{env." in text for text in (*(one.host for one in site.addresses), *site.bind, *named))

    sites = tuple(fill_site(site) if concerns(site) else site for site in configuration.sites)
    return replace(configuration, sites=sites) if sites != configuration.sites else configuration


def fill_matchers(
    sets: tuple[tree.MatcherSet, ...], environment: Mapping[str, str]
) -> tuple[tree.MatcherSet, ...]:
    """Return sets of matchers whose address ranges have the values of variables."""
    return tuple(tuple(_fill_matcher(one, environment) for one in matchers) for matchers in sets)


def _fill_matcher(matcher: tree.Matcher, environment: Mapping[str, str]) -> tree.Matcher:
    if isinstance(matcher, tree.MatchRemoteIp | tree.MatchClientIp):
        if any("{env." in one for one in matcher.ranges):
            return replace(matcher, ranges=tuple(fill_variables(one, environment) for one in matcher.ranges))
    elif isinstance(matcher, tree.MatchNot):
        filled = fill_matchers(matcher.sets, environment)
        return matcher if filled == matcher.sets else replace(matcher, sets=filled)
    return matcher


def find_wrong_ranges(
    sets: tuple[tree.MatcherSet, ...], environment: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield a message and its cure for each range that is none once variables are filled in."""
    for matcher in (one for matchers in sets for one in matchers):
        if isinstance(matcher, tree.MatchNot):
            yield from find_wrong_ranges(matcher.sets, environment)
        if isinstance(matcher, tree.MatchRemoteIp | tree.MatchClientIp):
            for text in matcher.ranges:
                if unset := find_unset(text, environment):
                    yield f"{{env.{unset[0]}}} of an address range is not set", "set the variable"
                elif not is_range(text):
                    yield f"{text!r} is neither an address nor a range", "write for example 10.0.0.0/8"
