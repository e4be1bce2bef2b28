# SPDX-License-Identifier: GPL-2.0-or-later
"""MTU: the range that the driver advertises works, and MTUs out of it are rejected."""

from __future__ import annotations

import errno

import pytest
from plugfest.requirements.requirement import requirement

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
