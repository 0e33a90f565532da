"""The proxies of the comparison, one module each; `proxy_named` finds them."""

from __future__ import annotations

from zeroserve_bench.proxies.base import Proxy, Tools
from zeroserve_bench.proxies.caddy import Caddy
from zeroserve_bench.proxies.envoy import Envoy
from zeroserve_bench.proxies.haproxy import Haproxy
from zeroserve_bench.proxies.nginx import Nginx
from zeroserve_bench.proxies.zeroserve import Zeroserve

PROXIES: dict[str, type[Proxy]] = {proxy.name: proxy for proxy in (Zeroserve, Nginx, Haproxy, Caddy, Envoy)}
OURS = Zeroserve.name

__all__ = ["OURS", "PROXIES", "Proxy", "Tools", "proxy_named"]


def proxy_named(name: str, tools: Tools) -> Proxy:
    """The proxy of that name; ValueError names those that exist."""
    if name not in PROXIES:
        raise ValueError(f"no proxy `{name}`; there are {', '.join(PROXIES)}")
    return PROXIES[name](tools)
