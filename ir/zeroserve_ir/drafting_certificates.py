"""Which certificate a Caddyfile's clients are shown, by listener and by what they ask for.

In: the certificates that sites name, the https names of all sites, connection policies by server. Out:
messages that say for which names, on which listeners each is served. Who calls: `drafting_sites`. Rule: as
Caddy chooses (certmagic handshake.go, caddytls/certselection.go): one store of certificates for all servers,
found by the names that stand in them; a policy whose site names files shows those. What nobody has a
certificate for ends the handshake.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.adapting_names import is_address, matches_wildcard
from zeroserve_ir.caddyfile.meaning.securing import list_directives
from zeroserve_ir.tree_carried import Json

WITHOUT_NAME, OTHER_NAMES = "", "*"
"""Keys beside names: a client that sends none, and one whose name has no certificate."""


@dataclass(slots=True)
class KnownCertificates:
    """All certificates there are, in the order in which they were found; the first one of a name is shown."""

    by_name: dict[str, pb.Certificate] = field(default_factory=dict)
    by_tag: dict[str, list[tuple[pb.Certificate, tuple[str, ...]]]] = field(default_factory=dict)
    """Those of files with the names in them, by the path that a site's `tls` names."""

    def add_loaded(self, tag: str, certificate: pb.Certificate) -> None:
        """Add one of files, for all names that stand in it."""
        names = tuple(list_names(certificate))
        tagged = self.by_tag.setdefault(tag, [])
        if all(one is not certificate for one, _ in tagged):
            tagged.append((certificate, names))
        for name in names:
            self.by_name.setdefault(name, certificate)

    def add_local(
        self, hosts: Iterable[str], forced: set[str], local: Callable[[str], pb.Certificate]
    ) -> None:
        """Add one of the local authority for each host that no certificate or wildcard host covers."""
        wanted = {spell_name(host) for host in hosts}
        for host in sorted(wanted):
            covered = self.find(host) is not None and host not in forced
            wildcard = "*." + host.partition(".")[2]
            if not covered and (wildcard not in wanted or wildcard == host or host in forced):
                self.by_name[host] = local(host)

    def find(self, name: str) -> pb.Certificate | None:
        """Return the certificate of a name: of itself, else of a wildcard that covers it."""
        wildcard = "" if is_address(name) else "*." + name.partition(".")[2]
        return self.by_name.get(name) or self.by_name.get(wildcard)

    def choose(self, policy: Json, name: str) -> pb.Certificate | None:
        """Return what a policy shows for a name: one of its own files, best one that covers it, or any."""
        tags = policy.get("certificate_selection", {}).get("any_tag", ())
        tagged = [one for tag in tags for one in self.by_tag.get(tag, ())]
        if not tagged:
            return self.find(name)
        covering = (one for one, names in tagged if any(matches_wildcard(name, san) for san in names))
        return next(covering, tagged[0][0])


@dataclass(frozen=True, slots=True)
class CertificateServer:
    """Listeners of https sites, their policies, and what stands in for certificates made on demand."""

    listeners: tuple[str, ...]
    policies: Sequence[Json]
    on_demand: pb.Certificate | None = None


ReadCertificates = Callable[
    [tree.Site, dict[tree.CertificateFiles, pb.Certificate]], Iterable[tuple[str, pb.Certificate]]
]


def gather_certificates(
    sites: Sequence[tree.Site],
    read: ReadCertificates,
    options: tree.Options,
    *,
    local: Callable[[str], pb.Certificate],
    names: Iterable[str],
) -> tuple[KnownCertificates, frozenset[int]]:
    """Return the certificates of the sites and of `names`, and which sites for any host have none to show.

    These are sites whose certificates are made on demand, or whose files cannot be read.
    """
    known, from_files = KnownCertificates(), dict[tree.CertificateFiles, pb.Certificate]()
    modes: Sequence[str] = options.others.value().get("auto_https", ())
    manages = options.auto_https and "disable_certs" not in modes
    hosts, forced, unmet = {name for name in names if name}, set[str](), set[int]()
    for index, site in enumerate(sites):
        named = {one.host for one in site.addresses if one.scheme is tree.Scheme.HTTPS}
        directives = list_directives(site.tls)
        loaded = list(read(site, from_files))
        for path, certificate in loaded:
            known.add_loaded(path, certificate)
        failed = site.tls is not None and site.tls.files and not loaded
        if manages or failed:
            hosts |= named - {""}
        if any(one.get("force_automate") for one in directives) or "ignore_loaded_certs" in modes:
            forced |= named
        if "" in named and (failed or any(one.get("on_demand") for one in directives)):
            unmet.add(index)
    known.add_local(hosts, forced, local)
    return known, frozenset(unmet)


