"""The `file` matcher and its try policies.

In: the segments of one matcher. Out: `MatchFile`. For `matchers` and `files` (fileserver/matcher.go).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zeroserve_ir.caddyfile.lexer import Token
from zeroserve_ir.caddyfile.meaning.profiles import Kind, check
from zeroserve_ir.caddyfile.meaning.reading import (
    Reading,
    only_argument,
    refusal,
    refuse_block,
    some_arguments,
    texts,
)
from zeroserve_ir.caddyfile.syntax import Segment
from zeroserve_ir.codes import Code
from zeroserve_ir.tree_files import MatchFile, TryPolicy


def read_file_matcher(segments: Sequence[Segment], reading: Reading) -> MatchFile:
    """`file <files…> { root … try_files … try_policy … split_path … }`; several lines are one matcher."""
    matcher = MatchFile()
    for segment in segments:
        matcher = replace(matcher, files=matcher.files + texts(segment.arguments))
        for inner in segment.block or ():
            check(reading, Kind.SUBDIRECTIVE, inner.name.text, inner.name, "file")
            matcher = _read_line(matcher, inner)
    return matcher


def _read_line(matcher: MatchFile, inner: Segment) -> MatchFile:
    match inner.name.text:
        case "root":
            return replace(matcher, root=only_argument(inner, "root PATH").text)
        case "try_files":
            refuse_block(inner)
            files = matcher.files + texts(inner.arguments)
            if not files:
                some_arguments(inner, "try_files FILE …")
            return replace(matcher, files=files)
        case "try_policy":
            return replace(matcher, policy=read_policy(only_argument(inner, "try_policy POLICY")))
        case _:
            return replace(matcher, split_path=texts(some_arguments(inner, "split_path SUFFIX …")))


def read_policy(token: Token) -> TryPolicy:
    """Return the policy of a name."""
    names = [policy.value for policy in TryPolicy if policy.value]
    if token.text not in names:
        cure = f"write {', '.join(names[:-1])} or {names[-1]}"
        raise refusal(Code.ZS0103, f"unknown policy {token.text!r}", token, cure)
    return TryPolicy(token.text)
