"""How TLS is spoken with the clients of a Caddyfile's sites, by host.

In: options and sites, a reader of files, the local authority. Out: for a host on a server the TlsPolicy of
its virtual host, and whether its name must be its connection's. Who calls: `drafting_sites`. Rule: the policy
is the first of Caddy's connection policies that takes the name; a site whose demands on clients cannot be met
as they are written is closed, never open (caddytls/connpolicy.go, caddyhttp/app.go).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.caddyfile.adapting_connections import connection_policies
from zeroserve_ir.caddyfile.adapting_names import matches_wildcard
from zeroserve_ir.caddyfile.judging import SERVED_CURVES, is_served_suite
from zeroserve_ir.caddyfile.listening import Server
from zeroserve_ir.caddyfile.meaning.authorities import DEFAULT_AUTHORITY
from zeroserve_ir.caddyfile.meaning.securing import list_directives
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Diagnostic, DiagnosticError
from zeroserve_ir.site_certificates import LocalCertificates, ReadFile
from zeroserve_ir.sources import Span
from zeroserve_ir.tree import Options, Scheme, Site
from zeroserve_ir.tree_carried import Json

_MODES = {
    "request": pb.ClientAuthentication.REQUEST,
    "require": pb.ClientAuthentication.REQUIRE,
    "verify_if_given": pb.ClientAuthentication.VERIFY_IF_GIVEN,
    "require_and_verify": pb.ClientAuthentication.REQUIRE_AND_VERIFY,
}
_VERIFYING = (pb.ClientAuthentication.VERIFY_IF_GIVEN, pb.ClientAuthentication.REQUIRE_AND_VERIFY)


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """The policy of one host: no message is the engine's own."""

    message: pb.TlsPolicy | None = None
    strict_sni_host: bool = False
    failure: str = ""
    """Why the policy cannot be enforced: its host is closed."""

    @property
    def key(self) -> bytes:
        """Equal for equal policies."""
        content = b"" if self.message is None else self.message.SerializeToString(deterministic=True)
        return (
            bytes([self.message is not None, self.strict_sni_host]) + self.failure.encode() + b"\0" + content
        )

    def check(self, span: Span) -> None:
        """Raise DiagnosticError where the policy cannot be enforced."""
        if self.failure:
            raise DiagnosticError([Diagnostic(Code.ZS0110, f"client_auth: {self.failure}", span)])


@dataclass(frozen=True, slots=True)
class _NamedPolicy:
    """A policy and the server names that it is for: exact ones in a set, since one policy may have 10,000."""

    policy: HostPolicy
    exact: frozenset[str] | None
    wildcards: tuple[str, ...]

    @classmethod
    def of(cls, names: Sequence[str] | None, policy: HostPolicy) -> _NamedPolicy:
        if names is None:
            return cls(policy, None, ())
        exact = frozenset(name.lower() for name in names if "*" not in name)
        return cls(policy, exact, tuple(name for name in names if "*" in name))

    def fits(self, host: str) -> bool:
        if self.exact is None or host.lower() in self.exact:
            return True
        return any(matches_wildcard(host, name) for name in self.wildcards)


@dataclass(frozen=True, slots=True)
class ServerPolicies:
    """The policies of one server's hosts, in the order in which they are asked."""

    named: tuple[_NamedPolicy, ...]
    other: HostPolicy
    """Of hosts that no policy takes."""

    def find(self, host: str) -> HostPolicy:
        """Return what holds for a host; "" is any other."""
        return next((one.policy for one in self.named if one.fits(host)), self.other)

    def find_other(self, patterns: Iterable[str]) -> HostPolicy:
        """Return what holds for hosts that have no name here, among which those of `patterns` are told apart.

        That is after the handshake: where a pattern asks for certificates of clients, all of them are closed.
        """
        policy = self.find("")
        for pattern in patterns:
            own = self.find(pattern)
            asks = own.message is not None and own.message.HasField("client_authentication")
            if asks and own.key != policy.key:
                return replace(
                    policy, failure=f"{pattern} stands for too many names; write *.NAME, or each name"
                )
        return policy


