"""Tables of the engine whose keys come from the wire cannot be flooded: every hasher has a key of its own."""

import re
import tomllib
from pathlib import Path

ENGINE = Path(__file__).parents[2] / "dataplane/engine"
FORESEEABLE = re.compile(r"FxHash|\bfnv\b|BuildHasherDefault|nohash|with_seeds?\(|Hasher for ")
"""Hashers without a key, or with one that is written down."""


def test_no_hasher_of_the_engine_can_be_foreseen():
    sources = sorted((ENGINE / "src").rglob("*.rs"))
    assert sources
    found = [str(path) for path in sources if FORESEEABLE.search(path.read_text())]
    assert found == []


def test_the_keyed_hasher_takes_its_keys_when_it_runs():
    manifest = tomllib.loads((ENGINE / "Cargo.toml").read_text())
    ahash = manifest["dependencies"]["ahash"]
    assert "runtime-rng" in ahash["features"]
    assert "compile-time-rng" not in ahash["features"] and not ahash["default-features"]