def place_certificates(
    known: KnownCertificates, servers: Sequence[CertificateServer]
) -> list[pb.Certificate]:
    """Return the certificates, each with names and listeners: what all servers show alike is said once."""
    shared = dict(known.by_name)
    places: dict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
    certificates: dict[str, pb.Certificate] = {}
    shown = [_list_shown(known, server) for server in servers]
    if len(servers) == 1:
        shared |= shown[0]
    for server, own in zip(servers, shown, strict=True):
        for name, certificate in own.items():
            if shared.get(name) is not certificate:
                places[certificate.name, server.listeners].add(name)
                certificates[certificate.name] = certificate
    for name, certificate in shared.items():
        places[certificate.name, ()].add(name)
        certificates[certificate.name] = certificate
    return [
        _place(certificates[name], listeners, names) for (name, listeners), names in sorted(places.items())
    ]


def _list_shown(known: KnownCertificates, server: CertificateServer) -> dict[str, pb.Certificate]:
    """Return what a server shows by name, where it is not simply the certificate of the name."""
    found: dict[str, pb.Certificate | None] = {}
    by_name: dict[str, Json] = {}
    wildcards: list[tuple[str, Json]] = []
    for policy in server.policies:
        for name in map(spell_name, policy.get("match", {}).get("sni", ())):
            by_name.setdefault(name, policy)
            if "*" in name:
                wildcards.append((name, policy))
    other: Json = next((one for one in server.policies if not one.get("match")), {})

    def policy_of(name: str) -> Json:
        covering = (policy for wildcard, policy in wildcards if matches_wildcard(name, wildcard))
        return by_name.get(name) or next(covering, other)

    nameless = by_name.get("", other)
    for name in {*known.by_name, *by_name} - {""}:
        found[name] = known.choose(nameless if is_address(name) else policy_of(name), name)
    default = nameless.get("default_sni")
    found[WITHOUT_NAME] = (known.find(default) if default else None) or _find_other(known, nameless)
    found[OTHER_NAMES] = _find_other(known, other) or server.on_demand
    return {name: certificate for name, certificate in found.items() if certificate is not None}


def _find_other(known: KnownCertificates, policy: Json) -> pb.Certificate | None:
    """Return what a policy shows for what has no certificate: a file that it asks for, or that of a name."""
    fallback = policy.get("fallback_sni", "")
    if "certificate_selection" in policy:
        return known.choose(policy, fallback)
    return known.find(fallback) if fallback else None


def _place(certificate: pb.Certificate, listeners: tuple[str, ...], names: set[str]) -> pb.Certificate:
    placed = pb.Certificate()
    placed.CopyFrom(certificate)
    if listeners:
        placed.name = f"{certificate.name}@{','.join(listeners)}"
    placed.listeners[:] = listeners
    placed.hosts[:] = sorted(names - {WITHOUT_NAME, OTHER_NAMES})
    placed.without_name, placed.other_names = WITHOUT_NAME in names, OTHER_NAMES in names
    return placed


def has_addresses(certificates: Iterable[pb.Certificate]) -> bool:
    """Whether clients without SNI may be shown one by the address that they came to."""
    return any(is_address(host) for one in certificates for host in one.hosts)


def list_names(certificate: pb.Certificate) -> Sequence[str]:
    """Return the names and addresses that stand in a certificate; its common name where there are none."""
    leaf = x509.load_der_x509_certificate(certificate.chain[0])
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        common = leaf.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return [spell_name(str(one.value)) for one in common[:1]]
    found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return [spell_name(name) for name in found]


def spell_name(name: str) -> str:
    """Return a name as it is looked up: lower case, addresses without brackets and in their shortest form."""
    bare = name.lower().removeprefix("[").removesuffix("]")
    return str(ipaddress.ip_address(bare)) if is_address(bare) else bare
