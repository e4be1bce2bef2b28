# SPDX-License-Identifier: GPL-2.0-or-later
"""What is received into bound memory: payload there, headers in the kernel's memory, every octet as it was sent."""

from __future__ import annotations

import errno
import hashlib

import pytest
from plugfest.frames.payload import generate
from plugfest.queues.dma_record import stray
from plugfest.queues.memory_provider import LENGTH
from plugfest.requirements.requirement import requirement

DEVMEM = "Documentation/networking/devmem.rst"
STREAM = 300_000
"""Octets: some 200 full segments and a short one."""
PATIENCE = 10
"""Seconds for the guest to receive a stream; none of it may come later than that after the one before."""


@requirement(
    "QAPI-PAYLOAD-01",
    level="MUST",
    source=f"{DEVMEM}, Receiving data; Documentation/networking/iou-zcrx.rst, Header/data split",
    falsified_by=("program:qapi.byte-corrupted", "rx.header.unsplit", "rx.payload.misplaced"),
)
def test_octets_in_bound_memory(bring, kind, version, allocate, peer, step):
    """A TCP stream to a queue with bound memory is found there, whole and in order, and no octet of it elsewhere."""
    memory = allocate(kind)
    data = generate(3, STREAM)
    port = bring(memory, version)
    with step(f"Send {STREAM} octets by TCP to a port that is steered to the queue"), peer.sending(version, port, data):
        got = memory.receive(timeout=PATIENCE)
    with step("The application finds them in its memory, and is told of none that came by way of the kernel's"):
        got.check(data)
        assert got.ended


@requirement(
    "QAPI-PAYLOAD-02",
    level="MUST",
    source=f"{DEVMEM}, Opportunity: payloads go directly from the NIC to device memory, headers to host memory",
    falsified_by="rx.header.unsplit",
)
def test_device_writes_where_it_must(bring, kind, allocate, spare, dma, peer, step):
    """The device writes payload to the bound memory and nowhere else, and headers and descriptors never to it."""
    memory = allocate(kind)
    data = generate(4, STREAM)
    port = bring(memory)
    with step("Look up where the bound memory lies"):
        pages = set(memory.pages())
        assert len(pages) == LENGTH // 4096, "a page of it has no address"
    with (
        step(f"Send {STREAM} octets by TCP to a port that is steered to the queue"),
        dma.during() as record,
        peer.sending(4, port, data),
    ):
        memory.receive(timeout=PATIENCE)
    with step("Every write of payload is to the bound memory, and there are as many octets of it"):
        payload = record.of(spare, "payload")
        outside = stray(each for each in payload if not each.within(pages))
        assert not outside, outside
        assert sum(each.length for each in payload) >= len(data)
    with step("No header, descriptor or completion touches it"):
        others = record.of(spare, "header", "descriptor", "completion")
        assert record.of(spare, "header"), "the device split no header"
        inside = stray(each for each in others if not each.outside(pages))
        assert not inside, inside


@requirement(
    "QAPI-PAYLOAD-03",
    level="MUST",
    source=f"{DEVMEM}, Freeing frags; include/net/page_pool/memory_provider.h",
    falsified_by=("rx.payload.misplaced", "program:qapi.byte-corrupted"),
)
@pytest.mark.budget(120)
def test_memory_is_used_again(bring, memory, peer, step):
    """Memory that the application has given back is received into again: a stream longer than the memory comes whole."""
    data = generate(5, LENGTH + LENGTH // 4)
    port = bring(memory)
    with step(f"Send {len(data)} octets, which is more than the {LENGTH} of the memory"), peer.sending(4, port, data):
        got = memory.receive(timeout=PATIENCE)
    with step("All of them were received into the memory, in order"):
        got.check(data)


@requirement(
    "QAPI-PAYLOAD-04",
    level="MUST",
    source=f"{DEVMEM}, Freeing frags: failure to do so will exhaust the memory, and will lead to packet drops",
    falsified_by=("rx.header.unsplit", "wire:frame.lost"),
)
@pytest.mark.budget(120)
def test_memory_is_exhausted(bring, memory, peer, traffic, step):
    """When the application keeps all its memory, other queues go on; when it gives it back, the rest of the stream comes."""
    data = generate(6, LENGTH + LENGTH // 4)
    port = bring(memory)
    with peer.sending(4, port, data):
        with step("Send more than the memory holds to an application that gives nothing back, until no more comes"):
            memory.accept(timeout=PATIENCE)
            first = memory.take(timeout=2, give_back=False)
            assert 0 < first.length < len(data)
        with step("Frames of every size reach the stack by the other queues"):
            traffic.check_delivery()
        with step("Give all of it back: the kernel takes each piece, and the rest of the stream comes"):
            assert memory.give_back() == len(first.fragments)
            rest = memory.take(timeout=PATIENCE)
            memory.hang_up()
            assert first.length + rest.length == len(data)
            assert rest.ended


@requirement(
    "QAPI-PAYLOAD-05",
    level="MUST",
    source=f"{DEVMEM}, Receiving data: applications that do not specify MSG_SOCK_DEVMEM will receive an EFAULT",
    falsified_by=("program:qapi.not-bound", "program:qapi.stays-bound"),
)
def test_plain_application(bring, memory, peer, spare, check_in_service, step):
    """An application that does not know of bound memory gets EFAULT for what lies there, and the queue serves on."""
    port = bring(memory)
    with step("Send octets to a plain application by the queue"), peer.sending(4, port, bytes(10_000), to_end=False):
        memory.accept(timeout=PATIENCE)
        refused = memory.try_receive_plainly(timeout=PATIENCE)
        assert refused is not None, "it received them"
        assert refused.errno == errno.EFAULT
    with step("End the application: the queue serves the kernel's memory again"):
        memory.unbind()
        memory.end()
        check_in_service(spare)


@requirement(
    "QAPI-PAYLOAD-06",
    level="MUST",
    source="Documentation/networking/netmem.rst: a driver must not read the memory of net_iovs",
    falsified_by=("program:qapi.byte-corrupted", "rx.header.unsplit"),
)
def test_frames_of_every_kind(bring, memory, spare, steering, traffic, peer, step):
    """Frames of every size and protocol that come to a queue with bound memory do no harm: a stream then comes whole."""
    data = generate(7, STREAM)
    port = bring(memory)
    with step("Have RSS send everything to the queue, and send frames of every size, IPv4 and IPv6"):
        steering.only(spare)
        traffic.send(traffic.probes())
    with step("Send a TCP stream by the queue: it comes whole"):
        steering.avoid(spare)
        with peer.sending(4, port, data):
            got = memory.receive(timeout=PATIENCE)
        assert got.sha256 == hashlib.sha256(data).hexdigest()
