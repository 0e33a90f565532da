"""Sites that show all placeholders at once: each situation in each place where texts are expanded.

In: names of placeholders. Out: a Caddyfile with a site for each pair (situation, place), named
`SITUATION-PLACE.b.example`, and the request that it is asked with.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Situation:
    """What happened to a request before its placeholders are shown.

    `before`: directives ahead of the showing one; `after`: behind it. `tls`: the client shows a certificate.
    """

    before: str = ""
    after: str = ""
    line: str = "GET /dir/some/page.v2.html?a=1&b=x+y&b=%2Fz&a HTTP/1.1"
    fields: tuple[str, ...] = (
        "X-One: 1",
        "X-Two: first",
        "X-Two: second",
        "Cookie: a=cookie; b=2",
        "User-Agent: placeholders",
    )
    tls: bool = False
    around: str = "{showing}"
    """Where the showing directive stands; `{showing}` is it."""


SITUATIONS = {
    "plain": Situation(),
    "bare": Situation(line="GET / HTTP/1.1", fields=()),
    "spelled": Situation(line="GET //Dir/%41b/%C3%BC%20y/?q=%zz&%61=2&; HTTP/1.1"),
    "tls": Situation(tls=True),
    "changed": Situation(
        before=(
            "method PUT\n\t\turi strip_prefix /dir\n\t\trewrite * /new{uri}&more=1\n"
            "\t\trequest_header X-One new"
        ),
    ),
    "set": Situation(
        before=(
            "vars mine {method}-{query.b}\n\t\theader X-Early {path}\n\t\troot * {$SITE}\n"
            "\t\tmap {path} {mapped} {mapped_default} {\n\t\t\t~/some/(.*) got-$1\n"
            "\t\t\tdefault none other\n\t\t}"
        ),
    ),
    "matched": Situation(
        around=(
            "@found path_regexp found /some/(?P<key>[a-z]+)\n\t\tvars @found mine matched\n"
            "\t\t@file file {\n\t\t\troot {$SITE}\n\t\t\ttry_files {path} /word.txt/rest\n"
            "\t\t\tsplit_path .txt\n\t\t}\n"
            "\t\tvars @file other matched\n\t\t{showing}"
        ),
    ),
    "user": Situation(
        before="basic_auth {\n\t\t\talice {$HASH}\n\t\t}",
        fields=("Authorization: Basic YWxpY2U6b3BlbiBzZXNhbWU=",),
    ),
    "proxied": Situation(
        around=(
            "reverse_proxy 127.0.0.1:{$ONE} {\n\t\t\t@all status 2xx\n\t\t\thandle_response @all {\n"
            "\t\t\t{showing}\n\t\t\t}\n\t\t}"
        ),
    ),
    "intercepted": Situation(
        around=(
            "intercept {\n\t\t\t@all status 2xx\n\t\t\thandle_response @all {\n"
            "\t\t\t{showing}\n\t\t\t}\n\t\t}\n"
            "\t\treverse_proxy 127.0.0.1:{$ONE}"
        ),
    ),
    "failed": Situation(
        around='error "is {method}" 418\n\t}\n\thandle_errors {\n\t\t{showing}',
    ),
    "unreached": Situation(
        around="reverse_proxy 127.0.0.1:{$DEAD}\n\t}\n\thandle_errors {\n\t\t{showing}",
    ),
}


FIELD_SIZE = 8
"""Placeholders that one field shows."""


def _shown(pairs: Iterable[tuple[int, str]], between: str) -> str:
    return between.join(f"{number}=[{{{name}}}]" for number, name in pairs)


def _fields(names: tuple[str, ...], lead: str) -> str:
    # A line end in a request's field is a 502 of Caddy's, as its client refuses it; here it becomes a space.
    pairs = [
        pair
        for pair in enumerate(names)
        if lead not in ("request_header ", "header_up ") or "pem" not in pair[1]
    ]
    groups = [pairs[start : start + FIELD_SIZE] for start in range(0, len(pairs), FIELD_SIZE)]
    return "\n".join(
        f'\t\t{lead}X-Shown-{index} "{_shown(group, ";")}"' for index, group in enumerate(groups)
    )


def _body(names: tuple[str, ...], form: str = "{}") -> str:
    shown = _shown(((number, form.format(name)) for number, name in enumerate(names)), "\n")
    return f"respond <<SHOWN\n{shown}\nSHOWN"


def _variables(names: tuple[str, ...]) -> str:
    told = "\n".join(f'\t\t\tshown_{number} "{{{name}}}"' for number, name in enumerate(names))
    numbers = tuple(str(number) for number in range(len(names)))
    return f"vars {{\n{told}\n\t\t}}\n\t\t{_body(numbers, 'vars.shown_{}')}"


def _mapped(names: tuple[str, ...]) -> str:
    maps = "\n".join(
        f"\t\tmap {{{name}}} {{map_{number}}} {{\n\t\t\t~(?s)^(.*)$ <$1>\n\t\t}}"
        for number, name in enumerate(names)
    )
    numbers = tuple(str(number) for number in range(len(names)))
    return f"{maps}\n\t\t{_body(numbers, 'map_{}')}"


def _redirected(names: tuple[str, ...]) -> str:
    return "redir * /there?" + _shown(enumerate(names), "&")


def _logged(names: tuple[str, ...]) -> str:
    appended = "\n".join(f"\t\tlog_append shown_{number} {{{name}}}" for number, name in enumerate(names))
    return f"{appended}\n\t\trespond ok"


PLACES = {
    "respond": _body,
    "header": lambda names: f"header {{\n{_fields(names, '')}\n\t\t}}\n\t\trespond ok",
    "header_later": lambda names: f"header {{\n{_fields(names, '>')}\n\t\t}}\n\t\trespond ok",
    "header_up": lambda names: (
        "reverse_proxy 127.0.0.1:{$TWO} {\n" + _fields(names, "header_up ") + "\n\t\t}"
    ),
    "header_down": lambda names: (
        "reverse_proxy 127.0.0.1:{$TWO} {\n" + _fields(names, "header_down ") + "\n\t\t}"
    ),
    "request_header": lambda names: (
        _fields(names, "request_header ") + "\n\t\treverse_proxy 127.0.0.1:{$TWO}"
    ),
    "vars": _variables,
    "map": _mapped,
    "redir": _redirected,
    "log_append": _logged,
}
"""Directives that show placeholders, by name: names -> text."""


def write_caddyfile(names: tuple[str, ...]) -> str:
    """Return a Caddyfile with variables (`{$PORT}`) of a site for each pair."""
    sites = [
        "{\n\tadmin off\n\tauto_https off\n\tlog {\n\t\toutput file {$FOLDER}/access.log\n"
        "\t\tinclude http.log.access\n\t\tformat json\n\t}\n}"
    ]
    for situation, told in SITUATIONS.items():
        for place, show in PLACES.items():
            head = "https" if told.tls else "http"
            port = "{$TLS_PORT}" if told.tls else "{$PORT}"
            lines = [f"{head}://{host_of(situation, place)}:{port} {{", "\tbind 127.0.0.1", "\tlog"]
            if told.tls:
                lines.append(
                    "\ttls {$FOLDER}/server.pem {$FOLDER}/server.key {\n"
                    "\t\tclient_auth {\n\t\t\tmode request\n\t\t}\n\t}"
                )
            body = told.around.replace("{showing}", show(names))
            lines += [
                "\troute {",
                *([f"\t\t{told.before}"] if told.before else []),
                f"\t\t{body}",
                "\t}",
                "}",
            ]
            sites.append("\n".join(lines))
    return "\n\n".join(sites) + "\n"


def host_of(situation: str, place: str) -> str:
    """Return the name of a pair's site."""
    return f"{situation}-{place.replace('_', '-')}.b.test"
