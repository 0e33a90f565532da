"""Image archives: what the OCI image layout asks for, and the same bytes from the same input."""

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from images.archives import Architecture, Config, LayerWriter, read_layer, write, write_program


def blob(archive: tarfile.TarFile, digest: str) -> bytes:
    content = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
    assert content is not None
    data = content.read()
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == digest
    return data


def program_image(tmp_path: Path, name: str = "image.tar") -> Path:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF program")
    target = tmp_path / name
    write_program(target, "registry.test/program:1", program, Architecture.ARM64)
    return target


def manifest_of(archive: tarfile.TarFile) -> tuple[dict[str, Any], dict[str, Any]]:
    index = archive.extractfile("index.json")
    assert index is not None
    (described,) = json.loads(index.read())["manifests"]
    return described, json.loads(blob(archive, described["digest"]))


def test_every_blob_is_what_its_digest_says(tmp_path: Path) -> None:
    with tarfile.open(program_image(tmp_path)) as archive:
        described, manifest = manifest_of(archive)
        config = json.loads(blob(archive, manifest["config"]["digest"]))
        layers = [blob(archive, layer["digest"]) for layer in manifest["layers"]]
    assert [layer["size"] for layer in manifest["layers"]] == [len(layer) for layer in layers]
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert (config["architecture"], config["config"]["Entrypoint"]) == ("arm64", ["/app"])
    assert described["annotations"]["io.containerd.image.name"] == "registry.test/program:1"


def test_an_image_runs_as_nobody_who_could_write_it(tmp_path: Path) -> None:
    with tarfile.open(program_image(tmp_path)) as archive:
        _, manifest = manifest_of(archive)
        config = json.loads(blob(archive, manifest["config"]["digest"]))
    assert config["config"]["User"] == "65532:65532"


def test_files_of_other_times_and_owners_give_the_same_archive(tmp_path: Path) -> None:
    first = program_image(tmp_path).read_bytes()
    os.utime(tmp_path / "program", (1, 1))
    assert program_image(tmp_path, "again.tar").read_bytes() == first


def test_a_tree_comes_sorted_with_links_as_they_are_and_without_set_id_bits(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "b").mkdir(parents=True)
    (root / "a").write_text("one")
    (root / "a").chmod(0o4755)
    (root / "b" / "link").symlink_to("/usr/bin/python3.11")
    writer = LayerWriter(tmp_path / "layer.tar")
    writer.tree(root)
    layer = writer.finish()
    with tarfile.open(layer.path) as tar:
        entries = [(entry.name, oct(entry.mode), entry.linkname) for entry in tar]
    assert entries == [
        ("a", "0o755", ""),
        ("b", "0o755", ""),
        ("b/link", "0o777", "/usr/bin/python3.11"),
    ]
    assert layer == read_layer(layer.path)


def test_a_folder_is_written_once_and_after_those_above_it(tmp_path: Path) -> None:
    writer = LayerWriter(tmp_path / "layer.tar")
    writer.data("usr/local/bin/one", b"1")
    writer.data("usr/local/bin/two", b"2")
    with tarfile.open(writer.finish().path) as tar:
        assert tar.getnames() == [
            "usr",
            "usr/local",
            "usr/local/bin",
            "usr/local/bin/one",
            "usr/local/bin/two",
        ]


@pytest.mark.parametrize("labels", [{}, {"a": "1"}, {"a": "2"}])
def test_labels_make_another_image_of_the_same_layers(tmp_path: Path, labels: dict[str, str]) -> None:
    writer = LayerWriter(tmp_path / "layer.tar")
    writer.data("file", b"content")
    layer = writer.finish()
    plain = write(tmp_path / "plain", "r.test/i:1", [layer], Config(("/file",)), Architecture.AMD64)
    labelled = write(
        tmp_path / "labelled", "r.test/i:1", [layer], Config(("/file",), labels=labels), Architecture.AMD64
    )
    assert (plain == labelled) == (not labels)