class SitePolicies:
    """Reads the connection policies of servers."""

    def __init__(
        self,
        options: Options,
        sites: Sequence[Site],
        read_file: ReadFile,
        certificates: LocalCertificates,
    ) -> None:
        self.options = options
        self.others: Json = options.others.value()
        self.directives = [list_directives(site.tls) for site in sites]
        self.files = {pair[0] for found in self.directives for one in found for pair in one.get("files", ())}
        self.read_file = read_file
        self.certificates = certificates

    def read(self, server: Server) -> ServerPolicies:
        """Return the policies of a server; files that they name are read."""
        if not any(one.scheme is Scheme.HTTPS for served in server.sites for one in served.addresses):
            return ServerPolicies((), HostPolicy())
        written = connection_policies(
            server, self.directives.__getitem__, dict.fromkeys(self.files, "file"), self.options, self.others
        )
        fields = self._find_fields(server)
        strict = fields.get("strict_sni_host")
        if strict is None:
            strict = any(policy.get("client_authentication") for policy in written)
        protocols = () if "h2" in fields.get("protocols", ("h2",)) else ("http/1.1",)
        named = (
            _NamedPolicy.of(one.get("match", {}).get("sni"), self._build(one, strict, protocols))
            for one in written
        )
        return ServerPolicies(tuple(named), self._build({}, strict, protocols))

    def list_written(self, server: Server) -> list[Json]:
        """Return the policies as Caddy has them; the tag of a certificate is the path of its file."""
        tags = {path: path for path in self.files}
        return connection_policies(server, self.directives.__getitem__, tags, self.options, self.others)

    def _find_fields(self, server: Server) -> Json:
        servers: list[Json] = self.others.get("servers", [])
        named = (one["server"] for one in servers if one["listener"] in ("", *server.listen))
        return next(named, {})

    def _build(self, written: Json, strict: bool, protocols: Sequence[str]) -> HostPolicy:
        suites = [name for name in written.get("cipher_suites", ()) if is_served_suite(name)]
        message = pb.TlsPolicy(
            version_min=written.get("protocol_min", "").removeprefix("tls"),
            version_max=written.get("protocol_max", "").removeprefix("tls"),
            cipher_suites=suites,
            curves=[name for name in written.get("curves", ()) if name in SERVED_CURVES],
            protocols=[name for name in written.get("alpn", protocols) if name != "h2" or not protocols],
        )
        if written.get("cipher_suites") and not suites:
            # All that was named are suites of TLS 1.2 that the engine lacks.
            message.version_min = "1.3"
        failure = ""
        if asked := written.get("client_authentication"):
            try:
                message.client_authentication.CopyFrom(self._build_clients(asked))
            except (ValueError, OSError) as error:
                failure = str(error)
        same = message == pb.TlsPolicy()
        return HostPolicy(None if same else message, strict, failure)

    def _build_clients(self, asked: Json) -> pb.ClientAuthentication:
        mode = asked.get("mode") or ("require_and_verify" if "ca" in asked else "require")
        if mode not in _MODES:
            raise ValueError(f"mode {mode} is none of {', '.join(_MODES)}")
        found = pb.ClientAuthentication(mode=_MODES[mode])
        if "ca" in asked:
            self._add_pool(asked["ca"], found)
        elif found.mode in _VERIFYING:
            # As in Go, without authorities of its own.
            found.system_roots = True
        found.trusted_leaves.extend(_decode(asked.get("trusted_leaf_certs", ())))
        for verifier in asked.get("verifiers", ()):
            for loader in verifier.get("leaf_certs_loaders", ()):
                found.trusted_leaves.extend(self._load_leaves(loader))
            if not found.trusted_leaves:
                raise ValueError("the verifier leaf knows no certificate")
        return found

    def _add_pool(self, pool: Json, found: pb.ClientAuthentication) -> None:
        match pool["provider"]:
            case "inline":
                found.trusted_ca.extend(_decode(pool.get("trusted_ca_certs", ())))
            case "file":
                for path in pool.get("pem_files", ()):
                    found.trusted_ca.extend(self._read_pem(path))
            case "pki_root" | "pki_intermediate" as provider:
                if set(pool.get("authority", ())) - {DEFAULT_AUTHORITY}:
                    raise ValueError(f"trust_pool {provider} of other authorities is not supported yet")
                root = self.certificates.authority.certificate
                found.trusted_ca.append(root.public_bytes(Encoding.DER))
            case "system":
                found.system_roots = True
            case "combined":
                for source in pool.get("sources", ()):
                    self._add_pool(source, found)
            case provider:
                raise ValueError(f"trust_pool {provider} is not supported yet")

    def _load_leaves(self, loader: Json) -> Iterable[bytes]:
        for path in loader.get("files", ()):
            yield from self._read_pem(path)
        for folder in loader.get("folders", ()):
            for path in sorted(Path(folder).rglob("*.pem")):
                yield from self._read_pem(str(path))
        for text in loader.get("certificates", ()):
            yield from _split_pem(text.encode(), "pem")

    def _read_pem(self, path: str) -> list[bytes]:
        try:
            return _split_pem(self.read_file(path), path)
        except OSError as error:
            raise ValueError(f"cannot read {path}: {error.strerror or error}") from error


def _split_pem(text: bytes, path: str) -> list[bytes]:
    try:
        return [one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(text)]
    except ValueError as error:
        raise ValueError(f"{path} holds no certificate in PEM") from error


def _decode(texts: Iterable[str]) -> list[bytes]:
    try:
        return [base64.b64decode(text, validate=True) for text in texts]
    except binascii.Error as error:
        raise ValueError("a certificate is no base64 of DER") from error
