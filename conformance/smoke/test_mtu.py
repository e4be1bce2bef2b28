# SPDX-License-Identifier: GPL-2.0-or-later
"""MTU: the range that the driver advertises works, and MTUs out of it are rejected."""

from __future__ import annotations

import errno

import pytest
from plugfest.requirements.requirement import requirement
from plugfest.traffic.reception import ReceptionProbe

LONGEST = 9710
"""The largest MTU in bytes that the test sets, whatever the driver advertises."""
STANDARD = 1500
SMALLEST_IPV6 = 1280
"""RFC 8200, section 5: below this the kernel removes IPv6 from the interface."""
SOURCE = (
    "include/uapi/linux/if_link.h, IFLA_MTU, IFLA_MIN_MTU, IFLA_MAX_MTU; Documentation/networking/netdevices.rst, MTU"
)
HEADERS = {4: 28, 6: 48}
"""Bytes of IP and ICMP header, by IP version."""
HEADER, SHORT = 14, 60
"""Bytes of an Ethernet header, and of the shortest frame without FCS."""
RAISED, RAISED_FRAMES = 4000, 4
"""An MTU for which a buffer nearly fills a page, and frames for the first buffers of the ring."""
BATCH = 65
"""Frames after which a driver has taken new buffers, if it does so once an eighth of a ring of 512 is used."""
ROUNDS = 10
"""An allocation of 32 KiB, the largest that drivers make (PAGE_ALLOC_COSTLY_ORDER), holds 21 buffers of 1536 bytes: after 10 times 65, and
the 512 of the ring, each second place in it was the next."""


@pytest.fixture
def jumbo_remote(remote, defer):
    """The remote end with an MTU as large as any test needs."""
    before = remote.mtu
    defer(setattr, remote, "mtu", before)
    remote.mtu = LONGEST
    return remote


def check_echo(peer, remote, version, mtu, until):
    """Expect an echo request and its reply, each of them one frame of exactly the MTU on the wire."""
    length = mtu - HEADERS[version]
    with remote.capture() as seen:
        peer.check_echo(version, length)
        until(
            lambda: any(len(frame) == mtu + 14 for frame in seen.received()),
            what=f"a frame of {mtu + 14} bytes is on the wire",
        )
    assert max(len(frame) for frame in seen.received(background=False)) == mtu + 14
    assert max(len(frame) for frame in seen.sent(background=False)) == mtu + 14


@requirement("SMOKE-MTU-01", level="MUST", source=SOURCE, falsified_by="rx.jumbo.dropped")
def test_largest(dut, jumbo_remote, peer, settings, until, step, evidence, skip_unsupported):
    """With the largest MTU that the driver advertises, frames of exactly that MTU pass in both directions, unfragmented."""
    max_mtu = dut.link()["max-mtu"]
    evidence("max-mtu", max_mtu)
    mtu = min(max_mtu, LONGEST)
    if mtu <= STANDARD:
        skip_unsupported("an MTU above 1500", evidence={"max-mtu": max_mtu})
    with step("Set the largest MTU"):
        settings.set_link(mtu=mtu)
        settings.ready()
        assert dut.mtu == mtu
    jumbo_remote.mtu = mtu
    for version in (4, 6):
        with step(f"Send an echo request of the MTU over IPv{version}: request and reply are one frame each"):
            check_echo(peer, jumbo_remote, version, mtu, until)


@requirement("SMOKE-MTU-02", level="MUST", source=SOURCE, falsified_by=("rx.jumbo.dropped", "program:settings.not-set"))
def test_sizes(dut, jumbo_remote, peer, settings, until, step, skip_unsupported):
    """MTUs within the advertised range work: those around page and buffer sizes, and the standard MTU after them."""
    max_mtu = dut.link()["max-mtu"]
    sizes = [mtu for mtu in (SMALLEST_IPV6, 2034, 4082, 9000) if mtu <= max_mtu]
    if max(sizes) <= STANDARD:
        skip_unsupported("an MTU above 1500", evidence={"max-mtu": max_mtu})
    for mtu in (*sizes, STANDARD):
        with step(f"Set the MTU to {mtu}, and send an echo request of that MTU: request and reply are one frame each"):
            settings.set_link(mtu=mtu)
            settings.ready()
            jumbo_remote.mtu = mtu
            check_echo(peer, jumbo_remote, 4, mtu, until)


@requirement("SMOKE-MTU-04", level="MUST", source=SOURCE, falsified_by="rx.jumbo.dropped")
@pytest.mark.slow
@pytest.mark.budget(240)
def test_raised_again(guest, dut, jumbo_remote, settings, until, defer, step, skip_unsupported):
    """However many frames were received before the MTU is raised, frames of the new MTU arrive intact.

    A driver that cuts buffers from a larger allocation must not take a longer buffer from what is left of one for shorter ones.
    """
    max_mtu = dut.link()["max-mtu"]
    if max_mtu < RAISED:
        skip_unsupported(f"an MTU of {RAISED}", evidence={"max-mtu": max_mtu})
    reception = ReceptionProbe(guest, dut, jumbo_remote, until, defer)
    for batches in range(1, ROUNDS + 1):
        with step(f"At the standard MTU send {batches} times {BATCH} frames: they arrive"):
            settings.set_link(mtu=STANDARD)
            settings.ready()
            for _ in range(batches):
                reception.deliver(*(reception.frame(dut.mac, SHORT + at) for at in range(BATCH)))
        with step(f"Set the MTU to {RAISED}, and send {RAISED_FRAMES} frames of about that MTU: they arrive unchanged"):
            settings.set_link(mtu=RAISED)
            settings.ready()
            reception.deliver(*(reception.frame(dut.mac, RAISED + HEADER - at) for at in range(RAISED_FRAMES)))


@requirement("SMOKE-MTU-03", level="MUST", source=SOURCE, falsified_by="program:settings.error-lost")
def test_out_of_range(dut, step, skip_unsupported):
    """The kernel rejects an MTU above or below the range that the driver advertises with EINVAL, and the MTU does not change."""
    before = dut.link()
    invalid = [mtu for mtu in (before["max-mtu"] + 1, before["min-mtu"] - 1) if 0 < mtu <= 0x7FFFFFFF]
    if not invalid:
        skip_unsupported("limits of the MTU", evidence={name: before[name] for name in ("min-mtu", "max-mtu")})
    for mtu in invalid:
        with step(f"Set the MTU to {mtu}: EINVAL"):
            error = dut.try_set_link(mtu=mtu)
            assert error is not None, (
                f"an MTU of {mtu} was accepted; advertised: {before['min-mtu']} to {before['max-mtu']}"
            )
            assert error.errno == errno.EINVAL
            assert dut.mtu == before["mtu"]
