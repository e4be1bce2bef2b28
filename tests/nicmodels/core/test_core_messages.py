# SPDX-License-Identifier: GPL-2.0-or-later
"""Every vfio-user message, right and wrong (QEMU, docs/interop/vfio-user.rst)."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import struct
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import vfio_client as v
from example_device import CRASH, LENGTH, LINE, RAISE, SCRATCH, SOURCE, STATUS, TARGET, ExampleDevice
from nicmodels.pci import ResetCause
from vfio_client import GuestRam, VfioClient, VfioError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from served import ServedDevice

ID = 0x70667431
MAX_TRANSFER = 1 << 20


@pytest.fixture
def served(serve: Callable[..., ServedDevice]) -> ServedDevice:
    return serve(ExampleDevice)


@pytest.fixture
def client(served: ServedDevice) -> VfioClient:
    return served.client()


@pytest.fixture
def shared_fd() -> Iterator[int]:
    fd = os.memfd_create("bar")
    os.ftruncate(fd, 0x2000)
    yield fd
    os.close(fd)


def refused(client: VfioClient, number: int, command: int, payload: bytes = b"", fds: tuple[int, ...] = ()) -> None:
    """The request gets this error, and the connection works afterwards."""
    with pytest.raises(VfioError) as caught:
        client.request(command, payload, fds)
    assert caught.value.errno == number
    assert client.read(0, 0) == ID


class TestVersion:
    def test_agrees_on_the_clients_version_and_capabilities(self, served: ServedDevice) -> None:
        client = served.connect()
        major, minor, capabilities = client.negotiate()
        assert (major, minor) == (0, 0)
        assert capabilities == {
            "max_msg_fds": 16,
            "max_data_xfer_size": MAX_TRANSFER,
            "pgsizes": 4096,
            "write_multiple": True,
        }

    def test_minor_is_never_above_the_proposed(self, served: ServedDevice) -> None:
        assert served.connect().negotiate(minor=7)[1] <= 7

    def test_capabilities_are_a_subset_of_the_proposed(self, served: ServedDevice) -> None:
        assert served.connect().negotiate(capabilities={"max_msg_fds": 1, "unheard_of": {}})[2] == {"max_msg_fds": 16}

    def test_version_data_is_optional(self, served: ServedDevice) -> None:
        client = served.connect()
        assert client.request(v.VERSION, struct.pack("<HH", 0, 1)).payload[:2] == b"\0\0"
        assert client.read(0, 0) == ID

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"\0\0",
            struct.pack("<HH", 1, 0),
            struct.pack("<HH", 0, 1) + b"no json\0",
            struct.pack("<HH", 0, 1) + b"\xff\xfe\0",
            struct.pack("<HH", 0, 1) + b"[1]\0",
            struct.pack("<HH", 0, 1) + b'{"capabilities": 3}\0',
            struct.pack("<HH", 0, 1) + b'{"capabilities": {"max_data_xfer_size": "big"}}\0',
            struct.pack("<HH", 0, 1) + b'{"capabilities": {"max_msg_fds": -1}}\0',
            struct.pack("<HH", 0, 1) + b"[" * 100_000,
        ],
    )
    def test_bad_proposal_is_refused_and_the_connection_closed(self, served: ServedDevice, payload: bytes) -> None:
        client = served.connect()
        with pytest.raises(VfioError) as caught:
            client.request(v.VERSION, payload)
        assert caught.value.errno == errno.EINVAL
        assert client.closed_by_server()
        assert served.client().read(0, 0) == ID

    def test_second_version_is_refused(self, client: VfioClient) -> None:
        refused(client, errno.EINVAL, v.VERSION, struct.pack("<HH", 0, 0))

    @pytest.mark.parametrize(
        ("command", "payload"),
        [(v.REGION_READ, struct.pack("<QII", 0, 0, 4)), (v.DEVICE_RESET, b""), (v.DEVICE_GET_INFO, bytes(16))],
    )
    def test_nothing_works_before_version(self, served: ServedDevice, command: int, payload: bytes) -> None:
        client = served.connect()
        with pytest.raises(VfioError) as caught:
            client.request(command, payload)
        assert caught.value.errno == errno.EINVAL
        client.negotiate()
        assert client.read(0, 0) == ID


class TestInfo:
    def test_device(self, client: VfioClient) -> None:
        assert client.device_info() == (3, 9, 5)

    @pytest.mark.parametrize("payload", [b"", bytes(15), struct.pack("<IIII", 15, 0, 0, 0)])
    def test_bad_device_info(self, client: VfioClient, payload: bytes) -> None:
        refused(client, errno.EINVAL, v.DEVICE_GET_INFO, payload)

    @pytest.mark.parametrize(
        ("index", "size"), [(0, 0x1000), (1, 0), (2, 0x1000), (3, 0), (4, 0x2000), (5, 0), (6, 0), (7, 4096), (8, 0)]
    )
    def test_regions(self, client: VfioClient, index: int, size: int) -> None:
        info = client.region_info(index)
        assert (info.size, info.flags, info.cap_offset) == (size, 3 if size else 0, 0)

    @pytest.mark.parametrize(
        "payload",
        [b"", bytes(31), struct.pack("<IIIIQQ", 31, 0, 0, 0, 0, 0), struct.pack("<IIIIQQ", 32, 0, 9, 0, 0, 0)],
    )
    def test_bad_region_info(self, client: VfioClient, payload: bytes) -> None:
        refused(client, errno.EINVAL, v.DEVICE_GET_REGION_INFO, payload)

    def test_sparse_mmap(self, serve: Callable[..., ServedDevice], shared_fd: int) -> None:
        client = serve(partial(ExampleDevice, shared_fd=shared_fd)).client()
        short = client.region_info(4)
        assert (short.flags, short.argsz, short.cap_offset, short.areas, short.fds) == (0xF, 64, 32, [], [])
        full = client.region_info(4, argsz=short.argsz)
        assert full.areas == [(0x1000, 0x1000)]
        assert len(full.fds) == 1
        os.pwrite(full.fds[0], b"mapped", 0x1000)
        assert os.pread(shared_fd, 6, 0x1000) == b"mapped"
        os.close(full.fds[0])
        client.dma_map(0x100000, 0x1000, None)  # QEMU announces the mapped area as DMA without descriptor
        assert client.read(0, 0) == ID

    @pytest.mark.parametrize(("index", "flags", "count"), [(0, 7, 1), (1, 11, 4), (2, 1, 40), (3, 9, 1), (4, 9, 1)])
    def test_irqs(self, client: VfioClient, index: int, flags: int, count: int) -> None:
        assert client.irq_info(index) == (flags, count)

    @pytest.mark.parametrize("payload", [b"", struct.pack("<IIII", 15, 0, 0, 0), struct.pack("<IIII", 16, 0, 5, 0)])
    def test_bad_irq_info(self, client: VfioClient, payload: bytes) -> None:
        refused(client, errno.EINVAL, v.DEVICE_GET_IRQ_INFO, payload)


class TestRegions:
    @pytest.mark.parametrize("size", [1, 2, 4, 8])
    def test_access_sizes(self, client: VfioClient, size: int) -> None:
        value = int.from_bytes(bytes(range(1, size + 1)), "little")
        client.write(4, 0x20, value, size)
        assert client.read(4, 0x20, size) == value
        client.post(4, 0x40, value, size)
        assert client.read(4, 0x40, size) == value

    def test_long_access(self, client: VfioClient) -> None:
        data = os.urandom(0x1FFD)
        client.write_bytes(4, 3, data)
        assert client.read_bytes(4, 3, len(data)) == data

    def test_posted_writes_are_done_before_the_next_reply(self, client: VfioClient) -> None:
        for value in range(1000):
            client.post(0, 0x10, value)
        assert client.read(0, 0x10) == 999
        assert client.quiet()

    def test_many_writes(self, client: VfioClient) -> None:
        client.post_many([(0, 0x10 + 4 * (i % 4), i) for i in range(200)])
        assert [client.read(0, 0x10 + 4 * i) for i in range(4)] == [196, 197, 198, 199]
        assert client.write_many([(0, 0x10, 5), (4, 0, 6)]) == 2
        assert (client.read(0, 0x10), client.read(4, 0)) == (5, 6)
        assert client.quiet()

    @pytest.mark.parametrize("size", [1, 2, 8])
    def test_many_writes_of_other_sizes(self, client: VfioClient, size: int) -> None:
        client.write_bytes(4, 0, b"\xee" * 16)
        client.post_many([(4, 0, 0x11)], size)
        assert client.read_bytes(4, 0, 16) == (0x11).to_bytes(size, "little") + b"\xee" * (16 - size)

    def test_bad_entry_among_posted_writes_spares_the_others(self, client: VfioClient, served: ServedDevice) -> None:
        client.post_many([(0, 0x10, 1), (0, 0x2000, 2), (9, 0, 3), (0, 0x14, 4)])
        assert (client.read(0, 0x10), client.read(0, 0x14)) == (1, 4)
        assert served.server.rejected[v.REGION_WRITE_MULTI] == 2

    @pytest.mark.parametrize(
        ("region", "offset", "count"),
        [
            (0, 0x1000, 4),
            (0, 0xFFE, 4),
            (0, 1 << 63, 4),
            (0, (1 << 64) - 1, 4),
            (1, 0, 4),
            (6, 0, 4),
            (9, 0, 4),
            (0xFFFF_FFFF, 0, 4),
            (7, 4096, 4),
            (0, 0, 0),
            (4, 0, 0x2001),
            (0, 0, 0xFFFF_FFFF),
        ],
    )
    def test_out_of_range(self, client: VfioClient, region: int, offset: int, count: int) -> None:
        header = struct.pack("<QII", offset, region, count)
        refused(client, errno.EINVAL, v.REGION_READ, header)
        data = bytes(min(count, 64))
        refused(client, errno.EINVAL, v.REGION_WRITE, header + data)
        client.send(v.REGION_WRITE, header + data, flags=0x10)
        assert client.read(0, 0) == ID

    @pytest.mark.parametrize(
        ("command", "payload"),
        [
            (v.REGION_READ, b""),
            (v.REGION_READ, bytes(15)),
            (v.REGION_READ, struct.pack("<QII", 0, 0, 4) + b"more"),
            (v.REGION_WRITE, bytes(15)),
            (v.REGION_WRITE, struct.pack("<QII", 0x10, 0, 4) + b"abc"),
            (v.REGION_WRITE, struct.pack("<QII", 0x10, 0, 4) + b"abcde"),
            (v.REGION_WRITE_MULTI, b""),
            (v.REGION_WRITE_MULTI, struct.pack("<Q", 1)),
            (v.REGION_WRITE_MULTI, struct.pack("<Q", 1 << 63) + bytes(24)),
            (v.REGION_WRITE_MULTI, struct.pack("<QQIIQ", 1, 0x10, 0, 9, 0)),
            (v.REGION_WRITE_MULTI, struct.pack("<QQIIQ", 1, 0x2000, 0, 4, 0)),
        ],
    )
    def test_malformed(self, client: VfioClient, command: int, payload: bytes) -> None:
        refused(client, errno.EINVAL, command, payload)

    def test_msix_table_is_memory(self, client: VfioClient) -> None:
        client.write_bytes(2, 0, bytes(range(256)))
        assert client.read_bytes(2, 0, 256) == bytes(range(256))
        client.write(2, 0x804, 0x77)
        assert client.read(2, 0x804) == 0x77
        client.write(2, 0xF00, 0x88)  # beyond the tables: the device's
        assert client.read(2, 0xF00) == 0x88

    @pytest.mark.parametrize("count", [4, 8])
    def test_a_failing_model_is_an_io_error_and_recorded(
        self, client: VfioClient, served: ServedDevice, count: int
    ) -> None:
        served.may_fail = True
        refused(client, errno.EIO, v.REGION_READ, struct.pack("<QII", CRASH.offset, 0, count))
        refused(client, errno.EIO, v.REGION_WRITE, struct.pack("<QII", CRASH.offset, 0, count) + bytes(count))
        client.post(0, CRASH.offset, 0)
        client.post_many([(0, CRASH.offset, 0)])
        assert client.read(0, 0) == ID
        assert served.slot.failures.count == 4
        assert [event["event"] for event in served.slot.events.after()].count("model.error") == 4


class TestFraming:
    def test_messages_in_pieces(self, client: VfioClient) -> None:
        message = struct.pack("<HHIIIQII", 7, v.REGION_READ, 32, 0, 0, 0, 0, 4)
        for at in range(len(message)):
            client.send_raw(message[at : at + 1])
        assert client.reply_to(7).payload[16:] == struct.pack("<I", ID)

    def test_many_messages_in_one_piece(self, client: VfioClient) -> None:
        message = struct.pack("<HHIIIQII", 7, v.REGION_READ, 32, 0, 0, 0, 0, 4)
        client.send_raw(message * 500)
        for _ in range(500):
            assert client.reply_to(7).payload[16:] == struct.pack("<I", ID)

    @pytest.mark.parametrize("size", [0, 1, 15])
    def test_size_below_the_header_ends_the_connection(self, served: ServedDevice, size: int) -> None:
        client = served.client()
        message_id = client.send(v.DEVICE_RESET, size=size)
        with pytest.raises(VfioError) as caught:
            client.reply_to(message_id)
        assert caught.value.errno == errno.EINVAL
        assert client.closed_by_server()
        assert served.client().read(0, 0) == ID

    @pytest.mark.parametrize("size", [16 + 16 + MAX_TRANSFER + 1, 3 * MAX_TRANSFER])
    def test_oversized_message_is_refused_and_skipped(self, client: VfioClient, size: int) -> None:
        message_id = client.send(v.REGION_WRITE, bytes(size - 16))
        with pytest.raises(VfioError) as caught:
            client.reply_to(message_id)
        assert caught.value.errno == errno.EINVAL
        assert client.read(0, 0) == ID

    def test_largest_message_is_taken(self, client: VfioClient) -> None:
        header = struct.pack("<QII", 0, 4, MAX_TRANSFER)
        refused(client, errno.EINVAL, v.REGION_WRITE, header + bytes(MAX_TRANSFER))  # larger than the region only

    @pytest.mark.parametrize("command", [0, 14, 6, 17, 18, 19, 255, 0xFFFF])
    def test_unknown_and_unsupported_commands(self, client: VfioClient, command: int) -> None:
        refused(client, errno.ENOTSUP, command, bytes(32))

    def test_device_features_are_none(self, client: VfioClient) -> None:
        refused(client, errno.ENOTTY, 16, struct.pack("<II", 8, 1 << 16 | 1))

    @pytest.mark.parametrize("command", [v.DMA_READ, v.DMA_WRITE])
    def test_the_servers_own_commands(self, client: VfioClient, command: int) -> None:
        refused(client, errno.EINVAL, command, struct.pack("<QQ", 0, 4))

    @pytest.mark.parametrize("flags", [0x2, 0xF, 0x20, 0x40, 0x8000_0000])
    def test_bad_flags(self, client: VfioClient, flags: int) -> None:
        message_id = client.send(v.REGION_READ, struct.pack("<QII", 0, 0, 4), flags=flags)
        with pytest.raises(VfioError) as caught:
            client.reply_to(message_id)
        assert caught.value.errno == errno.EINVAL
        assert client.read(0, 0) == ID

    def test_unexpected_reply_is_ignored(self, client: VfioClient) -> None:
        client.send(v.DMA_READ, bytes(16), flags=1)
        client.send(v.REGION_READ, struct.pack("<QII", 0, 0, 4), flags=1)
        assert client.read(0, 0) == ID
        assert client.quiet()

    @pytest.mark.parametrize("command", [99, v.DMA_MAP, v.DEVICE_SET_IRQS, v.REGION_READ, v.DEVICE_RESET])
    def test_no_reply_means_no_reply(self, client: VfioClient, command: int) -> None:
        client.send(command, b"x", flags=0x10)
        assert client.read(0, 0) == ID
        assert client.quiet()

    def test_client_that_does_not_read_blocks_nobody(self, served: ServedDevice) -> None:
        client = served.client()
        client.socket.setblocking(False)
        message = struct.pack("<HHIIIQII", 7, v.REGION_READ, 32, 0, 0, 0, 4, 0x1000)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 50 << 20:
                sent += client.socket.send(message)
        assert sent < 50 << 20, "the server takes requests without end"
        assert served.call(lambda: "alive", timeout=5) == "alive"
        client.socket.settimeout(10)
        if sent % 32:
            client.send_raw(message[sent % 32 :])
            sent += 32 - sent % 32
        for _ in range(sent // 32):
            assert len(client.reply_to(7).payload) == 16 + 0x1000
        assert client.read(0, 0) == ID


class TestMemory:
    IOVA = 0x1000_0000

    def copy(self, client: VfioClient, source: int, target: int, length: int) -> int:
        client.post_many([(0, SOURCE.offset, source), (0, TARGET.offset, target), (0, LENGTH.offset, length)])
        return client.read(0, STATUS.offset)

    def test_shared_memory(self, client: VfioClient) -> None:
        client.enable()
        ram = client.add_ram(self.IOVA, 0x10000)
        ram.write(self.IOVA + 5, b"payload")
        assert self.copy(client, self.IOVA + 5, self.IOVA + 0x8001, 7) == 1
        assert ram.read(self.IOVA + 0x8001, 7) == b"payload"

    def test_offset_into_the_file(self, client: VfioClient) -> None:
        client.enable()
        ram = client.add_ram(self.IOVA, 0x4000)
        client.dma_map(0x8000_0000, 0x1000, ram.fd, offset=0x2000)
        ram.write(self.IOVA + 0x2010, b"there")
        assert self.copy(client, 0x8000_0010, self.IOVA, 5) == 1
        assert ram.read(self.IOVA, 5) == b"there"

    def test_adjacent_mappings_are_one_range(self, client: VfioClient) -> None:
        client.enable()
        one, other = client.add_ram(self.IOVA, 0x1000), client.add_ram(self.IOVA + 0x1000, 0x1000)
        one.write(self.IOVA + 0xFFC, b"abcd")
        other.write(self.IOVA + 0x1000, b"efgh")
        assert self.copy(client, self.IOVA + 0xFFC, self.IOVA, 8) == 1
        assert one.read(self.IOVA, 8) == b"abcdefgh"

    def test_memory_by_messages(self, client: VfioClient) -> None:
        client.enable()
        ram = client.add_ram(self.IOVA, 0x1000)
        remote = client.add_remote_memory(0x2000_0000, 0x1000)
        ram.write(self.IOVA, b"over the socket")
        assert self.copy(client, self.IOVA, 0x2000_0100, 15) == 1
        assert remote[0x100:0x10F] == b"over the socket"
        assert self.copy(client, 0x2000_0100, self.IOVA + 0x100, 15) == 1
        assert ram.read(self.IOVA + 0x100, 15) == b"over the socket"
        assert [command for command, _, _ in client.dma_requests] == [v.DMA_WRITE, v.DMA_READ]

    def test_memory_by_messages_without_end_in_one_turn(self, client: VfioClient) -> None:
        """Replies take no room of the server's buffer: 600 messages of 9,000 bytes, more than it holds, for one message."""
        client.enable()
        remote = client.add_remote_memory(0x2000_0000, 0x8000)
        remote[:9000] = bytes(range(250)) * 36
        where = [(0, SOURCE.offset, 0x2000_0000), (0, TARGET.offset, 0x2000_4000)]
        client.post_many([*where, *[(0, LENGTH.offset, 9000)] * 300])
        assert client.read(0, STATUS.offset) == 1
        assert len(client.dma_requests) == 600
        assert remote[0x4000 : 0x4000 + 9000] == remote[:9000]

    def test_requests_between_replies_are_kept_with_their_descriptors(self, client: VfioClient) -> None:
        """What arrives with a reply, in one piece, is served after the access that waited for the reply."""
        client.enable()
        client.add_remote_memory(0x2000_0000, 0x1000)[:8] = b"original"
        ram = GuestRam(0x9000_0000, 0x1000)
        for register, value in ((SOURCE, 0x2000_0000), (TARGET, 0x9000_0000), (LENGTH, 8)):
            client.post(0, register.offset, value)
        asked = client.receive()
        assert asked.command == v.DMA_READ
        reply = struct.pack("<HHIII", asked.id, v.DMA_READ, 16 + 16 + 8, 1, 0) + asked.payload[:16] + b"original"
        mapping = struct.pack("<IIQQQ", 32, 3, 0, 0x9000_0000, 0x1000)
        request = struct.pack("<HHIII", 77, v.DMA_MAP, 16 + len(mapping), 0, 0) + mapping
        client.send_raw(reply)
        client.send_raw(request, [ram.fd])
        assert client.reply_to(77).payload == b""
        assert client.read(0, STATUS.offset) == 2, "the target was not mapped yet"
        client.write(0, LENGTH.offset, 8)
        assert ram.read(0x9000_0000, 8) == b"original"

    def test_memory_by_messages_in_pieces_of_the_clients_limit(self, served: ServedDevice) -> None:
        client = served.client(capabilities={"max_data_xfer_size": 64})
        client.enable()
        remote = client.add_remote_memory(0x2000_0000, 0x1000)
        remote[:200] = bytes(range(200))
        assert self.copy(client, 0x2000_0000, 0x2000_0800, 200) == 1
        assert remote[0x800:0x8C8] == bytes(range(200))
        assert [count for _, _, count in client.dma_requests] == [64, 64, 64, 8] * 2

    def test_requests_that_cross_a_dma_message_are_served_in_order(self, client: VfioClient) -> None:
        client.enable()
        remote = client.add_remote_memory(0x2000_0000, 0x1000)
        remote[:4] = b"data"
        for register, value in ((SOURCE, 0x2000_0000), (TARGET, 0x2000_0010), (LENGTH, 4)):
            client.post(0, register.offset, value)
        early = client.send(v.REGION_READ, struct.pack("<QII", STATUS.offset, 0, 4))
        client.post(0, SCRATCH.offset, 0x55)
        late = client.send(v.REGION_READ, struct.pack("<QII", SCRATCH.offset, 0, 4))
        assert client.reply_to(early).payload[16:] == struct.pack("<I", 1)
        assert client.reply_to(late).payload[16:] == struct.pack("<I", 0x55)
        assert remote[0x10:0x14] == b"data"

    def test_client_refuses_dma(self, client: VfioClient) -> None:
        client.enable()
        client.add_remote_memory(0x2000_0000, 0x1000)
        client.refuse_dma = errno.EFAULT
        assert self.copy(client, 0x2000_0000, 0x2000_0800, 4) == 2
        assert client.read(0, 0) == ID

    def test_client_leaves_during_dma(self, served: ServedDevice) -> None:
        client = served.client()
        client.enable()
        client.add_remote_memory(0x2000_0000, 0x1000)
        for register, value in ((SOURCE, 0x2000_0000), (TARGET, 0x2000_0010), (LENGTH, 4)):
            client.post(0, register.offset, value)
        client.receive()  # the server's DMA_READ
        client.close()
        again = served.client()
        assert again.read(0, 0) == ID
        assert served.slot.memory.errors == 0  # refused by the bus, not by the client
        assert served.device.causes[-1] is ResetCause.DISCONNECT

    def test_bus_master_off(self, client: VfioClient) -> None:
        client.add_ram(self.IOVA, 0x1000)
        assert self.copy(client, self.IOVA, self.IOVA + 0x100, 4) == 2
        client.enable()
        assert self.copy(client, self.IOVA, self.IOVA + 0x100, 4) == 1
        client.config_write(0x04, 0x2, 2)
        assert self.copy(client, self.IOVA, self.IOVA + 0x100, 4) == 2

    def test_read_only(self, client: VfioClient) -> None:
        client.enable()
        rom = client.add_ram(self.IOVA, 0x1000, writable=False)
        ram = client.add_ram(self.IOVA + 0x10000, 0x1000)
        rom.write(self.IOVA, b"rom!")
        assert self.copy(client, self.IOVA, ram.iova, 4) == 1
        assert ram.read(ram.iova, 4) == b"rom!"
        assert self.copy(client, ram.iova, self.IOVA + 0x10, 4) == 2
        assert rom.read(self.IOVA + 0x10, 4) == bytes(4)

    def test_unmap(self, client: VfioClient) -> None:
        client.enable()
        client.add_ram(self.IOVA, 0x1000)
        assert self.copy(client, self.IOVA, self.IOVA + 0x100, 4) == 1
        client.dma_unmap(self.IOVA, 0x1000)
        assert self.copy(client, self.IOVA, self.IOVA + 0x100, 4) == 2
        client.dma_map(self.IOVA, 0x1000, client.ram[0].fd)
        assert self.copy(client, self.IOVA, self.IOVA + 0x100, 4) == 1

    def test_unmap_all(self, client: VfioClient, served: ServedDevice) -> None:
        client.add_ram(self.IOVA, 0x1000)
        client.add_ram(self.IOVA + 0x1000, 0x1000)
        payload = struct.pack("<IIQQ", 24, 2, 0, 0)
        assert client.request(v.DMA_UNMAP, payload).payload == payload
        assert len(served.slot.memory) == 0

    def test_overlap(self, client: VfioClient) -> None:
        ram = client.add_ram(self.IOVA, 0x4000)
        for iova, size in (
            (self.IOVA, 0x4000),
            (self.IOVA + 0x1000, 0x1000),
            (self.IOVA - 0x1000, 0x2000),
            (self.IOVA + 0x3000, 0x2000),
        ):
            refused(client, errno.EEXIST, v.DMA_MAP, struct.pack("<IIQQQ", 32, 3, 0, iova, size), (ram.fd,))

    @pytest.mark.parametrize(
        "request_",
        [
            (31, 3, 0, 0, 0x1000),
            (32, 7, 0, 0, 0x1000),
            (32, 3, 0, 0, 0),
            (32, 3, 0, 0x10, 0x1000),
            (32, 3, 0x10, 0, 0x1000),
            (32, 3, 0, 0, 0x1001),
            (32, 3, 0x1000, 0, 0x1000),
            (32, 3, 0, 0, 0x2000),
            (32, 3, 1 << 63, 0, 0x1000),
            (32, 3, 0, (1 << 64) - 0x1000, 0x2000),
        ],
    )
    def test_bad_map(self, client: VfioClient, request_: tuple[int, ...]) -> None:
        ram = client.add_ram(self.IOVA, 0x1000)
        refused(client, errno.EINVAL, v.DMA_MAP, struct.pack("<IIQQQ", *request_), (ram.fd,))

    def test_map_with_two_descriptors_or_cut_short(self, client: VfioClient) -> None:
        ram = client.add_ram(self.IOVA, 0x1000)
        good = struct.pack("<IIQQQ", 32, 3, 0, 0, 0x1000)
        refused(client, errno.EINVAL, v.DMA_MAP, good, (ram.fd, ram.fd))
        refused(client, errno.EINVAL, v.DMA_MAP, good[:31], (ram.fd,))
        refused(client, errno.EINVAL, v.DMA_MAP, good, (ram.fd,) * 17)

    @pytest.mark.parametrize(
        ("number", "request_"),
        [
            (errno.ENOENT, (24, 0, 0x5000, 0x1000)),
            (errno.ENOENT, (24, 0, 0x1000_0000, 0x800)),
            (errno.ENOENT, (24, 0, 0x1000_0800, 0x800)),
            (errno.EINVAL, (23, 0, 0x1000_0000, 0x1000)),
            (errno.EINVAL, (24, 4, 0x1000_0000, 0x1000)),
            (errno.EINVAL, (24, 2, 0x1000_0000, 0x1000)),
        ],
    )
    def test_bad_unmap(self, client: VfioClient, number: int, request_: tuple[int, ...]) -> None:
        client.add_ram(self.IOVA, 0x1000)
        refused(client, number, v.DMA_UNMAP, struct.pack("<IIQQ", *request_))
        refused(client, errno.EINVAL, v.DMA_UNMAP, bytes(23))


