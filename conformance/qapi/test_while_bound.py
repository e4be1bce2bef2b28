# SPDX-License-Identifier: GPL-2.0-or-later
"""While memory is bound to a queue, the kernel refuses changes that conflict with it, and other changes leave it bound."""

from __future__ import annotations

import errno

import pytest
from plugfest.dut.dut import TCP_DATA_SPLIT_DISABLED
from plugfest.frames.payload import generate
from plugfest.requirements.requirement import requirement

DEVMEM = "Documentation/networking/devmem.rst, NIC Setup (since Linux 6.12)"
PROGRAM = "net/core/dev.c, dev_xdp_install; include/net/page_pool/memory_provider.h"
TRANSFER_TIMEOUT = 10


@pytest.fixture
def check_still_bound(view, memory, last_queue):
    """``check_still_bound(error, errno.EBUSY)``: the error has this errno and an extack message, and the memory is still bound."""

    def check(error, *expected):
        assert error is not None, "expected an error, got none"
        assert error.errno in expected, str(error)
        assert error.extack, f"the error has no extack message: {error}"
        assert view.bound() == {last_queue: memory.kind}

    return check


@requirement(
    "QAPI-BOUND-01",
    level="MUST",
    source=PROGRAM,
    falsified_by=("program:qapi.not-bound",),
)
@pytest.mark.parametrize("mode", ["generic", "native"])
def test_attach_xdp(last_queue, memory, xdp, config_unchanged, check_still_bound, require, settings, mode, step):
    """While memory is bound, the kernel refuses to attach any XDP program, even a generic one with fragments support: EBUSY."""
    if mode == "native":
        require("xdp-act:basic")
    settings.restore_features()
    with step(f"Bind memory, and ask to attach a {mode} program"):
        memory.bind(last_queue)
        with config_unchanged():
            error = xdp.try_attach("xdp_pass_frags", mode)
    with step("The kernel returns EBUSY, and no program is attached"):
        check_still_bound(error, errno.EBUSY)
        assert xdp.state()["attached"] == "none"


@requirement(
    "QAPI-BOUND-02",
    level="MUST",
    source="net/ethtool/common.c, ethtool_check_max_channel; Documentation/networking/ethtool-netlink.rst, CHANNELS_SET",
    falsified_by=("program:settings.not-set", "program:settings.error-lost"),
)
def test_lower_channels(last_queue, memory, dut, config_unchanged, check_still_bound, step, skip_unsupported):
    """While memory is bound to a queue, the kernel refuses to remove that queue by lowering the number of channels: EINVAL."""
    channels = dut.get("channels") or {}
    name = "combined_count" if channels.get("combined-max") else "rx_count"
    if channels.get(name.replace("_", "-"), 0) < 2:
        skip_unsupported("a number of channels that can be lowered", evidence=channels)
    with step("Bind memory to the last receive queue, and ask for one channel less"):
        memory.bind(last_queue)
        with config_unchanged():
            error = dut.try_set("channels", **{name: last_queue})
    with step("The kernel returns EINVAL, and the memory is still bound"):
        check_still_bound(error, errno.EINVAL)


@requirement(
    "QAPI-BOUND-03",
    level="MUST",
    source="net/ethtool/rings.c; Documentation/networking/ethtool-netlink.rst, ETHTOOL_A_RINGS_TCP_DATA_SPLIT",
    falsified_by=("program:settings.not-set", "program:settings.error-lost"),
)
def test_turn_header_split_off(last_queue, memory, dut, config_unchanged, check_still_bound, step):
    """While memory is bound, the kernel refuses to turn header split off: EINVAL."""
    with step("Bind memory, and ask to turn header split off"):
        memory.bind(last_queue)
        with config_unchanged():
            error = dut.try_set("rings", tcp_data_split=TCP_DATA_SPLIT_DISABLED)
    with step("The kernel returns EINVAL, and the memory is still bound"):
        check_still_bound(error, errno.EINVAL)


@requirement(
    "QAPI-BOUND-04",
    level="MUST",
    source="net/xdp/xsk_buff_pool.c, xp_assign_dev; Documentation/networking/af_xdp.rst, XDP_ZEROCOPY",
    falsified_by=("program:qapi.not-bound", "program:qapi.stays-bound"),
)
def test_bind_zero_copy_socket(last_queue, memory, require, view, dut, step):
    """While memory is bound, the kernel refuses to bind a zero-copy AF_XDP socket to the interface: EBUSY, and the memory stays bound."""
    require("xdp-act:xsk-zerocopy")
    with step("Bind memory to the last receive queue, and ask to bind a zero-copy socket to the first"):
        memory.bind(last_queue)
        error = memory.worker.try_call("xsk.bind", ifname=dut.ifname, queue=0, mode="zero-copy")
    with step("The kernel returns EBUSY, and the memory is still bound"):
        assert error is not None, "expected an error, but the kernel bound the socket"
        assert error.errno == errno.EBUSY, str(error)
        assert view.bound() == {last_queue: memory.kind}
    with step("Unbind the memory: no queue has memory bound to it"):
        memory.unbind()
        assert not view.bound()


@requirement(
    "QAPI-BOUND-05",
    level="MUST",
    source=f"{DEVMEM}: bound until the netlink socket is closed",
    falsified_by=("program:qapi.not-bound", "program:qapi.byte-corrupted", "rx.payload.misplaced"),
)
@pytest.mark.parametrize("setting", ["ring size", "MTU"])
def test_change_ring_size_or_mtu(
    bind_and_steer, memory, last_queue, dut, settings, view, peer, setting, step, skip_unsupported
):
    """A change of the ring size or the MTU leaves memory bound, and payload still arrives in it."""
    port = bind_and_steer(memory)
    data = generate(10, 100_000)
    rings = dut.get("rings")
    with step("Change the ring size or the MTU"):
        if setting == "MTU":
            settings.set_link(mtu=1400)
        elif rings["rx"] == rings["rx-max"]:
            skip_unsupported("larger rings", evidence=rings)
        elif (error := settings.try_set("rings", rx=min(2 * rings["rx"], rings["rx-max"]))) is not None:
            skip_unsupported("another ring size while memory is bound", evidence=str(error))
        settings.ready()
    with step("The memory is bound, and a TCP stream to the queue arrives in it"):
        assert view.bound() == {last_queue: memory.kind}
        with peer.sending(4, port, data):
            got = memory.receive(timeout=TRANSFER_TIMEOUT)
        got.check(data)
