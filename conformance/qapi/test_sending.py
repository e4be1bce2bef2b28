# SPDX-License-Identifier: GPL-2.0-or-later
"""Sending out of bound memory (netdev netlink, bind-tx): where the driver takes such buffers it works, elsewhere it is refused."""

from __future__ import annotations

import errno
import hashlib

import pytest
from plugfest.frames.payload import generate
from plugfest.queues.dma_record import stray
from plugfest.queues.tx_memory import TxDmabuf
from plugfest.requirements.requirement import requirement

DEVMEM = "Documentation/networking/devmem.rst, TX Interface"
NETMEM = "Documentation/networking/netmem.rst, Driver TX Requirements"
STREAM = 300_000
"""Octets."""
SEED = 5
PATIENCE = 10
"""Seconds for the guest to send a stream."""
SHORTEST_PAYLOAD = 256
"""Octets: more than any header has."""


@pytest.fixture
def sender(worker, dut):
    """Memory of a process of its own, not yet bound to the interface."""
    return TxDmabuf(worker(), dut.ifname)


@pytest.fixture
def bind(sender, skip_unsupported):
    """``bind()``: the same, bound to the interface; skips where the driver does not take such buffers (EOPNOTSUPP)."""

    def ask():
        refused = sender.try_bind()
        if refused is not None and refused.errno == errno.EOPNOTSUPP:
            skip_unsupported("sending out of bound memory", evidence={"netdev bind-tx": str(refused)})
        assert refused is None, f"binding was refused: {refused}"
        return sender

    return ask


@requirement(
    "QAPI-TX-01",
    level="MUST",
    source=f"{DEVMEM}, Sending data, Reusing TX dmabufs; {NETMEM}",
    falsified_by=("tx.frame.dropped", "program:qapi.not-bound"),
)
def test_octets_out_of_bound_memory(bind, version, peer, step):
    """A TCP stream out of bound memory arrives whole and in order, uncopied, and each send is told to be done with."""
    data = generate(SEED, STREAM)
    with step("Bind memory to the interface"):
        bound = bind()
    with step(f"Send {STREAM} octets by TCP out of the bound memory"), peer.receiving(version) as taken:
        sent = bound.send(taken.address, taken.port, STREAM, seed=SEED, timeout=PATIENCE)
        assert not isinstance(sent, Exception), f"sending was refused: {sent}"
        got = taken.result()
    with step("The wire end gets them, every one as it was"):
        assert (got.length, got.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    with step("The kernel has told of each send that the memory may be used again, and copied nothing"):
        assert sent.sends > 0
        assert (sent.completed, sent.copied) == (sent.sends, 0)


@requirement(
    "QAPI-TX-02",
    level="MUST",
    source=f"{DEVMEM}: payload is sent directly from device memory; {NETMEM}, dma addresses",
    falsified_by="program:qapi.not-bound",
)
def test_device_reads_where_it_must(bind, dma, peer, step):
    """The device reads the payload out of the bound memory, and headers from elsewhere."""
    with step("Bind memory to the interface, and look up where it lies"):
        bound = bind()
        pages = set(bound.pages())
    with (
        step(f"Send {STREAM} octets by TCP out of the bound memory"),
        peer.receiving(4) as taken,
        dma.during() as record,
    ):
        sent = bound.send(taken.address, taken.port, STREAM, seed=SEED, timeout=PATIENCE)
        assert not isinstance(sent, Exception), f"sending was refused: {sent}"
        taken.result()
    read = [each for each in record.accesses if each.direction == "tx" and each.kind == "payload"]
    with step("It has read as many octets there as were sent, or more where some were sent again"):
        assert sum(each.length for each in read if each.within(pages)) >= STREAM
    with step("What it has read elsewhere is shorter than any payload: headers; and it has written nothing there"):
        longest = max((each.length for each in read if not each.within(pages)), default=0)
        assert longest < SHORTEST_PAYLOAD, stray(each for each in read if not each.within(pages))
        others = [each for each in record.accesses if each not in read]
        assert not stray(each for each in others if not each.outside(pages))


@requirement(
    "QAPI-TX-03",
    level="MUST",
    source=f"{DEVMEM}, NIC Setup: the binding ends with the netlink socket that made it",
    falsified_by="program:qapi.stays-bound",
)
def test_unbound(bind, check_traffic, peer, step):
    """Once the binding is closed nothing is sent out of the memory any more, and the interface stays intact."""
    with step("Bind memory to the interface"):
        bound = bind()
    with step("Send out of the bound memory, then close the binding"), peer.receiving(4) as taken:
        sent = bound.send(taken.address, taken.port, STREAM, seed=SEED, timeout=PATIENCE)
        assert not isinstance(sent, Exception), f"sending was refused: {sent}"
        assert taken.result().length == STREAM
        bound.unbind()
    with step("Send again: it is refused with EINVAL"), peer.receiving(4) as taken:
        refused = bound.send(taken.address, taken.port, STREAM, seed=SEED, timeout=PATIENCE)
        assert isinstance(refused, Exception), "it was sent"
        assert refused.errno == errno.EINVAL, str(refused)
    with step("Frames cross the link both ways, once and unchanged"):
        check_traffic()


@requirement(
    "QAPI-TX-04",
    level="MUST",
    source=f"{NETMEM}: netdev->netmem_tx; net/core/netdev-genl.c, netdev_nl_bind_tx_doit",
    falsified_by=("program:qapi.error-lost", "program:qapi.other-errno"),
)
def test_no_sending_out_of_bound_memory(sender, unchanged, check_traffic, step, skip_unsupported, evidence):
    """Of a driver that does not take such buffers binding is refused, with EOPNOTSUPP, and it stays intact."""
    with step("Ask to bind memory to the interface: queues, page pools, settings and link stay as they were"):
        with unchanged():
            refused = sender.try_bind()
        evidence("refusal", str(refused))
    with step("It is refused with EOPNOTSUPP, or works"):
        if refused is None and sender.bound:
            skip_unsupported("the lack of sending out of bound memory", evidence="netdev bind-tx was accepted")
        assert refused is not None, "it was accepted"
        assert refused.errno == errno.EOPNOTSUPP, str(refused)
    with step("Frames cross the link both ways, once and unchanged"):
        check_traffic()