class TestInterrupts:
    def test_msix(self, client: VfioClient) -> None:
        client.enable()
        client.enable_irqs(v.MSIX, 40)
        for vector in (0, 15, 16, 39):
            client.post(0, RAISE.offset, vector)
            assert client.wait_irq(v.MSIX, vector) == 1
        assert sum(client.irq_count(v.MSIX, vector) for vector in range(40)) == 0

    def test_msix_needs_bus_master_and_an_eventfd(self, client: VfioClient, served: ServedDevice) -> None:
        client.enable_irqs(v.MSIX, 1)
        client.write(0, RAISE.offset, 0)
        client.enable()
        client.write(0, RAISE.offset, 1)
        client.write(0, RAISE.offset, 400)
        assert client.irq_count(v.MSIX, 0) == 0
        assert served.slot.interrupts.lost == {("msix", 0): 1, ("msix", 1): 1, ("msix", 400): 1}

    def test_taking_vectors_away(self, client: VfioClient) -> None:
        client.enable()
        client.enable_irqs(v.MSIX, 4)
        client.set_irqs(v.MSIX, v.IRQ_EVENTFD | v.IRQ_TRIGGER, 1, 1)
        for vector in range(4):
            client.write(0, RAISE.offset, vector)
        assert [client.irq_count(v.MSIX, vector) for vector in range(4)] == [1, 0, 1, 1]
        client.disable_irqs(v.MSIX)
        client.write(0, RAISE.offset, 0)
        assert client.irq_count(v.MSIX, 0) == 0

    def test_client_triggers(self, client: VfioClient) -> None:
        client.enable_irqs(v.MSIX, 4)
        client.set_irqs(v.MSIX, v.IRQ_NONE | v.IRQ_TRIGGER, 1, 2)
        assert [client.irq_count(v.MSIX, vector) for vector in range(4)] == [0, 1, 1, 0]
        client.set_irqs(v.MSIX, v.IRQ_BOOL | v.IRQ_TRIGGER, 0, 4, b"\1\0\0\1")
        assert [client.irq_count(v.MSIX, vector) for vector in range(4)] == [1, 0, 0, 1]

    def test_intx_is_masked_until_unmasked(self, client: VfioClient) -> None:
        client.enable_irqs(v.INTX, 1)
        client.write(0, LINE.offset, 1)
        client.write(0, LINE.offset, 1)
        assert client.irq_count(v.INTX, 0) == 1
        client.set_irqs(v.INTX, v.IRQ_NONE | v.IRQ_UNMASK, 0, 1)  # still asserted: again
        assert client.irq_count(v.INTX, 0) == 1
        client.write(0, LINE.offset, 0)
        client.set_irqs(v.INTX, v.IRQ_NONE | v.IRQ_UNMASK, 0, 1)
        assert client.irq_count(v.INTX, 0) == 0
        client.set_irqs(v.INTX, v.IRQ_NONE | v.IRQ_MASK, 0, 1)
        client.write(0, LINE.offset, 1)
        assert client.irq_count(v.INTX, 0) == 0
        client.set_irqs(v.INTX, v.IRQ_BOOL | v.IRQ_UNMASK, 0, 1, b"\0")
        assert client.irq_count(v.INTX, 0) == 0
        client.set_irqs(v.INTX, v.IRQ_BOOL | v.IRQ_UNMASK, 0, 1, b"\1")
        assert client.irq_count(v.INTX, 0) == 1

    def test_intx_disable(self, client: VfioClient) -> None:
        client.enable_irqs(v.INTX, 1)
        client.config_write(4, 0x400, 2)
        client.write(0, LINE.offset, 1)
        assert client.irq_count(v.INTX, 0) == 0
        client.config_write(4, 0, 2)
        assert client.irq_count(v.INTX, 0) == 1

    def test_intx_shows_in_the_status_register(self, client: VfioClient) -> None:
        """By it a driver of a shared line, as uio_pci_generic, knows its own interrupt; INTx disable does not clear it."""
        assert not client.config_read(6, 2) & 8
        for command in (0, 0x400):
            client.config_write(4, command, 2)
            client.write(0, LINE.offset, 1)
            assert client.config_read(6, 2) & 8
            client.config_write(6, 8, 2)  # read-only
            assert client.config_read(6, 2) & 8
            client.write(0, LINE.offset, 0)
            assert not client.config_read(6, 2) & 8
        client.write(0, LINE.offset, 1)
        client.reset()
        assert not client.config_read(6, 2) & 8

    def test_msi_mask_keeps_pending(self, client: VfioClient, served: ServedDevice) -> None:
        client.enable()
        client.enable_irqs(v.MSI, 4)
        client.set_irqs(v.MSI, v.IRQ_NONE | v.IRQ_MASK, 2, 1)
        served.call(lambda: served.slot.interrupts.msi(2))
        served.call(lambda: served.slot.interrupts.msi(3))
        assert [client.irq_count(v.MSI, vector) for vector in range(4)] == [0, 0, 0, 1]
        client.set_irqs(v.MSI, v.IRQ_NONE | v.IRQ_UNMASK, 2, 1)
        assert client.irq_count(v.MSI, 2) == 1

    def test_mask_eventfds(self, client: VfioClient) -> None:
        client.enable_irqs(v.INTX, 1)
        masked, unmasked = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
        client.set_irqs(v.INTX, v.IRQ_EVENTFD | v.IRQ_MASK, 0, 1, fds=[masked])
        client.set_irqs(v.INTX, v.IRQ_EVENTFD | v.IRQ_UNMASK, 0, 1, fds=[unmasked])
        client.set_irqs(v.INTX, v.IRQ_NONE | v.IRQ_MASK, 0, 1)
        client.set_irqs(v.INTX, v.IRQ_NONE | v.IRQ_UNMASK, 0, 1)
        assert (os.eventfd_read(masked), os.eventfd_read(unmasked)) == (1, 1)
        os.close(masked)
        os.close(unmasked)

    @pytest.mark.parametrize("index", [v.ERR, v.REQ])
    def test_error_and_request_take_an_eventfd(self, client: VfioClient, index: int) -> None:
        client.enable_irqs(index, 1)
        client.set_irqs(index, v.IRQ_NONE | v.IRQ_TRIGGER, 0, 1)
        assert client.wait_irq(index, 0) == 1

    @pytest.mark.parametrize(
        "request_",
        [
            (20, 0x21, 5, 0, 1),
            (20, 0x21, v.MSIX, 40, 1),
            (20, 0x21, v.MSIX, 0, 41),
            (20, 0x21, v.MSIX, 0xFFFF_FFFF, 0xFFFF_FFFF),
            (20, 0x20, v.MSIX, 0, 1),
            (20, 0x01, v.MSIX, 0, 1),
            (20, 0x23, v.MSIX, 0, 1),
            (20, 0x31, v.MSIX, 0, 1),
            (20, 0x61, v.MSIX, 0, 1),
            (20, 0x22, v.MSIX, 0, 1),
            (19, 0x21, v.MSIX, 0, 1),
            (24, 0x21, v.MSIX, 0, 1),
            (20, 0x09, v.MSIX, 0, 1),
            (20, 0x11, v.ERR, 0, 1),
        ],
    )
    def test_bad_set_irqs(self, client: VfioClient, request_: tuple[int, ...]) -> None:
        refused(client, errno.EINVAL, v.DEVICE_SET_IRQS, struct.pack("<IIIII", *request_))
        refused(client, errno.EINVAL, v.DEVICE_SET_IRQS, bytes(19))

    def test_descriptors_must_match(self, client: VfioClient) -> None:
        fd = os.eventfd(0)
        for flags, count, fds in ((0x24, 2, (fd,)), (0x24, 1, (fd, fd)), (0x21, 1, (fd,))):
            payload = struct.pack("<IIIII", 20, flags, v.MSIX, 0, count)
            refused(client, errno.EINVAL, v.DEVICE_SET_IRQS, payload, fds)
        os.close(fd)

    def test_descriptors_are_closed(self, client: VfioClient, served: ServedDevice) -> None:
        """Replaced, refused and unwanted descriptors do not pile up in the server."""
        here = len(list(Path("/proc/self/fd").iterdir()))
        fd = os.eventfd(0)
        for _ in range(20):
            client.set_irqs(v.MSIX, v.IRQ_EVENTFD | v.IRQ_TRIGGER, 0, 1, fds=[fd])
            client.send(v.REGION_READ, struct.pack("<QII", 0, 0, 4), [fd], message_id=3)
            client.reply_to(3)
            with pytest.raises(VfioError):
                client.request(77, b"", [fd])
        client.disable_irqs(v.MSIX)
        served.call(lambda: None)
        os.close(fd)
        assert len(list(Path("/proc/self/fd").iterdir())) <= here + 1  # one sent with a read may still be queued


