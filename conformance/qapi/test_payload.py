# SPDX-License-Identifier: GPL-2.0-or-later
"""What a queue receives into bound memory: payload there, headers in kernel memory, every byte as it was sent."""

from __future__ import annotations

import errno
import hashlib

import pytest
from plugfest.frames.payload import generate
from plugfest.queues.dma_record import stray
from plugfest.queues.memory_provider import LENGTH
from plugfest.requirements.requirement import requirement

DEVMEM = "Documentation/networking/devmem.rst"
STREAM_LENGTH = 300_000
"""Bytes: some 200 full segments and a short one."""
TRANSFER_TIMEOUT = 10
"""Seconds for the guest to receive a stream: the longest wait between two pieces of it."""


@requirement(
    "QAPI-PAYLOAD-01",
    level="MUST",
    source=f"{DEVMEM}, Receiving data; Documentation/networking/iou-zcrx.rst, Header/data split",
    falsified_by=("program:qapi.byte-corrupted", "rx.header.unsplit", "rx.payload.misplaced"),
)
def test_payload_in_bound_memory(bind_and_steer, kind, version, allocate, peer, step):
    """A TCP stream to a queue with bound memory arrives in that memory, complete and in order, and no byte of it elsewhere."""
    memory = allocate(kind)
    data = generate(3, STREAM_LENGTH)
    port = bind_and_steer(memory, version)
    with (
        step(f"Send {STREAM_LENGTH} bytes over TCP to a port that is steered to the queue"),
        peer.sending(version, port, data),
    ):
        got = memory.receive(timeout=TRANSFER_TIMEOUT)
    with step("The application finds every byte in its memory, and the kernel reports none in its own"):
        got.check(data)
        assert got.ended


@requirement(
    "QAPI-PAYLOAD-02",
    level="MUST",
    source=f"{DEVMEM}, Opportunity: payloads go directly from the NIC to device memory, headers to host memory",
    falsified_by="rx.header.unsplit",
)
def test_device_writes_payload_to_bound_memory_only(bind_and_steer, kind, allocate, last_queue, dma, peer, step):
    """The device writes payload to the bound memory only, and writes no header or descriptor there."""
    memory = allocate(kind)
    data = generate(4, STREAM_LENGTH)
    port = bind_and_steer(memory)
    with step("Look up the addresses of the bound memory"):
        pages = set(memory.pages())
        assert len(pages) == LENGTH // 4096, (
            f"expected an address for each of {LENGTH // 4096} pages, found {len(pages)}"
        )
    with (
        step(f"Send {STREAM_LENGTH} bytes over TCP to a port that is steered to the queue"),
        dma.during() as record,
        peer.sending(4, port, data),
    ):
        memory.receive(timeout=TRANSFER_TIMEOUT)
    with step("Every payload write is to the bound memory, and the writes cover the stream"):
        payload = record.of(last_queue, "payload")
        outside = stray(each for each in payload if not each.within(pages))
        assert not outside, outside
        assert sum(each.length for each in payload) >= len(data)
    with step("The device accesses no header, descriptor or completion there"):
        others = record.of(last_queue, "header", "descriptor", "completion")
        assert record.of(last_queue, "header"), "the device wrote no header separately: header split did not take place"
        inside = stray(each for each in others if not each.outside(pages))
        assert not inside, inside


@requirement(
    "QAPI-PAYLOAD-03",
    level="MUST",
    source=f"{DEVMEM}, Freeing frags; include/net/page_pool/memory_provider.h",
    falsified_by=("rx.payload.misplaced", "program:qapi.byte-corrupted"),
)
@pytest.mark.budget(120)
def test_memory_is_reused(bind_and_steer, memory, peer, step):
    """Memory that the application returns is used again: a stream larger than the memory arrives complete."""
    data = generate(5, LENGTH + LENGTH // 4)
    port = bind_and_steer(memory)
    with step(f"Send {len(data)} bytes, more than the {LENGTH} of the memory"), peer.sending(4, port, data):
        got = memory.receive(timeout=TRANSFER_TIMEOUT)
    with step("All of them arrived in the memory, in order"):
        got.check(data)


@requirement(
    "QAPI-PAYLOAD-04",
    level="MUST",
    source=f"{DEVMEM}, Freeing frags: failure to do so will exhaust the memory, and will lead to packet drops",
    falsified_by=("rx.header.unsplit", "wire:frame.lost"),
)
@pytest.mark.budget(120)
def test_memory_exhausted(bind_and_steer, memory, peer, traffic, step):
    """If the application returns no memory, other queues still receive; once it returns the memory, the rest of the stream arrives."""
    data = generate(6, LENGTH + LENGTH // 4)
    port = bind_and_steer(memory)
    with peer.sending(4, port, data):
        with step("Send more than the memory holds to an application that returns nothing, until it receives no more"):
            memory.accept(timeout=TRANSFER_TIMEOUT)
            first = memory.take(timeout=2, give_back=False)
            assert 0 < first.length < len(data)
        with step("Frames of every size reach the stack through the other queues"):
            traffic.check_delivery()
        with step("Return all of it: the kernel accepts every fragment, and the rest of the stream arrives"):
            assert memory.give_back() == len(first.fragments)
            rest = memory.take(timeout=TRANSFER_TIMEOUT)
            memory.hang_up()
            assert first.length + rest.length == len(data)
            assert rest.ended


@requirement(
    "QAPI-PAYLOAD-05",
    level="MUST",
    source=f"{DEVMEM}, Receiving data: applications that do not specify MSG_SOCK_DEVMEM will receive an EFAULT",
    falsified_by=("program:qapi.not-bound", "program:qapi.stays-bound"),
)
def test_application_without_devmem(bind_and_steer, memory, peer, last_queue, check_unbound, step):
    """An application that reads without MSG_SOCK_DEVMEM gets EFAULT for bound memory, and the queue can be used after it."""
    port = bind_and_steer(memory)
    with (
        step("Send bytes through the queue to such an application"),
        peer.sending(4, port, bytes(10_000), to_end=False),
    ):
        memory.accept(timeout=TRANSFER_TIMEOUT)
        error = memory.try_receive_plainly(timeout=TRANSFER_TIMEOUT)
        assert error is not None, "expected EFAULT, but the application received the bytes"
        assert error.errno == errno.EFAULT
    with step("End the application: the queue receives into kernel memory again"):
        memory.unbind()
        memory.end()
        check_unbound(last_queue)


@requirement(
    "QAPI-PAYLOAD-06",
    level="MUST",
    source="Documentation/networking/netmem.rst: a driver must not read the memory of net_iovs",
    falsified_by=("program:qapi.byte-corrupted", "rx.header.unsplit"),
)
def test_all_frames_to_bound_queue(bind_and_steer, memory, last_queue, steering, traffic, peer, step):
    """A queue with bound memory handles frames of every size and protocol: a stream sent after them arrives complete."""
    data = generate(7, STREAM_LENGTH)
    port = bind_and_steer(memory)
    with step("Have RSS send everything to the queue, and send frames of every size, IPv4 and IPv6"):
        steering.only(last_queue)
        traffic.send(traffic.probes())
    with step("Send a TCP stream through the queue: it arrives complete"):
        steering.avoid(last_queue)
        with peer.sending(4, port, data):
            got = memory.receive(timeout=TRANSFER_TIMEOUT)
        assert got.sha256 == hashlib.sha256(data).hexdigest()
