"""Caddy's tls app: which certificates are loaded, and by which policies others are obtained.

In: servers with their sites, the directives of `tls`, the options. Out: the app's JSON, empty where Caddy
writes none (httpcaddyfile/tlsapp.go buildTLSApp). Policies are objects of Caddy's JSON while they are built.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from zeroserve_ir.caddyfile.adapting_connections import Directives
from zeroserve_ir.caddyfile.adapting_names import is_certifiable, is_public, is_tailscale
from zeroserve_ir.caddyfile.adapting_policies import (
    all_public,
    fill_issuer,
    has_issuer_defaults,
    join_policies,
)
from zeroserve_ir.caddyfile.listening import ServedSite, Server
from zeroserve_ir.caddyfile.meaning.securing import INTERNAL_ISSUER, default_issuers
from zeroserve_ir.tree import Options, Scheme, Site
from zeroserve_ir.tree_carried import Json


def build_tls_app(
    servers: Sequence[Server],
    sites: Sequence[Site],
    directives: Directives,
    tags: dict[str, str],
    options: Options,
) -> Json:
    """Return the tls app."""
    return _Building(servers, sites, directives, tags, options).build()


class _Building:
    def __init__(
        self,
        servers: Sequence[Server],
        sites: Sequence[Site],
        directives: Directives,
        tags: dict[str, str],
        options: Options,
    ) -> None:
        self.servers = servers
        self.sites = sites
        self.directives = directives
        self.tags = tags
        self.options = options
        self.others: Json = options.others.value()
        if options.http_port != 80:
            self.others.setdefault("http_port", options.http_port)
        if options.https_port != 443:
            self.others.setdefault("https_port", options.https_port)
        self.policies: list[Json] = []
        self.files: dict[str, Json] = {}
        self.folders: list[str] = []
        self.forced: set[str] = set()
        self.catch_all: Json | None = None
        self.internal: list[str] = []

    def build(self) -> Json:
        self.catch_all = self.base(always=False)
        if self.catch_all is not None:
            self.policies.append(self.catch_all)
        for server in self.servers:
            if any(not listener.endswith(f":{self.options.http_port}") for listener in server.listen):
                for served in server.sites:
                    if not self.is_plain(served):
                        self.add_site(served)
        app: Json = {}
        if certificates := self.certificates():
            app["certificates"] = certificates
        if automation := self.automation():
            app["automation"] = automation
        return app | self.settings()

    def base(self, *, always: bool) -> Json | None:
        """Return a policy with the options of all policies (tlsapp.go newBaseAutomationPolicy)."""
        others = self.others
        names = ("cert_issuer", "local_certs", "key_type", "ocsp_stapling", "renewal_window_ratio")
        if not any(name in others for name in names) and not has_issuer_defaults(others):
            return {} if always else None
        policy: Json = {key: others[key] for key in ("key_type", "renewal_window_ratio") if key in others}
        if "cert_issuer" in others:
            policy["issuers"] = copy.deepcopy(others["cert_issuer"])
        elif "local_certs" in others:
            policy["issuers"] = [dict(INTERNAL_ISSUER)]
        if "ocsp_stapling" in others:
            policy["disable_ocsp_stapling"] = True
        return policy

    def is_plain(self, served: ServedSite) -> bool:
        port = self.options.http_port
        return all(one.scheme is Scheme.HTTP and (one.host or one.port == port) for one in served.addresses)

    def add_site(self, served: ServedSite) -> None:
        policy = self.base(always=True)
        assert policy is not None
        if not served.hosts and self.catch_all is not None:
            policy = self.catch_all
        found = self.directives(served.index)
        for directive in found:
            self.apply(directive, policy, served)
        if issuers := [one for directive in found for one in directive.get("issuers", ())]:
            policy["issuers"] = copy.deepcopy(issuers)
        binds = self.sites[served.index].bind
        for issuer in policy.get("issuers", ()):
            if binds and binds[0] and issuer["module"] == "acme" and "default_bind" not in self.others:
                issuer.setdefault("challenges", {}).setdefault("bind_host", binds[0])
        if not served.hosts and self.catch_all is None:
            self.catch_all = policy
        port = self.options.http_port
        names = sorted(
            {
                one.host
                for one in served.addresses
                if one.host and one.scheme is Scheme.HTTPS and one.port != port
            }
        )
        policy.pop("subjects", None)
        internal: list[str] = []
        if not policy.get("issuers"):
            names_own = [name for name in names if not is_tailscale(name) and is_certifiable(name)]
            external = [one for one in names_own if is_public(one, on_demand=bool(policy.get("on_demand")))]
            internal = [one for one in names_own if one not in external]
            if external and internal:
                names = external
            else:
                internal = []
        if names:
            policy["subjects"] = names
        self.policies.append(policy)
        if internal:
            self.policies.append(policy | {"subjects": internal, "issuers": [dict(INTERNAL_ISSUER)]})

    def apply(self, directive: Json, policy: Json, served: ServedSite) -> None:
        """Lay one `tls` directive over the policy of its site."""
        for key in ("on_demand", "reuse_private_keys", "key_type", "renewal_window_ratio"):
            if key in directive:
                policy[key] = directive[key]
        if directive.get("force_automate"):
            self.forced.update(served.hosts)
        if "get_certificate" in directive:
            policy["get_certificate"] = [*policy.get("get_certificate", ()), *directive["get_certificate"]]
        for certificate, key in directive.get("files", ()):
            entry = {"certificate": certificate, "key": key, "tags": [self.tags[certificate]]}
            self.files.setdefault(certificate, entry)
        self.folders += directive.get("folders", ())

    def certificates(self) -> Json:
        found: Json = {}
        if self.files:
            found["load_files"] = list(self.files.values())
        if self.folders:
            found["load_folders"] = self.folders
        modes = self.others.get("auto_https", ())
        shared = self.shared_with_any_host() if "disable_certs" not in modes else []
        internal = [name for name in shared if not is_public(name)]
        if automate := sorted({*shared, *self.forced}):
            found["automate"] = automate
        self.internal = internal
        return found

    def shared_with_any_host(self) -> list[str]:
        """Return hosts whose site also takes any host: no matcher names them, so this list must."""
        if not self.options.auto_https:
            return []
        hosts = {
            address.host
            for server in self.servers
            for served in server.sites
            if any(not one.host for one in served.addresses)
            for address in served.addresses
            if address.host and address.scheme is Scheme.HTTPS
        }
        return sorted(hosts)

    def automation(self) -> Json:
        others: Json = self.others
        found: Json = {}
        if "ech" in others:
            policy = self.base(always=True) or {}
            names = [one["public_name"] for one in others["ech"]["configs"] if one["public_name"]]
            self.policies.append(policy | ({"subjects": names} if names else {}))
        if self.internal:
            self.policies.append({"subjects": self.internal, "issuers": [dict(INTERNAL_ISSUER)]})
        defaults = has_issuer_defaults(others) or "email" in others
        for policy in self.policies:
            if defaults and not policy.get("issuers") and all_public(policy):
                email = others.get("email", "")
                policy["issuers"] = [{"module": "acme"}] if "acme_ca" in others else default_issuers(email)
            for issuer in policy.get("issuers", ()):
                fill_issuer(issuer, others)
        if policies := join_policies(self.policies):
            found["policies"] = policies
        if "on_demand_tls" in others:
            found["on_demand"] = others["on_demand_tls"]
        for name in ("ocsp_interval", "renew_interval", "storage_clean_interval"):
            if others.get(name) not in (None, 0, "off"):
                found[name] = others[name]
        return found

    def settings(self) -> Json:
        others: Json = self.others
        found: Json = {}
        if others.get("dns"):
            found["dns"] = others["dns"]
        if "tls_resolvers" in others:
            found["resolvers"] = others["tls_resolvers"]
        if "ech" in others:
            found["encrypted_client_hello"] = others["ech"]
        if "storage_check" in others:
            found["disable_storage_check"] = True
        if others.get("storage_clean_interval") == "off":
            found["disable_storage_clean"] = True
        if "ocsp_stapling" in others:
            found["disable_ocsp_stapling"] = True
        return found
