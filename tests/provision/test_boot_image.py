# SPDX-License-Identifier: GPL-2.0-or-later
"""bzImages taken apart."""

import bz2
import gzip
import lzma
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugfest.errors import UsageError
from plugfest.provision.boot_image import BootImage, has_pvh_note


def elf(notes: bytes) -> bytes:
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", header, 32, 64)  # program headers follow
    struct.pack_into("<HH", header, 54, 56, 1)
    segment = struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, len(notes), len(notes), 4)
    return bytes(header) + segment + notes


def note(kind: int, name: bytes = b"Xen\0", data: bytes = b"\0\0\0\1") -> bytes:
    padded = [part + bytes(-len(part) % 4) for part in (name, data)]
    return struct.pack("<III", len(name), len(data), kind) + b"".join(padded)


PVH = elf(note(6) + note(18))


def bzimage(payload: bytes, release: str = "7.3.4-test") -> bytes:
    data = bytearray(2 * 512)
    data[0x1F1] = 1
    data[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", data, 0x20E, 0x300 - 0x200)
    text = f"{release} (build@host) #1".encode()
    data[0x300 : 0x300 + len(text)] = text
    struct.pack_into("<II", data, 0x248, 16, len(payload))
    return bytes(data) + bytes(16) + payload


def reject_zstd(_stream: bytes) -> bytes:
    raise AssertionError("not zstd")


def test_release():
    assert BootImage(bzimage(b""), "x").release == "7.3.4-test"


SIZE = struct.pack("<I", len(PVH))


@pytest.mark.parametrize(
    "payload",
    [
        gzip.compress(PVH),
        lzma.compress(PVH) + SIZE,
        bz2.compress(PVH) + SIZE,
        lzma.compress(PVH, lzma.FORMAT_ALONE) + SIZE,
        PVH,
    ],
    ids=["gzip", "xz", "bzip2", "lzma", "none"],
)
def test_vmlinux(payload):
    assert BootImage(bzimage(payload), "x").vmlinux(reject_zstd) == PVH


def test_zstd_gets_the_stream_without_the_size():
    seen = []

    def decompress(stream: bytes) -> bytes:
        seen.append(stream)
        return PVH

    assert BootImage(bzimage(b"\x28\xb5\x2f\xfdstream" + SIZE), "x").vmlinux(decompress) == PVH
    assert seen == [b"\x28\xb5\x2f\xfdstream"]


def test_without_the_note_the_bzimage_is_booted():
    assert BootImage(bzimage(gzip.compress(elf(note(6)))), "x").vmlinux(reject_zstd) is None


def test_unknown_compression_is_booted_as_it_is():
    assert BootImage(bzimage(b"\x02\x21\x4c\x18lz4"), "x").vmlinux(reject_zstd) is None


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (PVH + bytes(1000), "an ELF file"),
        (gzip.compress(bytes(9), mtime=0), "a compressed file"),
    ],
)
def test_what_is_no_bzimage(data, found):
    with pytest.raises(UsageError, match=found):
        BootImage(data, "it")


def test_note_of_another_owner_does_not_count():
    assert not has_pvh_note(elf(note(18, b"GNU\0")))
    assert has_pvh_note(elf(note(1, b"GNU\0", b"12345") + note(18)))


@given(st.binary(max_size=300))
def test_garbage_is_no_pvh_image(data):
    assert not has_pvh_note(b"\x7fELF\x02\x01" + data) or b"Xen" in data
