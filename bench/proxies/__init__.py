"""The proxies of the comparison, one module each; `proxy_named` finds them."""

from __future__ import annotations

from bench.proxies.base import Proxy, Tools
from bench.proxies.caddy import Caddy
from bench.proxies.envoy import Envoy
from bench.proxies.haproxy import Haproxy
from bench.proxies.nginx import Nginx
from bench.proxies.zeroserve import Zeroserve

PROXIES: dict[str, type[Proxy]] = {proxy.name: proxy for proxy in (Zeroserve, Nginx, Haproxy, Caddy, Envoy)}
OURS = Zeroserve.name

__all__ = ["OURS", "PROXIES", "Proxy", "Tools", "proxy_named"]


def proxy_named(name: str, tools: Tools) -> Proxy:
    """The proxy of that name; ValueError names those that exist."""
    if name not in PROXIES:
        raise ValueError(f"no proxy `{name}`; there are {', '.join(PROXIES)}")
    return PROXIES[name](tools)
