"""Shared by the operator's tests: manifests as text, through the whole build."""

import textwrap
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from zeroserve_operator.manifests import load_texts
from zeroserve_operator.pipeline import DEV_SETTINGS, Loaded, Pipeline
from zeroserve_operator.settings import BuildSettings

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def build() -> Callable[..., Loaded]:
    """Return a function from YAML text to what it builds."""

    def run(text: str, settings: BuildSettings = DEV_SETTINGS) -> Loaded:
        pipeline = Pipeline(settings, now=lambda: NOW)
        return pipeline.load(load_texts({"case.yaml": textwrap.dedent(text)}))

    return run


@pytest.fixture
def ingress() -> Callable[..., str]:
    """Return a function that writes an Ingress of one rule."""

    def write(
        name: str = "shop",
        *,
        host: str = "shop.example",
        paths: tuple[tuple[str, str], ...] = (("/", "Prefix"),),
        annotations: dict[str, str] | None = None,
        tls: str = "",
        created: str = "2026-01-01T00:00:00Z",
        extra: str = "",
    ) -> str:
        lines = ["apiVersion: networking.k8s.io/v1", "kind: Ingress", "metadata:"]
        lines += [f"  name: {name}", f'  creationTimestamp: "{created}"']
        if annotations:
            lines.append("  annotations:")
            for key, value in annotations.items():
                full = key if "/" in key else f"nginx.ingress.kubernetes.io/{key}"
                lines.append(f"    {full}: {value!r}")
        lines += ["spec:"]
        if extra:
            lines.append(f"  {extra}")
        if tls:
            lines += ["  tls:", f"    - hosts: [{host}]", f"      secretName: {tls}"]
        lines += ["  rules:", f"    - host: {host!r}", "      http:", "        paths:"]
        for path, kind in paths:
            lines.append(f"          - path: {path!r}")
            lines.append(f"            pathType: {kind}")
            lines.append(f"            backend: {{service: {{name: {name}, port: {{number: 80}}}}}}")
        return "\n".join(lines) + "\n"

    return write
