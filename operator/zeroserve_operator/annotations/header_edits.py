"""Header fields that an Ingress sets by directives of nginx (`server-snippet`,
`configuration-snippet`).

In: the annotations of an Ingress. Out: `HeaderEdits`, or none. Rule: a snippet that does anything but set or
remove header fields closes, and so does one whose directives mean something else here. Sources:
nginx's ngx_http_headers_module (`add_header`) and ngx_http_proxy_module (`proxy_set_header` …), and the
README of headers-more-nginx-module (`more_*`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from zeroserve_ir.codes import Code
from zeroserve_ir.model import AddedField, FieldEdit, HeaderEdits

from zeroserve_operator.annotations.snippets import Directive, SnippetError, read_directives
from zeroserve_operator.annotations.values import TRUE, Annotations
from zeroserve_operator.annotations.variables import UnknownVariableError, expand
from zeroserve_operator.resources.objects import Meta

SERVER_SNIPPET, SNIPPET = "server-snippet", "configuration-snippet"
EDITS_MAX: Final = 128
"""Fields of all kinds; one whose value has several variables counts as that many."""
VALUE_LENGTH_MAX, VARIABLES_MAX = 4096, 16
"""Of one value: what a client sends comes as often as variables name it."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")
_CLEARED: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}\*?")
_PAIR: Final = re.compile(r"([^:\s]+):[ \t]*(.*)", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_READ_FIELD: Final = re.compile(r"\{http\.request\.header\.([^{}]+)\}")
_PLACEHOLDER: Final = "{http."
_READ_COOKIE: Final = "{http.request.cookie."
_ALWAYS_GIVEN: Final = ("host", "orig_uri", "uri.path", "scheme", "method")
_MAY_BE_EMPTY: Final = re.compile(
    r"\{http\.request\.(?!(?:" + "|".join(map(re.escape, _ALWAYS_GIVEN)) + r")\})[^{}\\]+\}"
)
_CORS: Final = "access-control-"
_FRAMING: Final = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Where a message ends, and what the connection is for."""
CERTIFICATE_FIELDS: Final = frozenset(
    {"ssl-client-cert", "ssl-client-issuer-dn", "ssl-client-subject-dn", "ssl-client-verify"}
)
"""Of requests: what a client's certificate says."""
_MANAGED: Final = _FRAMING | {
    *CERTIFICATE_FIELDS,
    "host",
    "proxy",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-request-id",
    "x-scheme",
}
"""Of requests: what ingress-nginx sets itself, which a second field of the name stands beside there."""
_AS_IT_IS: Final = frozenset(
    {
        ("connection", "upgrade"),
        ("connection", "$connection_upgrade"),
        ("host", "$best_http_host"),
        ("host", "$http_host"),
        ("upgrade", "$http_upgrade"),
        ("x-forwarded-for", "$remote_addr"),
        ("x-forwarded-host", "$best_http_host"),
        ("x-forwarded-host", "$http_host"),
        ("x-forwarded-proto", "$pass_access_scheme"),
        ("x-forwarded-proto", "$scheme"),
        ("x-real-ip", "$remote_addr"),
        ("x-request-id", "$req_id"),
    }
)
"""What Services are told anyway, and ingress-nginx tells them, too; WebSockets pass."""
_CURE: Final = (
    "add_header, proxy_set_header, proxy_hide_header, more_set_headers, more_clear_headers and their likes "
    "for requests (more_set_input_headers) are read; for anything else serve the host by a ZeroserveRoute, "
    "whose Caddyfile has header, redir and matchers"
)


def read_header_edits(
    annotations: Annotations, meta: Meta, *, grpc: bool, verified: Collection[str] = ()
) -> HeaderEdits | None:
    """Read the snippets of an Ingress, whose Services are spoken to by gRPC or not.

    Of requests, `verified` fields (lower case) are set by those who check access.
    """
    known = {"namespace": meta.key.namespace, "ingress_name": meta.key.name}
    reading = _Reading(known, grpc, frozenset(verified))
    given = [name for name in (SERVER_SNIPPET, SNIPPET) if annotations.has(name)]
    for name in given:
        try:
            reading.begin(name)
            for directive in read_directives(annotations.values[name]):
                reading.take(directive)
            reading.end()
            reading.check(annotations)
        except SnippetError as error:
            problem = f"may restrict access and is not honoured: {error}"
            if not annotations.honour_restrictions:
                annotations.warn(name, f"{problem}: served open", Code.ZS0402, _CURE)
                return None
            annotations.close(name, f"{problem}: its routes answer 503", Code.ZS0402, _CURE)
    return reading.finish() if given else None


@dataclass(slots=True)
class _Reading:
    known: Mapping[str, str]
    grpc: bool
    verified: frozenset[str]
    line: int = 1
    answered: dict[str, FieldEdit] = field(default_factory=dict)
    added: list[AddedField] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    taken: dict[str, FieldEdit] = field(default_factory=dict)
    sent: dict[str, FieldEdit] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    """Fields of requests that values have."""
    told: set[str] = field(default_factory=set)
    """Fields of requests to the Service that are named, those that change nothing, too."""
    of_server: bool = False
    inherited: tuple[list[AddedField], list[str]] = field(default_factory=lambda: ([], []))

    def begin(self, name: str) -> None:
        """Begin a snippet; the server's comes first."""
        self.of_server = name == SERVER_SNIPPET
        self.inherited = self.added, self.hidden
        self.added, self.hidden = [], []

    def end(self) -> None:
        """Take from the server what a location has none of; `more_*` of both hold, the location's at last."""
        added, hidden = self.inherited
        self.added, self.hidden = self.added or added, self.hidden or hidden

    def take(self, directive: Directive) -> None:
        self.line = directive.line
        match directive.name, directive.words:
            case "add_header", (name, value):
                self._add(name, value, always=False)
            case "add_header", (name, value, "always"):
                self._add(name, value, always=True)
            case "proxy_hide_header", (name,):
                self._check_proxied(directive)
                self.hidden.append(self._check_name(name, _FRAMING))
            case "proxy_set_header", (name, value):
                self._check_proxied(directive)
                self._send(name, value)
            case "more_set_headers", words if words:
                for name, value in self._split(words):
                    self._put(self.answered, self._check_name(name, _FRAMING), value)
            case "more_clear_headers", words if words:
                for name in words:
                    self._clear(self.answered, name, _FRAMING)
            case "more_set_input_headers", words if words:
                for name, value in self._split(words):
                    self._put(self.taken, self._check_name(name, _MANAGED), value)
            case "more_clear_input_headers", words if words:
                for name in words:
                    self._clear(self.taken, name, _MANAGED)
            case name, words:
                raise self._refuse(f"`{' '.join((name, *words))[:80]}` does not only set header fields")

    def check(self, annotations: Annotations) -> None:
        """Refuse what depends on an order that is another one here."""
        added = {one.name.lower() for one in self.added}
        cleared = [name for kind in (self.answered, self.taken) for name in kind if name.endswith("*")]
        for name in (*added, *self.answered, *self.taken, *self.sent):
            if any(name.startswith(prefix[:-1]) and name != prefix for prefix in cleared):
                raise SnippetError(self.line, f"{name} is both set and removed")
        if both := added & self.answered.keys() or self.taken.keys() & self.sent.keys():
            raise SnippetError(self.line, f"{min(both)} is set by two kinds of directives")
        if both := self.read & (self.taken.keys() | self.sent.keys()):
            raise SnippetError(self.line, f"{min(both)} is read and set")
        forgotten = tuple(name[:-1] for name in self.taken if name.endswith("*"))
        if both := {name for name in self.read if name.startswith(forgotten)}:
            raise SnippetError(self.line, f"{min(both)} is read and removed")
        if both := (self.read | self.told) & self.verified:
            raise SnippetError(self.line, f"{min(both)} is set where access is checked")
        fields = [*added, *self.answered]
        if annotations.text("enable-cors") in TRUE and any(map(_concerns_cors, fields)):
            raise SnippetError(self.line, "fields of CORS are set beside enable-cors")
        if self.taken and (annotations.text("auth-url") or annotations.text("auth-type")):
            raise SnippetError(self.line, "fields of requests change before access is checked")
        kinds = (self.answered.values(), self.added, self.taken.values(), self.sent.values())
        sizes = (max(1, one.value.count(_PLACEHOLDER)) for kind in kinds for one in kind)
        if sum(sizes) + len(self.hidden) > EDITS_MAX:
            raise SnippetError(self.line, f"there are more than {EDITS_MAX} fields and variables")

    def finish(self) -> HeaderEdits | None:
        edits = HeaderEdits(
            answered=tuple(self.answered.values()),
            added=tuple(self.added),
            hidden=tuple(dict.fromkeys(self.hidden)),
            taken=tuple(self.taken.values()),
            sent=tuple(self.sent.values()),
        )
        return edits if edits != HeaderEdits() else None

    def _refuse(self, problem: str) -> SnippetError:
        return SnippetError(self.line, problem)

    def _check_proxied(self, directive: Directive) -> None:
        if self.grpc:
            raise self._refuse(f"{directive.name} means nothing to Services that speak gRPC")

    def _check_name(self, name: str, refused: Iterable[str]) -> str:
        if name.startswith("-"):
            raise self._refuse(f"`{name[:80]}` is an option, which is not read")
        if not _NAME.fullmatch(name):
            raise self._refuse(f"`{name[:80]}` is no name of a header field that is read")
        if name.lower() in refused:
            raise self._refuse(f"{name} is set by nodes alone")
        return name

    def _split(self, words: Iterable[str]) -> Iterable[tuple[str, str]]:
        for word in words:
            found = _PAIR.fullmatch(word)
            if found is None or word.startswith("-"):
                raise self._refuse(f"`{word[:80]}` is not NAME: VALUE")
            yield found[1], found[2]

    def _add(self, name: str, value: str, *, always: bool) -> None:
        self._check_name(name, _FRAMING | {"etag", "last-modified"})
        text, is_sparse = self._expand(value)
        if text:
            self.added.append(AddedField(name, text, always, is_sparse))

    def _send(self, name: str, value: str) -> None:
        folded, asked = name.lower(), value.lower()
        self.told.add(folded)
        if (folded, asked) in _AS_IT_IS:
            return
        self._check_name(name, _MANAGED)
        if asked == f"$http_{folded.replace('-', '_')}":
            return
        if folded in self.sent:
            raise self._refuse(f"{name} is set twice")
        if self.of_server:
            raise self._refuse("proxy_set_header means nothing in a server-snippet")
        self._put(self.sent, name, value)

    def _put(self, kind: dict[str, FieldEdit], name: str, value: str) -> None:
        text, is_sparse = self._expand(value)
        kind[name.lower()] = FieldEdit(name, text, is_sparse)

    def _clear(self, kind: dict[str, FieldEdit], name: str, refused: Iterable[str]) -> None:
        prefix = name.removesuffix("*").lower()
        if name.startswith("-"):
            raise self._refuse(f"`{name[:80]}` is an option, which is not read")
        if not _CLEARED.fullmatch(name):
            raise self._refuse(f"`{name[:80]}` is no name of a header field that is read")
        if prefix in refused or (name.endswith("*") and any(one.startswith(prefix) for one in refused)):
            raise self._refuse(f"{name} is set by nodes alone")
        kind[name.lower()] = FieldEdit(name)

    def _expand(self, value: str) -> tuple[str, bool]:
        """Return the text of a value, and whether it may be empty."""
        if _CONTROL.search(value):
            raise self._refuse("a value holds the end of a line, or another control character")
        if len(value) > VALUE_LENGTH_MAX or value.count("$") > VARIABLES_MAX:
            raise self._refuse(f"a value has more than {VALUE_LENGTH_MAX} signs or {VARIABLES_MAX} variables")
        try:
            text = expand(value, self.known)
        except UnknownVariableError as error:
            raise self._refuse(f"{error} is a variable that is not known here") from error
        self.read.update(one.lower() for one in _READ_FIELD.findall(text))
        self.read.update({"cookie"} if _READ_COOKIE in text else ())
        return text, bool(text) and not _MAY_BE_EMPTY.sub("", text)


def _concerns_cors(name: str) -> bool:
    return name.startswith(_CORS) or (name.endswith("*") and _CORS.startswith(name[:-1]))
