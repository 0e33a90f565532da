"""Tables: the rows that a route program refers to by index.

In: matchers and handlers of the tree, in the order in which lowering meets them. Out: the `Tables` message
and each row's index. Indices follow the order of use, so that sites of one shape get one code; a row that
occurs twice is kept twice for the same reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.host_names import spell_host
from zeroserve_ir.program.clusters import EndpointsSource, build_cluster, mirrored_proxy, name_endpoints
from zeroserve_ir.program.fitting import fit
from zeroserve_ir.program.patterns import PatternKind, SimplePattern
from zeroserve_ir.program.tables_answers import build_response_match
from zeroserve_ir.program.tables_fastcgi import build_fastcgi
from zeroserve_ir.program.tables_requests import parse_texts, subject_text
from zeroserve_ir.program.texts import parse_text, placeholders, unescape
from zeroserve_ir.sources import NOWHERE, Span

ERROR_MESSAGE = "http.error.message"
"""The variable that the engine expands the placeholder of this name from."""

_QUERY = {
    "set": pb.QUERY_SET,
    "add": pb.QUERY_ADD,
    "rename": pb.QUERY_RENAME,
    "delete": pb.QUERY_DELETE,
}


class TableBuilder:
    """Collects the rows of one site; every `add_*` returns the index of the new row."""

    def __init__(self) -> None:
        self.tables = pb.Tables()
        self.clusters: dict[str, pb.Cluster] = {}
        self.endpoints: dict[str, EndpointsSource] = {}

    def finish(self) -> pb.Tables:
        """Return the tables under the name of their content ("" when there is no row)."""
        content = self.tables.SerializeToString(deterministic=True)
        named = pb.Tables()
        named.CopyFrom(self.tables)
        named.name = hashlib.sha256(content).hexdigest() if content else ""
        return named

    def add_paths(self, match: tree.MatchPath) -> int:
        """Add a `path` matcher."""
        patterns = map(unescape, match.patterns)
        self.tables.paths.add(patterns=patterns, texts=parse_texts(match.patterns))
        return len(self.tables.paths) - 1

    def add_regexp(self, pattern: str, name: str, subject: pb.Subject.ValueType, field: str = "") -> int:
        """Add a regular expression on path, header or variable."""
        self.tables.regexps.add(pattern=pattern, name=name, subject=subject, field=field)
        return len(self.tables.regexps) - 1

    def add_hosts(self, match: tree.MatchHost) -> int:
        """Add a `host` matcher."""
        hosts = tuple(spell_host(host) for host in match.hosts)
        self.tables.hosts.add(values=hosts, texts=parse_texts(hosts))
        return len(self.tables.hosts) - 1

    def add_methods(self, match: tree.MatchMethod) -> int:
        """Add a `method` matcher."""
        self.tables.methods.add(values=[method.upper() for method in match.methods])
        return len(self.tables.methods) - 1

    def add_header(self, field: str, values: tuple[str, ...] | None) -> int:
        """Add one field of a `header` matcher; None asks for its absence."""
        texts = parse_texts(values or ())
        self.tables.headers.add(field=field, values=values or (), absent=values is None, texts=texts)
        return len(self.tables.headers) - 1

    def add_query(self, match: tree.MatchQuery) -> int:
        """Add a `query` matcher."""
        entries = [
            pb.KeyValue(
                key=key,
                values=values,
                texts=parse_texts(values),
                key_text=parse_text(key) if placeholders(key) else None,
            )
            for key, values in match.keys
        ]
        self.tables.queries.add(entries=entries)
        return len(self.tables.queries) - 1

    def add_protocol(self, match: tree.MatchProtocol) -> int:
        """Add a `protocol` matcher."""
        self.tables.protocols.append(match.protocol)
        return len(self.tables.protocols) - 1

    def add_addresses(self, ranges: tuple[str, ...]) -> int:
        """Add the CIDRs of `remote_ip` or `client_ip`."""
        self.tables.addresses.add(values=ranges)
        return len(self.tables.addresses) - 1

    def add_variable(self, subject: str, values: tuple[str, ...]) -> int:
        """Add one entry of a `vars` matcher; a bare name is a variable."""
        self.tables.variables.add(subject=subject_text(subject), values=values, texts=parse_texts(values))
        return len(self.tables.variables) - 1

    def add_trie(self, entries: Iterable[tuple[str, bool, int]]) -> int:
        """Add (path, exact, value) entries for `find_path`."""
        rows = [pb.PathTrieEntry(path=path, exact=exact, value=value) for path, exact, value in entries]
        self.tables.tries.add(entries=rows)
        return len(self.tables.tries) - 1

    def add_pattern_trie(self, entries: Iterable[tuple[SimplePattern, int]]) -> int:
        """Add (pattern, value) entries for `find_pattern`."""
        rows = [
            pb.PathTrieEntry(path=one.text.decode(), exact=one.kind is PatternKind.EXACT, value=value)
            for one, value in entries
        ]
        self.tables.pattern_tries.add(entries=rows)
        return len(self.tables.pattern_tries) - 1

    def add_rewrite(self, rewrite: tree.Rewrite) -> int:
        """Add a rewrite."""
        self.tables.rewrites.append(build_rewrite(rewrite))
        return len(self.tables.rewrites) - 1

    def add_header_changes(
        self,
        operations: tree.HeaderOperations,
        deferred: bool = False,
        require: tree.ResponseMatch | None = None,
    ) -> int:
        """Add changes of header fields; those of an answer may hold for answers that fit `require` only."""
        self.tables.header_changes.append(build_header_changes(operations, deferred, require))
        return len(self.tables.header_changes) - 1

    def add_response(self, response: tree.StaticResponse) -> int:
        """Add a static response."""
        headers = [
            pb.HeaderChange(operation=pb.HEADER_SET, name=parse_text(name), value=parse_text(value))
            for name, value in response.headers
        ]
        status, body = parse_text(response.status), parse_text(response.body)
        self.tables.responses.add(status=status, headers=headers, body=body, close=response.close)
        return len(self.tables.responses) - 1

    def add_credentials(self, auth: tree.BasicAuth) -> int:
        """Add the accounts of `basic_auth`."""
        accounts = [pb.Account(name=name, hash=digest) for name, digest in auth.accounts]
        self.tables.credentials.add(realm=auth.realm, accounts=accounts)
        return len(self.tables.credentials) - 1

    def add_assignments(self, variables: tuple[tuple[str, str], ...]) -> int:
        """Add the variables of `vars`."""
        rows = [pb.Assignment(name=name, value=parse_text(value)) for name, value in variables]
        self.tables.assignments.add(assignments=rows)
        return len(self.tables.assignments) - 1

    def add_proxy(
        self,
        proxy: tree.ReverseProxy,
        span: Span = NOWHERE,
        retry_entry: int = 0,
        response_entry: int = 0,
        answer_retry_entry: int = 0,
    ) -> int:
        """Add a `reverse_proxy` call, its cluster and its endpoints; `response_entry` sees the answer."""
        cluster = build_cluster(proxy, span)
        self.clusters[cluster.name] = cluster
        self.endpoints[cluster.endpoints] = name_endpoints(proxy.upstreams, proxy.dynamic)
        call = self.tables.proxies.add(cluster=cluster.name, trusted_proxies=proxy.trusted_proxies)
        call.retry_entry = retry_entry
        call.response_entry = response_entry
        call.answer_retry_entry = answer_retry_entry
        if proxy.request_headers:
            call.request_headers.CopyFrom(build_header_changes(proxy.request_headers))
        if proxy.response_headers:
            call.response_headers.CopyFrom(build_header_changes(proxy.response_headers, deferred=True))
        if proxy.fastcgi is not None:
            call.fastcgi.CopyFrom(build_fastcgi(proxy.fastcgi))
        if proxy.rewrite is not None:
            call.has_rewrite = True
            call.rewrite.CopyFrom(build_rewrite(proxy.rewrite))
        row = len(self.tables.proxies) - 1
        for mirror in proxy.resilience.mirrors:
            copied = self.add_proxy(mirrored_proxy(proxy, mirror), span)
            self.tables.proxies[row].mirrors.add(row=copied, percent=mirror.percent)
        return row


def build_rewrite(rewrite: tree.Rewrite) -> pb.Rewrite:
    """Return the table row of a rewrite."""
    row = pb.Rewrite(has_uri=bool(rewrite.uri))
    for name in ("method", "uri", "strip_path_prefix", "strip_path_suffix"):
        if value := getattr(rewrite, name):
            getattr(row, name).CopyFrom(parse_text(value))
    for find, replace, limit in rewrite.substring:
        row.substring.add(find=parse_text(find), replace=parse_text(replace), limit=fit(limit))
    for pattern, replace in rewrite.path_regexp:
        row.path_regexp.add(pattern=pattern, replace=parse_text(replace))
    deleted = [step for step in rewrite.query if step[0] == "delete"]
    for operation, key, value in (step for step in rewrite.query if step not in deleted):
        row.query.add(operation=_QUERY[operation], key=parse_text(key), value=parse_text(value))
    for one in rewrite.query_replace:
        change = row.query.add(
            operation=pb.QUERY_REPLACE, key=parse_text(one.field), value=parse_text(one.replace)
        )
        if one.regexp:
            change.pattern = one.search
        else:
            change.search.CopyFrom(parse_text(one.search))
    for _, key, _ in deleted:
        row.query.add(operation=pb.QUERY_DELETE, key=parse_text(key))
    return row


def build_header_changes(
    operations: tree.HeaderOperations, deferred: bool = False, require: tree.ResponseMatch | None = None
) -> pb.HeaderChanges:
    """Return header changes in Caddy's order of application: add, set, delete, replace (headers.go).

    Defaults are set where the answer, once it is written, has none of their fields.
    """
    if operations.default:
        require = tree.ResponseMatch(fields=tuple((name, None) for name, _ in operations.default))
    row = pb.HeaderChanges(deferred=deferred)
    if require is not None:
        row.require.CopyFrom(build_response_match(require))

    def change(operation: pb.HeaderOperation.ValueType, name: str, value: str = "") -> pb.HeaderChange:
        return row.changes.add(operation=operation, name=parse_text(name), value=parse_text(value))

    for name, value in operations.add:
        change(pb.HEADER_ADD, name, value)
    for name, value in (*operations.set, *operations.default):
        change(pb.HEADER_SET, name, value)
    for name in operations.delete:
        change(pb.HEADER_DELETE, name)
    for replacement in operations.replace:
        row_change = change(pb.HEADER_REPLACE, replacement.field, replacement.replace)
        if placeholders(replacement.search):
            row_change.search_template.CopyFrom(parse_text(replacement.search))
        else:
            row_change.search = replacement.search
        row_change.search_is_text = not replacement.regexp
    return row
