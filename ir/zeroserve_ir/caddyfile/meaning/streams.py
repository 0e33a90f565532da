"""The global option `layer4`: TCP, TLS by server name, and UDP, in the syntax of caddy-l4.

In: the segment. Out: Caddy's JSON of the app `layer4`. Read are the matchers `tls`, `remote_ip` and
`not`, and the handlers `tls` and `proxy`:

    layer4 {
        :443 {                        # beside https sites: only the named servers' connections
            @a tls sni a.example
            route @a {
                proxy 10.0.0.1:443    # TLS passes through
            }
        }
        :5432 {
            @office remote_ip 192.0.2.0/24
            route @office {           # all others are closed
                tls                   # TLS ends here
                proxy 10.0.0.2:5432 10.0.0.3:5432 {
                    lb_policy least_conn
                }
            }
        }
        udp/:53 {
            idle_timeout 10s          # ours: how long a silent client is remembered
            route {
                proxy udp/10.0.0.4:53 udp/10.0.0.5:53
            }
        }
    }

Rule: what is matched decides who gets in, so a matcher that is not understood is refused, never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.balancing import read_policy
from zeroserve_ir.caddyfile.meaning.blocks import only
from zeroserve_ir.caddyfile.meaning.matchers import read_ranges
from zeroserve_ir.caddyfile.meaning.reading import Reading, duration_ns, refusal, texts, wrong_count
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.stream_sites import DATAGRAMS, ends_tls, find_route_names, find_routes
from zeroserve_ir.tree_carried import Json
from zeroserve_ir.tree_upstreams import Selection

POLICIES = {
    Selection.FIRST,
    Selection.IP_HASH,
    Selection.LEAST_CONNECTIONS,
    Selection.RANDOM,
    Selection.RANDOM_CHOOSE,
    Selection.ROUND_ROBIN,
}
"""Those that need no request."""
IDLE_MAX_NS = 3600 * 10**9


def read_layer4(segment: Segment, reading: Reading) -> Json:
    """`layer4 { ADDRESS … { … } }`."""
    if segment.arguments or not segment.block:
        raise wrong_count(segment, "layer4 { ADDRESS … { route … } }")
    servers: Json = {}
    for inner in segment.block:
        with reading.collect():
            servers[f"srv{len(servers)}"] = _read_server(inner, reading)
    return {"servers": servers}


def _read_server(segment: Segment, reading: Reading) -> Json:
    listen = [segment.name.text, *texts(segment.arguments)]
    for address in listen:
        if not address.rpartition(":")[2].isdecimal() or "/" in address.removeprefix(DATAGRAMS):
            cure = "write :PORT or ADDRESS:PORT, with udp/ in front for UDP"
            raise refusal(Code.ZS0103, f"{address!r} is no address to listen on", segment.name, cure)
    matchers: dict[str, Json] = {}
    server: Json = {"listen": listen, "routes": []}
    for inner in segment.block or ():
        name = inner.name.text
        with reading.collect():
            if name.startswith("@"):
                matchers[name] = _read_matchers(inner)
            elif name == "route":
                server["routes"].append(_read_route(inner, matchers, reading))
            elif name == "idle_timeout":
                server["zeroserve"] = {"idle_timeout": _read_idle(only(inner), listen)}
            else:
                cure = "write @name, route or idle_timeout"
                raise refusal(Code.ZS0109, f"unknown {name} in layer4", inner.name, cure)
    _judge_server(server, segment)
    return server


def _read_idle(token: Token, listen: Sequence[str]) -> int:
    idle = duration_ns(token)
    if not 10**9 <= idle <= IDLE_MAX_NS or not all(one.startswith(DATAGRAMS) for one in listen):
        cure = "write 1s to 1h, for UDP"
        raise refusal(Code.ZS0103, f"idle_timeout {token.text} is for nothing here", token, cure)
    return idle


def _judge_server(server: Json, segment: Segment) -> None:
    routes = server["routes"]
    if not routes:
        message = f"{server['listen'][0]} of layer4 has no route"
        raise refusal(Code.ZS0102, message, segment.name, "add route { proxy … }")
    datagrams = {address.startswith(DATAGRAMS) for address in server["listen"]}
    dialled = {
        dial.startswith(DATAGRAMS)
        for route in routes
        for upstream in route["handle"][-1]["upstreams"]
        for dial in upstream["dial"]
    }
    if datagrams != dialled:
        cure = "write udp/ in front of all of a server's addresses and upstreams, or of none"
        raise refusal(Code.ZS0103, "layer4 passes UDP to UDP and TCP to TCP", segment.name, cure)
    names = find_route_names(server)
    tls_or_header = any(ends_tls(route) or "proxy_protocol" in route["handle"][-1] for route in routes)
    if True in datagrams and (tls_or_header or any("tls" in one for one in _list_sets(routes))):
        cure = "leave tls and proxy_protocol out"
        raise refusal(Code.ZS0103, "datagrams have neither TLS nor a PROXY header", segment.name, cure)
    for name in names:
        if len({ends_tls(route) for route, _ in find_routes(server, name)}) > 1:
            cure = "give these routes the same handlers, or other names"
            message = f"TLS of {name or 'any server'} ends here in one route and passes in another"
            raise refusal(Code.ZS0103, message, segment.name, cure)


def _list_sets(routes: Sequence[Json]) -> list[Json]:
    return [one for route in routes for one in route.get("match", [])]


def _read_matchers(segment: Segment) -> Json:
    if segment.arguments:
        return _read_matcher(segment.arguments, segment)
    found: Json = {}
    for inner in segment.block or ():
        matcher = _read_matcher([inner.name, *inner.arguments], inner)
        for kind, value in matcher.items():
            if kind in found and kind != "not":
                raise refusal(Code.ZS0103, f"{kind} stands here twice", inner.name, "write it once")
            found[kind] = [*found["not"], *value] if kind in found else value
    if not found:
        raise wrong_count(segment, "@name MATCHER …")
    return found


def _read_matcher(tokens: Sequence[Token], segment: Segment) -> Json:
    kind, *arguments = tokens
    match kind.text:
        case "tls" if not segment.block and not arguments:
            return {"tls": {}}
        case "tls" if not segment.block and arguments[0].text == "sni" and arguments[1:]:
            return {"tls": {"sni": [name.lower() for name in texts(arguments[1:])]}}
        case "remote_ip" if not segment.block and arguments:
            return {"remote_ip": {"ranges": list(read_ranges(arguments))}}
        case "not" if arguments and arguments[0].text == "remote_ip":
            return {"not": [_read_matcher(arguments, segment)]}
        case _:
            cure = "write tls, tls sni NAME …, remote_ip RANGE … or not remote_ip RANGE …"
            raise refusal(Code.ZS0109, f"unknown matcher {kind.text} of layer4", kind, cure)


def _read_route(segment: Segment, matchers: Mapping[str, Json], reading: Reading) -> Json:
    found: Json = {}
    for token in segment.arguments:
        if token.text not in matchers:
            cure = "define it above the route"
            raise refusal(Code.ZS0109, f"unknown matcher {token.text}", token, cure)
        found.setdefault("match", []).append(matchers[token.text])
    handlers = [_read_handler(inner, reading) for inner in segment.block or ()]
    kinds = [handler["handler"] for handler in handlers]
    if kinds not in (["proxy"], ["tls", "proxy"]):
        cure = "write proxy, or tls before proxy"
        raise refusal(Code.ZS0103, "a route of layer4 needs one proxy, at its end", segment.name, cure)
    return found | {"handle": handlers}


def _read_handler(segment: Segment, reading: Reading) -> Json:
    match segment.name.text:
        case "tls" if not segment.arguments and not segment.block:
            return {"handler": "tls"}
        case "proxy":
            return _read_proxy(segment, reading)
        case name:
            raise refusal(
                Code.ZS0109, f"unknown handler {name} of layer4", segment.name, "write tls or proxy"
            )


def _read_proxy(segment: Segment, reading: Reading) -> Json:
    upstreams = list(texts(segment.arguments))
    found: Json = {"handler": "proxy"}
    for inner in segment.block or ():
        match inner.name.text:
            case "upstream":
                upstreams += [token.text for token in inner.arguments]
            case "proxy_protocol" if only(inner).text in ("v1", "v2"):
                found["proxy_protocol"] = only(inner).text
            case "lb_policy":
                found["load_balancing"] = {"selection": _read_selection(inner, reading)}
            case name:
                cure = "write upstream HOST:PORT, lb_policy POLICY or proxy_protocol v1|v2"
                raise refusal(Code.ZS0109, f"unknown {name} of proxy", inner.name, cure)
    if not upstreams:
        raise wrong_count(segment, "proxy HOST:PORT …")
    return found | {"upstreams": [{"dial": [dial]} for dial in upstreams]}


def _read_selection(segment: Segment, reading: Reading) -> Json:
    policy = read_policy(segment, reading)
    if policy.selection not in POLICIES:
        cure = f"write {', '.join(sorted(one.value for one in POLICIES))}"
        message = f"{policy.selection.value} looks at requests, which layer4 has none of"
        raise refusal(Code.ZS0103, message, segment.name, cure)
    choose = {"choose": policy.choose} if policy.choose else {}
    return {"policy": policy.selection.value, **choose}
