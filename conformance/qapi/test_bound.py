# SPDX-License-Identifier: GPL-2.0-or-later
"""While memory is bound to a queue: what would take its ground away is refused, and what may change leaves it bound."""

from __future__ import annotations

import errno

import pytest
from plugfest.frames.payload import generate
from plugfest.requirements.requirement import requirement

DEVMEM = "Documentation/networking/devmem.rst, NIC Setup"
PROGRAM = "net/core/dev.c, dev_xdp_install; include/net/page_pool/memory_provider.h"
WHOLE = 1
PATIENCE = 10


@pytest.fixture
def check_kept(view, memory, spare):
    """``check_kept(refusal, errno.EBUSY)``: it was refused with this errno and with words, and the memory is still bound."""

    def check(refused, *wanted):
        assert refused is not None, "it was accepted"
        assert refused.errno in wanted, str(refused)
        assert refused.extack, f"only the errno came: {refused}"
        assert view.bound() == {spare: memory.kind}

    return check


@requirement(
    "QAPI-BOUND-01",
    level="MUST",
    source=PROGRAM,
    falsified_by=("program:qapi.not-bound",),
)
@pytest.mark.parametrize("mode", ["generic", "native"])
def test_program_is_refused(spare, memory, xdp, unchanged, check_kept, require, settings, mode, step):
    """While memory is bound, no XDP program is attached, not even a generic one that takes several buffers: EBUSY."""
    if mode == "native":
        require("xdp-act:basic")
    settings.restore_features()
    with step(f"Bind memory, and ask to attach a {mode} program"):
        memory.bind(spare)
        with unchanged():
            refused = xdp.try_attach("xdp_pass_frags", mode)
    with step("It is refused, and nothing is attached"):
        check_kept(refused, errno.EBUSY)
        assert xdp.state()["attached"] == "none"


@requirement(
    "QAPI-BOUND-02",
    level="MUST",
    source="net/ethtool/common.c, ethtool_check_max_channel; Documentation/networking/ethtool-netlink.rst, CHANNELS_SET",
    falsified_by=("program:settings.not-set", "program:settings.error-lost"),
)
def test_fewer_channels_are_refused(spare, memory, dut, unchanged, check_kept, step, skip_unsupported):
    """While memory is bound to a queue, the number of channels cannot be cut to below it: EINVAL."""
    channels = dut.get("channels") or {}
    name = "combined_count" if channels.get("combined-max") else "rx_count"
    if channels.get(name.replace("_", "-"), 0) < 2:
        skip_unsupported("a number of channels that can be cut", evidence=channels)
    with step("Bind memory to the last receive queue, and ask for one channel less"):
        memory.bind(spare)
        with unchanged():
            refused = dut.try_set("channels", **{name: spare})
    with step("It is refused, and the memory is still bound"):
        check_kept(refused, errno.EINVAL)


@requirement(
    "QAPI-BOUND-03",
    level="MUST",
    source="net/ethtool/rings.c; Documentation/networking/ethtool-netlink.rst, ETHTOOL_A_RINGS_TCP_DATA_SPLIT",
    falsified_by=("program:settings.not-set", "program:settings.error-lost"),
)
def test_header_split_stays_on(spare, memory, dut, unchanged, check_kept, step):
    """While memory is bound, header split cannot be turned off: EINVAL."""
    with step("Bind memory, and ask to turn header split off"):
        memory.bind(spare)
        with unchanged():
            refused = dut.try_set("rings", tcp_data_split=WHOLE)
    with step("It is refused, and the memory is still bound"):
        check_kept(refused, errno.EINVAL)


@requirement(
    "QAPI-BOUND-04",
    level="MUST",
    source="net/xdp/xsk_buff_pool.c, xp_assign_dev; Documentation/networking/af_xdp.rst, XDP_ZEROCOPY",
    falsified_by=("program:qapi.not-bound", "program:qapi.stays-bound"),
)
def test_zero_copy_socket_is_refused(spare, memory, require, view, dut, step):
    """While memory is bound, no zero-copy AF_XDP socket is bound to the interface: EBUSY, and the memory stays bound."""
    require("xdp-act:xsk-zerocopy")
    with step("Bind memory to the last receive queue, and ask to bind a zero-copy socket to the first"):
        memory.bind(spare)
        refused = memory.worker.try_call("xsk.bind", ifname=dut.ifname, queue=0, mode="zero-copy")
    with step("It is refused, and the memory is still bound"):
        assert refused is not None, "it was accepted"
        assert refused.errno == errno.EBUSY, str(refused)
        assert view.bound() == {spare: memory.kind}
    with step("Unbind it: nothing is bound"):
        memory.unbind()
        assert not view.bound()


@requirement(
    "QAPI-BOUND-05",
    level="MUST",
    source=f"{DEVMEM}: bound until the netlink socket is closed",
    falsified_by=("program:qapi.not-bound", "program:qapi.byte-corrupted", "rx.payload.misplaced"),
)
@pytest.mark.parametrize("what", ["ring size", "MTU"])
def test_settings_leave_it_bound(bring, memory, spare, dut, settings, view, peer, what, step, skip_unsupported):
    """A change of the ring size or the MTU leaves memory bound, and payload comes into it as before."""
    port = bring(memory)
    data = generate(10, 100_000)
    rings = dut.get("rings")
    with step("Ask for another ring size, or another MTU"):
        if what == "MTU":
            settings.set_link(mtu=1400)
        elif rings["rx"] == rings["rx-max"]:
            skip_unsupported("rings that can be made larger", evidence=rings)
        elif (refusal := settings.try_set("rings", rx=min(2 * rings["rx"], rings["rx-max"]))) is not None:
            skip_unsupported("another ring size while memory is bound", evidence=str(refusal))
        settings.ready()
    with step("The memory is bound, and a TCP stream by the queue comes into it"):
        assert view.bound() == {spare: memory.kind}
        with peer.sending(4, port, data):
            got = memory.receive(timeout=PATIENCE)
        got.check(data)
