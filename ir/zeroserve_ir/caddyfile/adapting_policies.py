"""Automation policies: defaults of their issuers, and which of them say the same (httpcaddyfile/tlsapp.go).

In, out: policies as objects of Caddy's JSON.
"""

from __future__ import annotations

import copy
from typing import Any

from zeroserve_ir.caddyfile.adapting_names import is_public, is_tailscale, matches_wildcard
from zeroserve_ir.caddyfile.meaning.blocks import get_path, put_path
from zeroserve_ir.caddyfile.meaning.ordering import stable_sort
from zeroserve_ir.caddyfile.meaning.securing import INTERNAL_ISSUER
from zeroserve_ir.tree_carried import Json

_ISSUER_DEFAULTS = ("acme_ca", "acme_ca_root", "acme_dns", "acme_eab", "preferred_chains")


def has_issuer_defaults(others: Json) -> bool:
    """Whether a global option says how ACME is to be asked."""
    return any(name in others for name in _ISSUER_DEFAULTS)


def fill_issuer(issuer: Json, others: Json) -> None:
    """Fill in what global options say of an ACME issuer (fillInGlobalACMEDefaults)."""
    if issuer["module"] != "acme":
        return
    for option, key in (("email", "email"), ("acme_ca", "ca")):
        if option in others:
            issuer.setdefault(key, others[option])
    root = others.get("acme_ca_root")
    if root and root not in issuer.get("trusted_roots_pem_files", ()):
        issuer["trusted_roots_pem_files"] = [*issuer.get("trusted_roots_pem_files", ()), root]
    if "acme_dns" in others and not get_path(issuer, "challenges.dns.provider"):
        issuer.setdefault("challenges", {}).setdefault("dns", {})
        if others["acme_dns"]:
            put_path(issuer, "challenges.dns.provider", others["acme_dns"])
    for option, key in (("acme_eab", "external_account"), ("preferred_chains", "preferred_chains")):
        if option in others:
            issuer.setdefault(key, copy.deepcopy(others[option]))
    _fill_challenges(issuer, others)
    if others.get("cert_lifetime"):
        issuer.setdefault("certificate_lifetime", others["cert_lifetime"])
    resolvers = others.get("tls_resolvers")
    dns = get_path(issuer, "challenges.dns")
    if resolvers and dns is not None and ("acme_dns" in others or "provider" in dns):
        dns.setdefault("resolvers", list(resolvers))


def _fill_challenges(issuer: Json, others: Json) -> None:
    for option, challenge in (("http_port", "http"), ("https_port", "tls-alpn")):
        path = f"challenges.{challenge}.alternate_port"
        if option in others and get_path(issuer, "challenges.dns") is None and not get_path(issuer, path):
            put_path(issuer, path, others[option])
    binds = others.get("default_bind")
    if binds and get_path(issuer, "challenges.dns") is None and not get_path(issuer, "challenges.bind_host"):
        host = binds[0]["addresses"][0]
        issuer.setdefault("challenges", {})
        if host:
            put_path(issuer, "challenges.bind_host", host)


def join_policies(policies: list[Json]) -> list[Json]:
    """Sort and join policies; without a setting in any of them there is nothing to write."""
    if all(_is_empty(policy) for policy in policies):
        return []
    policies = stable_sort(policies, _less)
    return _join_equal([copy.deepcopy(one) for one in _drop_empty(policies)])


def _is_empty(policy: Json, *, but: str = "subjects") -> bool:
    return all(key in ("subjects", but) or not value for key, value in policy.items())


def _less(one: Json, other: Json) -> bool:
    if _is_subset(one, other):
        return True
    if _is_subset(other, one):
        return False
    return len(one.get("subjects", ())) > len(other.get("subjects", ()))


def _is_subset(one: Json, other: Json) -> bool:
    wide, narrow = other.get("subjects"), one.get("subjects")
    if not wide:
        return True
    if not narrow:
        return False
    return all(any(matches_wildcard(name, pattern) for pattern in wide) for name in narrow)


def _shadowing(index: int, policies: list[Json]) -> int:
    """Return the place of the first later policy that covers all names of this one, or -1."""
    for later in range(index + 1, len(policies)):
        if _is_subset(policies[index], policies[later]):
            return later
    return -1


def _drop_empty(policies: list[Json]) -> list[Json]:
    kept, index = list(policies), 0
    while index < len(kept):
        if _is_empty(kept[index]):
            shadow = _shadowing(index, kept)
            useless = shadow >= 0 and _is_empty(kept[shadow], but="get_certificate")
            if index == len(kept) - 1 or useless:
                del kept[index]
                continue
        index += 1
    return kept


def _join_equal(policies: list[Json]) -> list[Json]:
    index = 0
    while index < len(policies):
        index += 1 if _join_from(index, policies) else 0
    return policies


def _join_from(index: int, policies: list[Json]) -> bool:
    """Join later policies into one; False where the list changed so that it must be looked at again."""
    one, later = policies[index], index + 1
    while later < len(policies):
        other = policies[later]
        if one == other:
            del policies[later]
            return False
        if not _say_the_same(one, other):
            later += 1
        elif one.get("subjects") and not other.get("subjects"):
            # Whatever the policy for all names says, those before it need not repeat.
            if _shadowing(index, policies) >= later:
                del policies[index]
                return False
            later += 1
        else:
            names = dict.fromkeys([*one.get("subjects", ()), *other.get("subjects", ())])
            if names:
                one["subjects"] = list(names)
            del policies[later]
    return True


_SAME = ("get_certificate", "key_type", "on_demand", "reuse_private_keys", "renewal_window_ratio")


def _say_the_same(one: Json, other: Json) -> bool:
    return _same_issuers(one, other) and all(one.get(key) == other.get(key) for key in _SAME)


def _same_issuers(one: Json, other: Json) -> bool:
    if one.get("issuers", []) == other.get("issuers", []):
        if one.get("issuers"):
            return True
        classes = {_implicit_class(one), _implicit_class(other)}
        return "catch-all" in classes or len(classes) == 1
    return _is_internal(one) and _is_internal(other)


def _is_internal(policy: Json) -> bool:
    issuers: Any = policy.get("issuers")
    return _implicit_class(policy) == "internal" if not issuers else issuers == [INTERNAL_ISSUER]


def _implicit_class(policy: Json) -> str:
    names = policy.get("subjects")
    if not names:
        return "catch-all"
    public = {is_public(name, on_demand=bool(policy.get("on_demand"))) for name in names}
    return "mixed" if len(public) == 2 else ("public" if True in public else "internal")


def all_public(policy: Json) -> bool:
    """Whether every name of a policy is one that an authority of the public would sign."""
    on_demand = bool(policy.get("on_demand"))
    return all(
        is_public(one, on_demand=on_demand) and not is_tailscale(one) for one in policy.get("subjects", ())
    )
