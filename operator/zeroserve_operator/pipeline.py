"""The pipeline without a cluster: a directory of manifests to a snapshot draft.

In: a directory. Out: `Loaded`: the draft, the diagnostics with file and line, the texts to quote. Called by
`zeroserve dev`, which compares fingerprints of the files, and by the corpora tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from zeroserve_ir.diagnostics import Diagnostic
from zeroserve_ir.drafting import SnapshotDraft
from zeroserve_ir.tree import Site

from zeroserve_operator.building.model import Builder
from zeroserve_operator.default_certificates import make_default_certificate, to_message
from zeroserve_operator.manifests import Manifests, load_directory
from zeroserve_operator.settings import BuildSettings
from zeroserve_operator.store import Store

DEV_SETTINGS = BuildSettings(claim_all=True, local=True)
Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a directory asks for."""

    draft: SnapshotDraft
    diagnostics: tuple[Diagnostic, ...]
    manifests: Manifests
    sites: tuple[Site, ...]


class Pipeline:
    """Loads directories; remembers what it built, so that a change builds what it touches."""

    def __init__(
        self, settings: BuildSettings = DEV_SETTINGS, now: Callable[[], datetime] | None = None
    ) -> None:
        self.settings = settings
        self._former = Manifests({}, (), {})
        self._now = now or (lambda: datetime.now(UTC))
        self._builder = Builder(settings, to_message(make_default_certificate(self._now())))

    def load_directory(self, directory: Path) -> Loaded:
        """Load all manifests below a directory, or one file.

        What a file held before it was broken stays until it is mended or gone.
        """
        self._former = load_directory(directory).keep_former(self._former)
        return self.load(self._former)

    def load(self, manifests: Manifests) -> Loaded:
        """Build the objects of manifests."""
        store = Store(self.settings)
        for key, raw in manifests.objects.items():
            store.put(key, raw)
        build = self._builder.build(store, self._now())
        found = [*manifests.diagnostics]
        for key in sorted(build.outcomes, key=lambda key: key.order):
            outcome = build.outcomes[key]
            found.extend(manifests.locate(item) for item in outcome.diagnostics)
        return Loaded(build.draft, tuple(dict.fromkeys(found)), manifests, self._builder.sites())


def take_fingerprint(paths: Iterable[Path]) -> Fingerprint:
    """Return name, size and time of change of files; those that vanish meanwhile are left out."""
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_size, status.st_mtime_ns))
    return tuple(found)