class TestResets:
    def test_device_reset(self, client: VfioClient, served: ServedDevice) -> None:
        client.enable()
        client.write(0, SCRATCH.offset, 5)
        client.reset()
        assert served.device.causes == [ResetCause.POWER_ON, ResetCause.CLIENT]
        assert client.read(0, SCRATCH.offset) == 0
        assert client.config_read(4, 2) == 0
        assert served.device.resets == {"power-on": 1, "client": 1}
        refused(client, errno.EINVAL, v.DEVICE_RESET, b"payload")

    def test_function_level_reset(self, client: VfioClient, served: ServedDevice) -> None:
        client.enable()
        client.config_write(0x3C, 11, 1)
        client.enable_irqs(v.MSIX, 1)
        client.write(0, SCRATCH.offset, 5)
        client.function_level_reset()
        assert served.device.causes[-1] is ResetCause.FLR
        assert client.read(0, SCRATCH.offset) == 0
        assert (client.config_read(4, 2), client.config_read(0x3C, 1)) == (0, 0)
        assert not served.slot.memory.bus_master
        at = client.capability(0x10)
        assert at is not None
        assert client.config_read(at + 8, 2) & 0x8000 == 0
        client.enable()
        client.write(0, RAISE.offset, 0)
        assert client.irq_count(v.MSIX, 0) == 1  # the client's eventfds are its own

    def test_return_from_d3hot(self, client: VfioClient, served: ServedDevice) -> None:
        at = client.capability(0x01)
        assert at is not None
        client.config_write(at + 4, 3, 2)
        assert served.device.causes[-1] is ResetCause.POWER_ON
        client.config_write(at + 4, 0, 2)
        assert served.device.causes[-1] is ResetCause.D3HOT


