"""External authentication: a Service that is asked whether a request may go on (`auth-url` and its like).

In: the annotations of an Ingress. Out: `ExternalAuthRequest`, or none. Rule: what cannot be honoured as
written closes; only a Service of the own namespace is asked, one that the operator's owner shares, or one
behind a path of the Ingress' own hosts.
Source: ingress-nginx, annotations/authreq/main.go; template.go, buildAuthSignURL.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from zeroserve_ir.codes import Code
from zeroserve_ir.model import ExternalCheck
from zeroserve_ir.tree import ServiceReference

from zeroserve_operator.annotations.names import PREFIX
from zeroserve_operator.annotations.service_names import is_port, read_service_name
from zeroserve_operator.annotations.values import Annotations
from zeroserve_operator.annotations.variables import UnknownVariableError, escape, expand
from zeroserve_operator.resources.objects import Meta
from zeroserve_operator.settings import SharedService

FIELDS_MAX, VARIABLES_MAX, URL_BYTES_MAX = 64, 16, 4096
_CHARACTERS: Final = r"[-A-Za-z0-9._~:/?@!$&'()*+,;=%]"
_ADDRESS: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.$_-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[-A-Za-z0-9._~:/@!$&'()*+,;=%]*)?(?:\?(?P<query>" + _CHARACTERS + r"*))?"
)
_OWN_HOST: Final = frozenset({"$host", "$http_host", "$best_http_host"})
_SIGNIN: Final = re.compile(r"https?://[-A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%]+|/" + _CHARACTERS + "*")
_PARAMETER: Final = re.compile(r"[-A-Za-z0-9_.~]{1,128}")
_VALUE: Final = re.compile(_CHARACTERS + "+")
_FIELD: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_ESCAPED: Final = re.compile(r"\$escaped_request_uri(?![A-Za-z0-9_])")
_FRAMING: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields that say where a message ends or whose it is: an answer's are not the request's."""
_PORTS: Final = {"http": "80", "https": "443"}
_METHODS: Final = ("GET", "HEAD")
_RETURNING: Final = "{http.request.scheme}://{http.request.hostport}{http.request.uri_escaped}"
_OTHERS: Final = (
    "auth-always-set-cookie",
    "auth-method",
    "auth-request-redirect",
    "auth-response-headers",
    "auth-signin",
    "auth-signin-redirect-param",
)
_NO_URL: Final = "is no URL that begins with http:// or https://"
_CURE: Final = (
    "write http://NAME.NAMESPACE.svc.cluster.local:PORT/PATH of a Service of its namespace, "
    "or https://$host/PATH of a path that an Ingress serves on this host"
)


@dataclass(frozen=True, slots=True)
class ExternalAuthRequest:
    """Who is asked, and how."""

    check: ExternalCheck
    service: ServiceReference | None
    """None: the Service behind `path` of the host that the client names."""
    host: str
    """The only host whose path is meant; "" is whichever the client names."""
    path: str
    secure: bool


class _WrongValueError(Exception):
    """A value that closes; says what is wrong, to follow the annotation's name."""


def read_external_auth(
    annotations: Annotations, meta: Meta, hosts: Collection[str], shared: Iterable[SharedService]
) -> ExternalAuthRequest | None:
    """Read `auth-url` and what goes with it; `hosts` are the object's own, all may ask `shared`."""
    if not annotations.text("auth-url"):
        for name in _OTHERS:
            if annotations.text(name).lower() not in ("", "off", "false"):
                cure = f"add {PREFIX}auth-url"
                annotations.close(name, "needs auth-url: its routes answer 503", Code.ZS0404, cure)
        return None
    name = "auth-url"
    try:
        found = _match(_ADDRESS, annotations.text(name), _NO_URL)
        host = "" if found["host"] in _OWN_HOST else found["host"].lower()
        own = host in hosts or not host
        service = None if own else _find_service(annotations, found, meta.key.namespace, shared)
        if service is None and not own:
            return None
        if own:
            _check_own_port(found)
        uri = _read_uri(found, own)
        name = "auth-method"
        method = _read_method(annotations)
        name = "auth-response-headers"
        copied = _read_fields(annotations)
        name = "auth-signin"
        signin = _read_signin(annotations)
        name = "auth-request-redirect"
        told = _read_redirect(annotations)
    except _WrongValueError as error:
        annotations.close(name, f"{error}: its routes answer 503", Code.ZS0403)
        return None
    check = ExternalCheck(
        host=escape(found["host"]) if service else "{http.request.host}",
        uri=uri,
        method=method,
        copied=copied,
        signin=signin,
        told=told,
        keeps_cookie=annotations.flag("auth-always-set-cookie", False),
    )
    return ExternalAuthRequest(check, service, host, found["path"] or "/", found["scheme"] == "https")


