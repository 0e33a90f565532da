"""The last good snapshot: what is written comes back, and nothing damaged ever does."""

import stat
from pathlib import Path

import pytest
from zeroserve_dataplane import last_good
from zeroserve_dataplane.last_good import DamagedError, LastGood, NotMemoryBackedError
from zeroserve_ir._pb import resources_pb2 as pb
from zeroserve_ir.drafting import SnapshotDraft, make_resource


def make_draft(port: int) -> SnapshotDraft:
    return SnapshotDraft.of(
        [
            make_resource(pb.Listener(name="http", port=port)),
            make_resource(pb.Certificate(name="a/b", hosts=["a.example"], chain=[b"der"], key=b"secret")),
        ]
    )


def keep(directory: Path) -> LastGood:
    return LastGood(directory, allow_disk=True)


def keep_two(directory: Path) -> None:
    """Save 80, in snapshot-1, and 81, in snapshot-0."""
    writer = keep(directory)
    writer.save(make_draft(80))
    writer.save(make_draft(81))


def test_an_empty_directory_holds_nothing(tmp_path):
    loaded = keep(tmp_path).load()
    assert loaded.draft is None
    assert loaded.diagnostics == ()


def test_the_newest_generation_comes_back_after_a_restart(tmp_path):
    writer = keep(tmp_path)
    for port in (80, 81, 82):
        writer.save(make_draft(port))
    assert keep(tmp_path).load().draft == make_draft(82)


def test_a_restarted_agent_goes_on_counting_generations(tmp_path):
    keep(tmp_path).save(make_draft(80))
    second = keep(tmp_path)
    second.load()
    second.save(make_draft(81))
    assert keep(tmp_path).load().draft == make_draft(81)


def test_files_are_readable_by_the_owner_alone(tmp_path):
    keep(tmp_path).save(make_draft(80))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


def test_two_generations_are_kept_and_no_temporary_file(tmp_path):
    writer = keep(tmp_path)
    for port in range(80, 90):
        writer.save(make_draft(port))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snapshot-0", "snapshot-1"]


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_refused(mask):
    content = last_good.encode_snapshot(7, make_draft(80).resources.values(), make_draft(80).version)
    assert last_good.decode_snapshot(content)[0] == 7
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= mask
        with pytest.raises(DamagedError):
            last_good.decode_snapshot(bytes(damaged))


def test_every_truncation_and_every_addition_is_refused():
    content = last_good.encode_snapshot(1, make_draft(80).resources.values(), make_draft(80).version)
    for length in range(len(content)):
        with pytest.raises(DamagedError):
            last_good.decode_snapshot(content[:length])
    with pytest.raises(DamagedError):
        last_good.decode_snapshot(content + b"\0")


def test_a_snapshot_whose_resources_are_not_of_their_versions_is_refused():
    resource = make_resource(pb.Listener(name="http", port=80))
    forged = pb.Resource(type=resource.type, name="http", version=resource.version, payload=b"\x18\x51")
    draft = SnapshotDraft.of([forged])
    with pytest.raises(DamagedError, match="not of its version"):
        last_good.decode_snapshot(last_good.encode_snapshot(1, [forged], draft.version))


def test_a_damaged_newest_generation_falls_back_to_the_older_with_a_diagnostic(tmp_path):
    keep_two(tmp_path)
    newest = tmp_path / "snapshot-0"
    newest.write_bytes(newest.read_bytes()[:-1])
    loaded = keep(tmp_path).load()
    assert loaded.draft == make_draft(80)
    assert [diagnostic.code.name for diagnostic in loaded.diagnostics] == ["ZS0701"]


def test_both_generations_damaged_is_no_snapshot(tmp_path):
    keep_two(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    loaded = keep(tmp_path).load()
    assert loaded.draft is None
    assert len(loaded.diagnostics) == 2


def test_an_older_generation_that_is_damaged_is_told_beside_a_sound_newest(tmp_path):
    keep_two(tmp_path)
    (tmp_path / "snapshot-1").write_bytes(b"")
    loaded = keep(tmp_path).load()
    assert loaded.draft == make_draft(81)
    assert [diagnostic.code.name for diagnostic in loaded.diagnostics] == ["ZS0701"]


def test_a_newest_generation_of_forged_resources_falls_back_to_the_older(tmp_path):
    writer = keep(tmp_path)
    writer.save(make_draft(80))
    sound = make_draft(81)
    listener, certificate = sound.resources.values()
    forged = pb.Resource(
        type=listener.type, name=listener.name, version=listener.version, payload=b"\x18\x51"
    )
    content = last_good.encode_snapshot(2, [forged, certificate], sound.version)
    (tmp_path / "snapshot-0").write_bytes(content)
    loaded = keep(tmp_path).load()
    assert loaded.draft == make_draft(80)
    assert "not of its version" in loaded.diagnostics[0].message


def test_what_was_found_is_not_written_again(tmp_path):
    keep(tmp_path).save(make_draft(80))
    second = keep(tmp_path)
    second.save(second.load().draft)
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot-1"]


def test_what_was_found_beside_a_damaged_one_is_written_again(tmp_path):
    keep_two(tmp_path)
    (tmp_path / "snapshot-0").write_bytes(b"")
    second = keep(tmp_path)
    second.save(second.load().draft)
    third = keep(tmp_path).load()
    assert (third.draft, third.diagnostics) == (make_draft(80), ())


def test_a_write_that_fails_leaves_the_older_generation(tmp_path, monkeypatch):
    writer = keep(tmp_path)
    writer.save(make_draft(80))

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(last_good.os, "fsync", refuse)
        with pytest.raises(OSError, match="No space"):
            writer.save(make_draft(81))
    assert keep(tmp_path).load().draft == make_draft(80)
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot-1"]


def test_a_directory_on_a_disk_is_refused(tmp_path):
    if last_good.find_filesystem(tmp_path) in last_good.MEMORY_FILESYSTEMS:
        tmp_path = Path(__file__).parent
    with pytest.raises(NotMemoryBackedError, match="private keys"):
        LastGood(tmp_path)


def test_a_directory_on_tmpfs_is_taken():
    assert last_good.find_filesystem(Path("/dev/shm")) == "tmpfs"