class TestClients:
    def test_reconnect_finds_a_clean_server(self, served: ServedDevice) -> None:
        for _ in range(3):
            client = served.client()
            client.enable()
            client.add_ram(0x1000_0000, 0x4000)
            client.enable_irqs(v.MSIX, 40)
            client.write(0, SCRATCH.offset, 7)
            client.close()
        again = served.client()
        assert again.read(0, SCRATCH.offset) == 0
        again.add_ram(0x1000_0000, 0x4000)
        assert served.device.causes.count(ResetCause.DISCONNECT) == 3
        assert not served.slot.memory.bus_master

    def test_reconnect_in_the_middle_of_a_message(self, served: ServedDevice) -> None:
        client = served.client()
        client.send_raw(struct.pack("<HHII", 1, v.REGION_WRITE, 4096, 0))
        client.close()
        assert served.client().read(0, 0) == ID

    def test_guest_reboot(self, client: VfioClient) -> None:
        """Firmware and kernel unmap and map repeatedly, and reset the device in between."""
        for _ in range(20):
            client.add_ram(0, 0xA0000)
            client.add_ram(0x100000, 0x100000, writable=False)
            client.reset()
            client.dma_unmap(0x100000, 0x100000)
            client.dma_unmap(0, 0xA0000)
            client.config_write(4, 6, 2)
        assert client.read(0, 0) == ID

    def test_second_client_is_turned_away(self, served: ServedDevice) -> None:
        first = served.client()
        second = served.connect()
        assert second.closed_by_server()
        assert first.read(0, 0) == ID
        assert [event["event"] for event in served.slot.events.after()][-1] == "client.refused"

    def test_new_client_replaces_one_that_hung_up(self, served: ServedDevice) -> None:
        """The end of the old client and the new client are both pending when the server polls."""
        first = served.client()

        def stall() -> None:
            first.send_raw(struct.pack("<HHIII", 1, v.DEVICE_RESET, 16, 0x10, 0))
            first.close()
            clients.append(served.connect())

        clients: list[VfioClient] = []
        served.call(stall)
        clients[0].negotiate()
        assert clients[0].read(0, 0) == ID

    def test_timers_run_under_load(self, served: ServedDevice) -> None:
        """A client that never pauses does not starve the device's timers."""
        client = served.client()
        fired: list[float] = []
        started = time.monotonic()
        served.call(lambda: served.reactor.call_later(0.005, lambda: fired.append(time.monotonic())))
        while not fired and time.monotonic() < started + 5:
            client.read(0, 0)
        assert fired
        assert select.select([client.socket], [], [], 0)[0] == []
