"""Manifests through the running engine: served where they ask for it, closed where they must be.

The committed manifests always run; the real ones of the corpora where they lie beside the repository. One
node serves all of them in turn, so that a manifest that harmed it would be found by its successor.
"""

import asyncio
import dataclasses
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
from ports import free_port

sys.path.insert(0, str(Path(__file__).parent))

from expecting import probes_of
from probing import add_accounts, add_backends, ask, path_backend
from zeroserve_dataplane.agent.embedding import EmbeddedNode
from zeroserve_dataplane.settings import EmbeddedSettings
from zeroserve_ir.authorities import Authority
from zeroserve_ir.codes import Code
from zeroserve_ir.diagnostics import Severity
from zeroserve_operator.manifests import find_files, load_files
from zeroserve_operator.pipeline import DEV_SETTINGS, Pipeline
from zeroserve_operator.resources.objects import Kind
from zeroserve_operator.settings import ListenerSettings

RESTRICTED = Code.ZS0402
"""Says that a route is closed on purpose: no fault of the object."""
OWN = Path(__file__).with_name("manifests")
CORPUS = Path(__file__).resolve().parents[4] / "shared" / "corpora" / "ingress"


def make_settings():
    listeners = (
        ListenerSettings("http", free_port(), 80, tls=False, address="127.0.0.1"),
        ListenerSettings("https", free_port(), 443, tls=True, address="127.0.0.1"),
    )
    return dataclasses.replace(DEV_SETTINGS, listeners=listeners, access_log=False)


def make_probes(manifests, loaded):
    """Return the probes of a manifest; where two Ingresses claim a host and path, either may answer."""
    faulty = {
        (item.origin.namespace, item.origin.name)
        for item in loaded.diagnostics
        if item.severity is Severity.ERROR and item.origin is not None and item.code is not RESTRICTED
    }
    by_target = {}
    for key, raw in manifests.objects.items():
        if key.kind is not Kind.INGRESS:
            continue
        for probe in probes_of(raw, (key.namespace, key.name) in faulty):
            target = (probe.host, probe.path, probe.tls, probe.has_account)
            if other := by_target.get(target):
                either = probe.statuses | other.statuses
                by_target[target] = dataclasses.replace(
                    probe, statuses=either, upstream_path=None, services=probe.services | other.services
                )
            else:
                by_target[target] = probe
    return list(by_target.values())


async def probe_all(settings, probes, called_at):
    failures = []
    for probe in probes:
        port = settings.listeners[probe.tls].port
        status, location, seen = await asyncio.to_thread(ask, port, probe)
        scheme = "https" if probe.tls else "http"
        what = f"{scheme}://{probe.host}{probe.path}: {status} {location or ''} {seen or ''}"
        if status not in probe.statuses:
            failures.append(f"{what}; allowed {sorted(probe.statuses)}")
        elif (
            seen is not None
            and probe.upstream_path is not None
            and unquote(seen[0]) != unquote(probe.upstream_path)
        ):
            failures.append(f"{what}; the backend should see {probe.upstream_path}")
        elif seen is not None and called_at[seen[1]][1] not in probe.services:
            failures.append(f"{what}; {called_at[seen[1]]} answered, not {sorted(probe.services)}")
        elif status == 308 and not (location or "").startswith("https://"):
            failures.append(what)
        elif status == 200 and seen is None:
            failures.append(f"{what}; no backend answered")
    return failures


async def serve_each(files, node_settings, ports):
    """Apply one manifest after the other to one node; return what went wrong, by file."""
    settings = make_settings()
    pipeline = Pipeline(settings)
    failures, answered = {}, 0
    async with EmbeddedNode(node_settings) as node:
        for file in files:
            manifests = load_files(find_files(file))
            objects, called_at = add_backends(add_accounts(manifests.objects), *ports)
            manifests = dataclasses.replace(manifests, objects=objects)
            loaded = pipeline.load(manifests)
            outcome = await node.apply(loaded.draft)
            probes = make_probes(manifests, loaded)
            answered += len(probes)
            found = [str(refusal.diagnostic.message) for refusal in outcome.refusals]
            found += await probe_all(settings, probes, called_at)
            if found:
                failures[file.name] = found
        assert node.node.state.engine.restarts == 0
    assert answered
    return failures


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    now = datetime.now(UTC)
    folder = tmp_path_factory.mktemp("backend")
    (folder / "both.pem").write_bytes(Authority.create("backend", now, timedelta(days=1)).dump())
    with path_backend() as plain, path_backend((folder / "both.pem", folder / "both.pem")) as tls:
        yield plain, tls


@pytest.fixture
def node_settings(tmp_path):
    return EmbeddedSettings(workers=1, cache_directory=tmp_path)


def check(files, node_settings, ports):
    failures = asyncio.run(serve_each(files, node_settings, ports))
    lines = [f"{name}: {line}" for name, found in failures.items() for line in found]
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def test_own_manifests_answer_as_they_say(node_settings, ports):
    files = sorted(OWN.glob("*.yaml"))
    check(files, node_settings, ports)


@pytest.mark.corpora
def test_real_manifests_answer_as_they_say(node_settings, ports):
    files = sorted(CORPUS.glob("*.yaml"))
    check(files, node_settings, ports)
