"""Real manifests: each one loads, and none serves open what it should have closed."""

import re
from pathlib import Path

import pytest
from header_snippets import sets_headers
from zeroserve_ir import tree
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_operator.pipeline import Pipeline

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpora" / "ingress"
FILES = sorted(CORPUS.glob("*.yaml")) if CORPUS.is_dir() else []
PREFIX = "nginx.ingress.kubernetes.io/"
# Said here again, apart from the implementation: names that ingress-nginx documents as access control.
RESTRICTING = re.compile(
    r"auth-(snippet|tls-secret)|.*-snippet|enable-modsecurity|modsecurity-.*"
    r"|enable-owasp-core-rules"
)
"""What is not honoured, or needs the authorities of clients, which no manifest here brings."""
PIPELINE = Pipeline()


def walk(routes):
    for route in routes:
        for handler in route.handlers:
            yield route, handler
            if isinstance(handler, tree.Subroute):
                yield from walk(handler.routes)


@pytest.mark.corpora
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_real_manifest_loads(file):
    loaded = PIPELINE.load_directory(file)
    kinds = {kind for kind, _ in loaded.draft.resources}
    assert {pb.SETTINGS, pb.LISTENER} <= kinds
    for item in loaded.diagnostics:
        assert item.span.file == str(file) and item.span.line > 0, item.render_short()
        assert item.origin is None or item.origin.field, item.render_short()
    named = " ".join(item.message for item in loaded.diagnostics)
    for raw in loaded.manifests.objects.values():
        annotations = (raw.get("metadata") or {}).get("annotations") or {}
        restricting = [
            key
            for key, value in annotations.items()
            if key.startswith(PREFIX)
            and RESTRICTING.fullmatch(key.removeprefix(PREFIX))
            and str(value).strip().lower() not in ("", "false", "off")
            and not sets_headers(key.removeprefix(PREFIX), str(value))
        ]
        for key in restricting:
            # Of a missing Secret the place is told, and nothing of one that another annotation closes.
            assert key in named or key.endswith("auth-tls-secret")
        if loaded.sites and f"{PREFIX}auth-url" in annotations and f"{PREFIX}auth-url" not in named:
            asked = [handler for site in loaded.sites for _, handler in walk(site.routes)]
            assert [one for one in asked if isinstance(one, tree.ReverseProxy) and one.response_handlers]
        if restricting:
            opened = [handler for site in loaded.sites for _, handler in walk(site.routes)]
            assert not [handler for handler in opened if isinstance(handler, tree.ReverseProxy)]


@pytest.mark.corpora
def test_all_of_them_load_as_one_directory():
    loaded = Pipeline().load_directory(CORPUS)
    assert len(loaded.sites) > 100
