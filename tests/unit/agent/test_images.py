"""Sealed images: what was digested is what can be mapped, for ever."""

import fcntl
import mmap
import os

import pytest
from zeroserve_dataplane.enginelink import images
from zeroserve_dataplane.enginelink.images import SEALS, seal_code

CODE = bytes(range(256)) * 40


@pytest.fixture
def sealed():
    descriptor = seal_code(CODE, "a" * 64)
    yield descriptor
    os.close(descriptor)


def test_the_content_is_the_code(sealed):
    assert os.pread(sealed, len(CODE) + 1, 0) == CODE


def test_all_four_seals_are_on_it(sealed):
    assert fcntl.fcntl(sealed, fcntl.F_GET_SEALS) & SEALS == SEALS


@pytest.mark.parametrize(
    "change",
    [
        lambda descriptor: os.pwrite(descriptor, b"x", 0),
        lambda descriptor: os.ftruncate(descriptor, 1),
        lambda descriptor: os.ftruncate(descriptor, len(CODE) * 2),
        lambda descriptor: fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK),
        lambda descriptor: mmap.mmap(descriptor, 1, mmap.MAP_SHARED, mmap.PROT_WRITE | mmap.PROT_READ),
    ],
    ids=["write", "shrink", "grow", "seal again", "map writable"],
)
def test_nothing_can_change_it(sealed, change):
    with pytest.raises(PermissionError):
        change(sealed)


def test_it_can_be_mapped_readable_and_executable(sealed):
    mapped = mmap.mmap(sealed, len(CODE), mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_EXEC)
    assert mapped[:16] == CODE[:16]
    mapped.close()


def test_a_kernel_without_the_newer_flag_still_seals(monkeypatch):
    create = os.memfd_create

    def old_kernel(name: str, flags: int) -> int:
        if flags & 0x0008:
            raise OSError(22, "Invalid argument")
        return create(name, flags)

    monkeypatch.setattr(images.os, "memfd_create", old_kernel)
    descriptor = seal_code(b"code", "x")
    assert fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS == SEALS
    os.close(descriptor)
