# SPDX-License-Identifier: GPL-2.0-or-later
"""Sending from bound memory (netdev netlink, bind-tx): it works if the driver supports netmem TX, and fails cleanly if not."""

from __future__ import annotations

import errno
import hashlib

import pytest
from plugfest.frames.payload import generate
from plugfest.queues.dma_record import stray
from plugfest.queues.tx_memory import TxDmabuf
from plugfest.requirements.requirement import requirement

DEVMEM = "Documentation/networking/devmem.rst, TX Interface (since Linux 6.16)"
NETMEM = "Documentation/networking/netmem.rst, Driver TX Requirements"
STREAM_LENGTH = 300_000
"""Bytes."""
SEED = 5
TRANSFER_TIMEOUT = 10
"""Seconds for the guest to send a stream."""
MIN_PAYLOAD = 256
"""Bytes: more than any header has."""


@pytest.fixture
def sender(worker, dut):
    """A dma-buf of a process of its own, not yet bound to the interface."""
    return TxDmabuf(worker(), dut.ifname)


@pytest.fixture
def bind(sender, skip_unsupported):
    """``bind()``: returns `sender`, bound to the interface; skips if the driver does not support netmem TX (EOPNOTSUPP)."""

    def ask():
        error = sender.try_bind()
        if error is not None and error.errno == errno.EOPNOTSUPP:
            skip_unsupported("sending from bound memory", evidence={"netdev bind-tx": str(error)})
        assert error is None, f"bind-tx failed: {error}"
        return sender

    return ask


@requirement(
    "QAPI-TX-01",
    level="MUST",
    source=f"{DEVMEM}, Sending data, Reusing TX dmabufs; {NETMEM}",
    falsified_by=("tx.frame.dropped", "program:qapi.not-bound"),
)
def test_payload_from_bound_memory(bind, version, peer, step):
    """A TCP stream from bound memory arrives complete and in order, uncopied, and the kernel reports the completion of each send."""
    data = generate(SEED, STREAM_LENGTH)
    with step("Bind memory to the interface"):
        bound = bind()
    with step(f"Send {STREAM_LENGTH} bytes over TCP from the bound memory"), peer.receiving(version) as taken:
        sent = bound.send(taken.address, taken.port, STREAM_LENGTH, seed=SEED, timeout=TRANSFER_TIMEOUT)
        assert not isinstance(sent, Exception), f"sending failed: {sent}"
        got = taken.result()
    with step("The remote host receives every byte as it was sent"):
        assert (got.length, got.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    with step("The kernel reported a completion for each send, and copied nothing"):
        assert sent.sends > 0
        assert (sent.completed, sent.copied) == (sent.sends, 0)


@requirement(
    "QAPI-TX-02",
    level="MUST",
    source=f"{DEVMEM}: payload is sent directly from device memory; {NETMEM}, dma addresses",
    falsified_by="program:qapi.not-bound",
)
def test_device_reads_payload_from_bound_memory(bind, dma, peer, step):
    """The device reads payload from the bound memory, and headers from elsewhere."""
    with step("Bind memory to the interface, and look up its addresses"):
        bound = bind()
        pages = set(bound.pages())
    with (
        step(f"Send {STREAM_LENGTH} bytes over TCP from the bound memory"),
        peer.receiving(4) as taken,
        dma.during() as record,
    ):
        sent = bound.send(taken.address, taken.port, STREAM_LENGTH, seed=SEED, timeout=TRANSFER_TIMEOUT)
        assert not isinstance(sent, Exception), f"sending failed: {sent}"
        taken.result()
    read = [each for each in record.accesses if each.direction == "tx" and each.kind == "payload"]
    with step("The device read at least as many bytes there as were sent: more if TCP retransmitted"):
        assert sum(each.length for each in read if each.within(pages)) >= STREAM_LENGTH
    with step("Its reads elsewhere are shorter than any payload, so they are headers; and it wrote nothing there"):
        longest = max((each.length for each in read if not each.within(pages)), default=0)
        assert longest < MIN_PAYLOAD, stray(each for each in read if not each.within(pages))
        others = [each for each in record.accesses if each not in read]
        assert not stray(each for each in others if not each.outside(pages))


@requirement(
    "QAPI-TX-03",
    level="MUST",
    source=f"{DEVMEM}, NIC Setup: the binding ends with the netlink socket that made it",
    falsified_by="program:qapi.stays-bound",
)
def test_send_after_unbind(bind, check_traffic, peer, step):
    """After the binding is closed, sending from the memory fails, and the interface is unaffected."""
    with step("Bind memory to the interface"):
        bound = bind()
    with step("Send from the bound memory, then close the binding"), peer.receiving(4) as taken:
        sent = bound.send(taken.address, taken.port, STREAM_LENGTH, seed=SEED, timeout=TRANSFER_TIMEOUT)
        assert not isinstance(sent, Exception), f"sending failed: {sent}"
        assert taken.result().length == STREAM_LENGTH
        bound.unbind()
    with step("Send again: the kernel returns EINVAL"), peer.receiving(4) as taken:
        error = bound.send(taken.address, taken.port, STREAM_LENGTH, seed=SEED, timeout=TRANSFER_TIMEOUT)
        assert isinstance(error, Exception), "expected EINVAL, but the kernel sent the data"
        assert error.errno == errno.EINVAL, str(error)
    with step("Frames cross the link both ways, once and unchanged"):
        check_traffic()


@requirement(
    "QAPI-TX-04",
    level="MUST",
    source=f"{NETMEM}: netdev->netmem_tx; net/core/netdev-genl.c, netdev_nl_bind_tx_doit",
    falsified_by=("program:qapi.error-lost", "program:qapi.other-errno"),
)
def test_bind_tx_unsupported(sender, config_unchanged, check_traffic, step, skip_unsupported, evidence):
    """If the driver does not support netmem TX, binding memory for TX fails with EOPNOTSUPP, and the interface is unaffected."""
    with step("Ask to bind memory to the interface: queues, page pools, settings and link stay as they were"):
        with config_unchanged():
            error = sender.try_bind()
        evidence("error", str(error))
    with step("The kernel returns EOPNOTSUPP, or binds the memory"):
        if error is None and sender.bound:
            skip_unsupported("the lack of sending from bound memory", evidence="the kernel accepted netdev bind-tx")
        assert error is not None, "expected an error, got none"
        assert error.errno == errno.EOPNOTSUPP, str(error)
    with step("Frames cross the link both ways, once and unchanged"):
        check_traffic()