def _match(pattern: re.Pattern[str], text: str, problem: str) -> re.Match[str]:
    """Match a text, whose length and variables are bounded."""
    found = pattern.fullmatch(text) if len(text) <= URL_BYTES_MAX else None
    if found is None:
        raise _WrongValueError(problem)
    if text.count("$") > VARIABLES_MAX:
        raise _WrongValueError(f"holds more than {VARIABLES_MAX} variables")
    return found


def _check_own_port(found: re.Match[str]) -> None:
    """Refuse another server of the own host: it is not asked, and the path's Service may let everyone in."""
    if found["port"] and found["port"] != _PORTS[found["scheme"]]:
        message = f"has the port {found['port']}, where this host's paths are not those of an Ingress"
        raise _WrongValueError(message)


def _find_service(
    annotations: Annotations, found: re.Match[str], namespace: str, shared: Iterable[SharedService]
) -> ServiceReference | None:
    """Return the Service that is named; None where the address is closed."""
    port = found["port"] or _PORTS[found["scheme"]]
    service = read_service_name(found["host"], port)
    if service is None:
        _close_address(annotations, f"names {found['host']}, which is no Service")
        return None
    if service.namespace != namespace and not any(one.covers(service) for one in shared):
        message = f"names a Service of namespace {service.namespace}: its routes answer 503"
        cure = (
            f"run a Service that answers it in namespace {namespace}, or let the operator share this one: "
            f"--shared-auth-service {service.namespace}/{service.name}:{service.port}"
        )
        annotations.close("auth-url", message, Code.ZS0308, cure)
        return None
    if not is_port(service.port):
        raise _WrongValueError(f"has the port {port}, not one from 1 to 65535")
    return service


def _close_address(annotations: Annotations, problem: str) -> None:
    if annotations.honour_restrictions:
        annotations.close("auth-url", f"{problem}: its routes answer 503", Code.ZS0402, _CURE)
    else:
        annotations.warn("auth-url", f"{problem}: served open", Code.ZS0402, _CURE)


def _read_uri(found: re.Match[str], own: bool) -> str:
    """Return path and query; an empty query keeps the client's out."""
    path = found["path"] or "/"
    if own and "$" in path:
        raise _WrongValueError("holds a variable in the path of the own host, which is found beforehand")
    # The query's values are escaped where they are filled in.
    query = _ESCAPED.sub("$request_uri", found["query"] or "")
    return f"{_expand(path)}?{_expand(query)}"


def _read_method(annotations: Annotations) -> str:
    method = annotations.text("auth-method") or "GET"
    if method not in _METHODS:
        raise _WrongValueError(f"is `{method}`, not {' or '.join(_METHODS)}")
    return method


def _read_fields(annotations: Annotations) -> tuple[str, ...]:
    fields = [name.strip() for name in annotations.text("auth-response-headers").split(",") if name.strip()]
    for name in fields:
        if not _FIELD.fullmatch(name) or name.lower() in _FRAMING:
            raise _WrongValueError(f"holds `{name}`, no field that an answer may set in a request")
    if len(fields) > FIELDS_MAX:
        raise _WrongValueError(f"holds more than {FIELDS_MAX} fields")
    return tuple(dict.fromkeys(fields))


def _read_signin(annotations: Annotations) -> str:
    """Return the address, with the client's own behind it where it is not there (buildAuthSignURL)."""
    text = annotations.text("auth-signin")
    parameter = annotations.text("auth-signin-redirect-param") or "rd"
    if not _PARAMETER.fullmatch(parameter):
        raise _WrongValueError("has a parameter of no known form")
    if not text:
        return ""
    _match(_SIGNIN, text, _NO_URL)
    query = text.partition("?")[2]
    if any(re.match(rf"{re.escape(parameter)}=.", pair) for pair in query.split("&")):
        return _expand(text)
    return f"{_expand(text)}{'&' if query else '?'}{parameter}={_RETURNING}"


def _read_redirect(annotations: Annotations) -> str:
    text = annotations.text("auth-request-redirect") or "$request_uri"
    _match(_VALUE, text, "is no address")
    return _expand(text)


def _expand(text: str) -> str:
    try:
        return expand(text)
    except UnknownVariableError as error:
        raise _WrongValueError(f"holds {error}, which is not known here") from error
