"""The global option `layer4`: TCP, and TLS by server name, in the syntax of caddy-l4.

In: the segment. Out: Caddy's JSON of the app `layer4`. Read are the matcher `tls` and the handlers `tls` and
`proxy`:

    layer4 {
        :443 {                        # beside https sites: only the named servers' connections
            @a tls sni a.example
            route @a {
                proxy 10.0.0.1:443    # TLS passes through
            }
        }
        :5432 {
            route {
                tls                   # TLS ends here
                proxy 10.0.0.2:5432 10.0.0.3:5432
            }
        }
    }
"""

from __future__ import annotations

from collections.abc import Mapping

from zeroserve_ir.caddyfile.meaning.blocks import only
from zeroserve_ir.caddyfile.meaning.reading import Reading, refusal, texts, wrong_count
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_carried import Json


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
        if not address.rpartition(":")[2].isdecimal() or address.startswith("udp/"):
            cure = "write :PORT or ADDRESS:PORT; UDP is not supported yet"
            raise refusal(Code.ZS0103, f"{address!r} is no address to listen on", segment.name, cure)
    matchers: dict[str, Json] = {}
    routes: list[Json] = []
    for inner in segment.block or ():
        name = inner.name.text
        with reading.collect():
            if name.startswith("@"):
                matchers[name] = _read_matcher(inner)
            elif name == "route":
                routes.append(_read_route(inner, matchers))
            else:
                raise refusal(Code.ZS0109, f"unknown {name} in layer4", inner.name, "write @name or route")
    if not routes:
        raise refusal(
            Code.ZS0102, f"{listen[0]} of layer4 has no route", segment.name, "add route { proxy … }"
        )
    return {"listen": listen, "routes": routes}


def _read_matcher(segment: Segment) -> Json:
    match texts(segment.arguments):
        case ("tls",) if not segment.block:
            return {"tls": {}}
        case ("tls", "sni", *names) if names:
            return {"tls": {"sni": [name.lower() for name in names]}}
        case _:
            cure = "write @name tls sni NAME …"
            raise refusal(Code.ZS0109, "unknown matcher of layer4", segment.name, cure)


def _read_route(segment: Segment, matchers: Mapping[str, Json]) -> Json:
    found: Json = {}
    for token in segment.arguments:
        if token.text not in matchers:
            cure = "define it above the route"
            raise refusal(Code.ZS0109, f"unknown matcher {token.text}", token, cure)
        found.setdefault("match", []).append(matchers[token.text])
    handlers = [_read_handler(inner) for inner in segment.block or ()]
    kinds = [handler["handler"] for handler in handlers]
    if kinds not in (["proxy"], ["tls", "proxy"]):
        cure = "write proxy, or tls before proxy"
        raise refusal(Code.ZS0103, "a route of layer4 needs one proxy, at its end", segment.name, cure)
    return found | {"handle": handlers}


def _read_handler(segment: Segment) -> Json:
    match segment.name.text:
        case "tls" if not segment.arguments and not segment.block:
            return {"handler": "tls"}
        case "proxy":
            return _read_proxy(segment)
        case name:
            raise refusal(
                Code.ZS0109, f"unknown handler {name} of layer4", segment.name, "write tls or proxy"
            )


def _read_proxy(segment: Segment) -> Json:
    upstreams = list(texts(segment.arguments))
    found: Json = {"handler": "proxy"}
    for inner in segment.block or ():
        match inner.name.text:
            case "upstream":
                upstreams += [token.text for token in inner.arguments]
            case "proxy_protocol" if only(inner).text in ("v1", "v2"):
                found["proxy_protocol"] = only(inner).text
            case name:
                cure = "write upstream HOST:PORT or proxy_protocol v1|v2"
                raise refusal(Code.ZS0109, f"unknown {name} of proxy", inner.name, cure)
    if not upstreams:
        raise wrong_count(segment, "proxy HOST:PORT …")
    return found | {"upstreams": [{"dial": [dial]} for dial in upstreams]}
