# SPDX-License-Identifier: GPL-2.0-or-later
"""With arbitrary input from a client the server keeps running, and serves the next client."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING

import pytest
import vfio_client as v
from example_device import REGISTERS, SCRATCH, ExampleDevice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import ServedDevice
from vfio_client import Disconnected, VfioClient, VfioError

if TYPE_CHECKING:
    from collections.abc import Iterator

ID = 0x70667431
COMMANDS = st.one_of(st.integers(0, 20), st.integers(0, 0xFFFF))
NUMBERS = st.one_of(
    st.integers(0, 64),
    st.sampled_from((0x1000, 0x1FFF, 0x2000, 0x1000_0000, 1 << 31, (1 << 32) - 1)),
    st.integers(0, (1 << 32) - 1),
)
PAYLOADS = st.one_of(
    st.binary(max_size=80),
    st.lists(NUMBERS, max_size=20).map(lambda numbers: struct.pack(f"<{len(numbers)}I", *numbers)),
)
FLAGS = st.sampled_from((0, 0, 0, 0x10, 0x10, 1, 2, 0x20, 0xFFFF_FFFF))
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDevice]:
    device = ServedDevice(ExampleDevice, tmp_path_factory.mktemp("garbage") / "device.sock")
    device.may_fail = True  # one register of the example raises
    yield device
    device.close()


def lives(served: ServedDevice, client: VfioClient) -> None:
    """The client is still served, or was disconnected and the next one is served."""
    try:
        assert client.read(0, 0) == ID
    except Disconnected:
        pass
    finally:
        client.close()
    again = served.client()
    assert again.read(0, 0) == ID
    again.close()


@FUZZ
@given(data=st.binary(max_size=400), negotiated=st.booleans())
def test_any_bytes(served: ServedDevice, data: bytes, negotiated: bool) -> None:
    client = served.client() if negotiated else served.connect()
    with contextlib.suppress(Disconnected):
        client.send_raw(data)
    client.close()
    again = served.client()
    assert again.read(0, 0) == ID
    again.close()


@FUZZ
@given(st.lists(st.tuples(COMMANDS, PAYLOADS, FLAGS, st.integers(0, 3)), max_size=12))
def test_any_messages(served: ServedDevice, messages: list[tuple[int, bytes, int, int]]) -> None:
    """Well-framed garbage with descriptors, in one piece: each message has one reply, or none, by its flags."""
    client = served.client()
    fd = os.memfd_create("nonsense")
    os.ftruncate(fd, 0x4000)
    with contextlib.suppress(Disconnected):
        for number, (command, payload, flags, descriptors) in enumerate(messages):
            client.send(command, payload, [fd] * descriptors, flags=flags, message_id=number)
            if flags & 0xF != 1 and flags & 0x10 == 0:
                with contextlib.suppress(VfioError):
                    client.reply_to(number)
    os.close(fd)
    lives(served, client)


@FUZZ
@given(
    values=st.lists(st.integers(0, 0xFFFF_FFFF), min_size=1, max_size=300),
    pieces=st.lists(st.integers(1, 200), max_size=10),
    posted=st.sampled_from(("one", "many")),
)
def test_stream_in_any_pieces(served: ServedDevice, values: list[int], pieces: list[int], posted: str) -> None:
    """The boundaries of sends have no effect."""
    client = served.client()
    if posted == "one":
        stream = b"".join(
            struct.pack("<HHIIIQIII", 1, v.REGION_WRITE, 36, 0x10, 0, SCRATCH.offset, 0, 4, value) for value in values
        )
    else:
        stream = struct.pack("<HHIIIQ", 1, v.REGION_WRITE_MULTI, 24 + 24 * len(values), 0x10, 0, len(values))
        stream += b"".join(struct.pack("<QIIQ", SCRATCH.offset, 0, 4, value) for value in values)
    stream += struct.pack("<HHIIIQII", 9, v.REGION_READ, 32, 0, 0, SCRATCH.offset, 0, 4)
    at = 0
    for piece in pieces:
        client.send_raw(stream[at : at + piece])
        at += piece
    if at < len(stream):
        client.send_raw(stream[at:])
    assert client.reply_to(9).payload[16:] == struct.pack("<I", values[-1])
    client.close()


@FUZZ
@given(st.lists(st.tuples(st.integers(0, 0x1FF), st.sampled_from((1, 2, 4, 8)), st.integers(0)), max_size=20))
def test_any_register_access(served: ServedDevice, accesses: list[tuple[int, int, int]]) -> None:
    client = served.client()
    for offset, size, value in accesses:
        assert client.read(4, offset, size) < 1 << 8 * size
        client.post(4, offset, value % (1 << 8 * size), size)
        assert client.read(4, offset, size) == value % (1 << 8 * size)
        if all(register.name != "CRASH" for register in REGISTERS if abs(register.offset - offset) < 8):
            client.read(0, offset, size)
    client.close()
