"""What a proxy call says about FastCGI. In: `tree_fastcgi.FastCgi`. Out: its message. Called by `tables`."""

from __future__ import annotations

import os

from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.program.texts import parse_text
from zeroserve_ir.tree_fastcgi import FastCgi

ROOT = "{http.vars.root}"


def build_fastcgi(fastcgi: FastCgi) -> pb.FastCgi:
    """Return the message; a relative root begins where the configuration was read."""
    return pb.FastCgi(
        root=parse_text(fastcgi.root or ROOT),
        base=os.getcwd(),
        split=[suffix.lower() for suffix in fastcgi.split],
        environment=[
            pb.Assignment(name=name, value=parse_text(value)) for name, value in fastcgi.environment
        ],
        capture_stderr=fastcgi.capture_stderr,
        resolved=[pb.KeyValue(key=root, values=[real]) for root, real in fastcgi.resolved_roots],
    )
