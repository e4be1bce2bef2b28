# SPDX-License-Identifier: GPL-2.0-or-later
"""The longest frame: what the driver claims it can do, and what it refuses."""

from __future__ import annotations

import errno

import pytest
from plugfest.requirements.requirement import requirement

LONGEST = 9710
"""Octets of payload beyond which nothing is tried: no Ethernet device carries more than about 16 KiB."""
STANDARD = 1500
SMALLEST_IPV6 = 1280
"""RFC 8200, section 5: with less the kernel takes IPv6 off the interface."""
SOURCE = (
    "include/uapi/linux/if_link.h, IFLA_MTU, IFLA_MIN_MTU, IFLA_MAX_MTU; Documentation/networking/netdevices.rst, MTU"
)
HEADERS = {4: 28, 6: 48}
"""Octets of IP and ICMP header."""


@pytest.fixture
def wide(remote, defer):
    """The wire end, its own MTU as large as any test needs."""
    before = remote.mtu
    defer(setattr, remote, "mtu", before)
    remote.mtu = LONGEST
    return remote


def check_echo(peer, remote, version, mtu, until):
    """Ask for an echo that fills a frame, and find that frame on the wire both ways, in one piece."""
    length = mtu - HEADERS[version]
    with remote.capture() as seen:
        peer.check_echo(version, length)
        until(lambda: any(len(frame) == mtu + 14 for frame in seen.received()), what=f"a frame of {mtu + 14} octets")
    assert max(len(frame) for frame in seen.received(background=False)) == mtu + 14
    assert max(len(frame) for frame in seen.sent(background=False)) == mtu + 14


@requirement("SMOKE-MTU-01", level="MUST", source=SOURCE, falsified_by="rx.jumbo.dropped")
def test_largest(dut, wide, peer, settings, until, step, evidence, skip_unsupported):
    """With the largest MTU that the driver claims, frames of exactly that size go both ways, in one piece."""
    require = dut.link()["max-mtu"]
    evidence("max-mtu", require)
    mtu = min(require, LONGEST)
    if mtu <= STANDARD:
        skip_unsupported("an MTU above 1500", evidence={"max-mtu": require})
    with step("Set the largest MTU"):
        settings.set_link(mtu=mtu)
        settings.ready()
        assert dut.mtu == mtu
    wide.mtu = mtu
    for version in (4, 6):
        with step(f"An echo over IPv{version} that fills a frame is on the wire in one piece, both ways"):
            check_echo(peer, wide, version, mtu, until)


@requirement("SMOKE-MTU-02", level="MUST", source=SOURCE, falsified_by=("rx.jumbo.dropped", "program:settings.not-set"))
def test_steps(dut, wide, peer, settings, until, step, skip_unsupported):
    """Each MTU within the claimed range is usable: around page and buffer sizes, and the standard one again afterwards."""
    require = dut.link()["max-mtu"]
    sizes = [mtu for mtu in (SMALLEST_IPV6, 2034, 4082, 9000) if mtu <= require]
    if max(sizes) <= STANDARD:
        skip_unsupported("an MTU above 1500", evidence={"max-mtu": require})
    for mtu in (*sizes, STANDARD):
        with step(f"Set an MTU of {mtu}: an echo that fills a frame is on the wire in one piece, both ways"):
            settings.set_link(mtu=mtu)
            settings.ready()
            wide.mtu = mtu
            check_echo(peer, wide, 4, mtu, until)


@requirement("SMOKE-MTU-03", level="MUST", source=SOURCE, falsified_by="program:settings.error-lost")
def test_too_large(dut, step, skip_unsupported):
    """An MTU above or below the claimed range is refused with EINVAL, and the MTU stays what it was."""
    before = dut.link()
    wrong = [mtu for mtu in (before["max-mtu"] + 1, before["min-mtu"] - 1) if 0 < mtu <= 0x7FFFFFFF]
    if not wrong:
        skip_unsupported("a limit of the MTU", evidence={name: before[name] for name in ("min-mtu", "max-mtu")})
    for mtu in wrong:
        with step(f"Ask for an MTU of {mtu}"):
            refusal = dut.try_set_link(mtu=mtu)
            assert refusal is not None, f"an MTU of {mtu} was accepted; claimed: at most {before['max-mtu']}"
            assert refusal.errno == errno.EINVAL
            assert dut.mtu == before["mtu"]
