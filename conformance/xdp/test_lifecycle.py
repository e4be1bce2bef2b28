# SPDX-License-Identifier: GPL-2.0-or-later
"""A program across changes of its interface: down and up, ring sizes, channels, MTU, another XDP mode, an unbound driver."""

from __future__ import annotations

import errno

import pytest
from plugfest.dut.dut import TCP_DATA_SPLIT_ENABLED
from plugfest.dut.operations import other_channels, other_rings
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import of_frames
from plugfest.traffic.traffic import check_same, payloads

ATTACH = "include/uapi/linux/if_link.h, XDP_FLAGS_MODES; include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC"
STAYS_ATTACHED = f"{ATTACH}: a program stays attached until it is detached"
BPF_LINK = "include/uapi/linux/bpf.h, BPF_LINK_CREATE, BPF_XDP: the program is detached when the last reference to the link goes"
OTHER_MTU = 1280
"""The smallest MTU of IPv6, which every interface supports."""


@pytest.fixture
def check_program_runs(xdp, traffic):
    """``check_program_runs(program)`` checks that the program is attached and sees each frame, and that the stack receives it unchanged."""

    def check(program):
        state = xdp.state()
        assert (state["attached"], state.get("prog-id")) == ("native", program.identifier)
        traffic.ready()
        xdp.clear(program)
        probes = traffic.probes(sizes=(60, 512, 1294))
        traffic.send(probes)
        xdp.wait(of_frames(probe.frame for probe in probes), program)
        check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")

    return check


@requirement(
    "XDP-LIFE-01",
    level="MUST",
    source=BPF_LINK,
    falsified_by=("program:xdp.stays-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_bpf_link(native, traffic, check_program_runs, step):
    """A program attached by a BPF link runs until the link is closed, and cannot be replaced over netlink until then."""
    with step("Attach a program by a BPF link, in native mode"):
        program = native.load("xdp_pass")
        link = native.link(program)
        check_program_runs(program)
    with step("Try to attach another program over netlink: EBUSY, and the first still runs"):
        error = native.try_attach("xdp_drop")
        assert error is not None
        assert error.errno == errno.EBUSY
        check_program_runs(program)
    with step("Close the link: no program is attached, and frames of every size reach the stack"):
        native.unlink(link)
        assert native.state()["attached"] == "none"
        traffic.check_delivery()


@requirement(
    "XDP-LIFE-02",
    level="MUST",
    source=f"{STAYS_ATTACHED}; Documentation/networking/netdevices.rst",
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_attach_while_down(native, traffic, settings, dut, check_program_runs, step, evidence):
    """A program attached while the interface is down runs once it is up; a driver that rejects it returns an errno and changes nothing."""
    with step("Take the interface down, and attach a program"):
        settings.set_link(up=False)
        program = native.load("xdp_pass")
        error = native.try_attach_program(program)
        evidence("error", str(error))
    with step("Bring the interface up"):
        dut.set_link(up=True)
        traffic.ready()
    with step("The program runs, or the driver rejected it and frames of every size reach the stack"):
        if error is None:
            check_program_runs(program)
        else:
            assert error.errno in {errno.ENETDOWN, errno.EBUSY, errno.EOPNOTSUPP, errno.EINVAL}
            assert native.state()["attached"] == "none"
            traffic.check_delivery()


@requirement(
    "XDP-LIFE-03",
    level="MUST",
    source=STAYS_ATTACHED,
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_down_and_up(native, dut, check_program_runs, step, defer):
    """A program stays attached while the interface is down, and runs again when it is up."""
    with step("Attach a program"):
        program = native.attach("xdp_pass")
        check_program_runs(program)
    with step("Take the interface down: the kernel still reports the program as attached"):
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        assert native.state().get("prog-id") == program.identifier
    with step("Bring it up: the program sees each frame, which then reaches the stack"):
        dut.set_link(up=True)
        check_program_runs(program)


@requirement(
    "XDP-LIFE-04",
    level="MUST",
    source=STAYS_ATTACHED,
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
    variant="rings",
)
@requirement(
    "XDP-LIFE-05",
    level="MUST",
    source=STAYS_ATTACHED,
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
    variant="channels",
)
@requirement(
    "XDP-LIFE-06",
    level="MUST",
    source=STAYS_ATTACHED,
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
    variant="mtu",
)
@pytest.mark.parametrize("setting", ["rings", "channels", "mtu"])
@pytest.mark.budget(60)
def test_setting_changed(native, dut, settings, check_program_runs, setting, step, skip_unsupported, evidence):
    """A program stays attached and runs on every queue after a change of rings, channels or MTU; a change that fails has no effect."""
    with step("Find a value that the driver may accept"):
        wanted = other_values(dut, setting)
        if wanted is None:
            skip_unsupported(f"changing the {setting}", evidence=dut.get(setting))
    with step("Attach a program"):
        program = native.attach("xdp_pass")
        check_program_runs(program)
    with step(f"Change the {setting}"):
        before = dut.mtu if setting == "mtu" else dut.get(setting)
        error = settings.try_set_link(**wanted) if setting == "mtu" else settings.try_set(setting, **wanted)
        evidence("error", str(error))
    with step("The program runs; if the change failed, the setting has its former value"):
        check_program_runs(program)
        if error is not None:
            assert (dut.mtu if setting == "mtu" else dut.get(setting)) == before


def other_values(dut, setting):
    """New values for the rings, the channels or the MTU; None if the driver supports no change."""
    if setting == "mtu":
        return {"mtu": OTHER_MTU}
    return (other_rings if setting == "rings" else other_channels)(dut.get(setting) or {})


@requirement(
    "XDP-LIFE-07",
    level="MUST",
    source=f"{ATTACH}; net/core/dev.c, dev_xdp_install",
    falsified_by=("program:xdp.not-attached", "program:xdp.stays-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_modes_exclude_each_other(native, check_program_runs, traffic, step):
    """While a program is attached in native or in generic mode, attaching one in the other mode fails with EEXIST."""
    with step("Attach a program in native mode, and try generic mode: EEXIST, and the first program runs"):
        program = native.attach("xdp_pass")
        error = native.try_attach("xdp_drop", "generic")
        assert error is not None
        assert error.errno == errno.EEXIST
        check_program_runs(program)
    with step("Try offload mode: it fails too, and the first program runs"):
        error = native.try_attach("xdp_drop", "offload")
        assert error is not None
        assert native.state()["attached"] == "native"
        check_program_runs(program)
    with step(
        "Detach it, attach one in generic mode, and try native mode: EEXIST, and the generic one is still attached"
    ):
        native.detach()
        assert native.state()["attached"] == "none"
        generic_program = native.attach("xdp_pass", mode="generic")
        error = native.try_attach("xdp_drop", "native")
        assert error is not None
        assert error.errno == errno.EEXIST
        assert native.state()["attached"] == "generic"
    with step("The generic program sees each frame, which then reaches the stack"):
        probes = traffic.probes(sizes=(60, 1514))
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), generic_program)
        check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")
    with step("Detach it: no program is attached"):
        native.detach("generic")
        assert native.state()["attached"] == "none"


@requirement(
    "XDP-LIFE-08",
    level="MUST",
    source=f"{ATTACH}; Documentation/driver-api/driver-model/binding.rst",
    falsified_by=("program:driver.unbind-lost", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
@pytest.mark.budget(60)
def test_unbind(native, binding, guest, traffic, dut, settings, step, until):
    """When the driver is unbound under traffic with a program attached, it releases the program, and can be bound again."""
    with step("Attach a program, and start traffic"):
        program = native.load("xdp_drop", keep=False)
        native.attach_program(program)
        traffic.ready()
    # Traffic goes on until the driver is bound again: while it is unbound, possibly nothing reads frames from the wire.
    with traffic.stream():
        with step("Unbind the driver from the device"):
            binding.unbind()
            interfaces = binding.interfaces()
        with step("Bind the driver again"):
            binding.restore()
    traffic.discard()  # full socket buffers would drop the test frames that follow
    with step("The interface was gone; the kernel frees the program when the test closes the last reference to it"):
        assert interfaces == []
        guest.agent.call("handle.close", handle=program.handle)
        until(
            lambda: program.identifier not in guest.agent.call("bpf.program_ids"),
            what="the kernel frees the program",
        )
    with step("The new interface has no program, and frames of every size reach the stack"):
        assert dut.link()["ifname"] == dut.ifname
        settings.ready()
        assert native.state()["attached"] == "none"
        traffic.check_delivery()


@requirement(
    "XDP-LIFE-09",
    level="MUST",
    source="include/uapi/linux/ethtool.h, ETHTOOL_TCP_DATA_SPLIT_ENABLED; net/core/dev.c, dev_xdp_install",
    falsified_by=("program:xdp.rejected-attach-sticks", "program:xdp.error-without-extack", "rx.frame.dropped"),
)
def test_header_split(xdp, dut, settings, traffic, unobstructed, check_program_runs, step, skip_unsupported, evidence):
    """A driver rejects a program without fragment support if header split is on, and header split if one is attached, with an extack."""
    features = xdp.features()
    rings = dut.get("rings") or {}
    if "basic" not in features or "tcp-data-split" not in rings:
        skip_unsupported("native XDP and header split", evidence={"xdp-features": sorted(features), "rings": rings})
    with step("Enable header split"):
        error = settings.try_set("rings", tcp_data_split=TCP_DATA_SPLIT_ENABLED)
        if error is not None:
            skip_unsupported("header split", evidence=str(error))
    with step("Try to attach a program without fragment support: an errno and an extack, and no program is attached"):
        error = xdp.try_attach("xdp_drop")
        evidence("error", str(error))
        assert error is not None
        assert error.errno in {errno.EBUSY, errno.EINVAL, errno.EOPNOTSUPP}
        assert error.extack
        assert xdp.state()["attached"] == "none"
    with step("Frames of every size reach the stack"):
        traffic.check_delivery()
    with step("Disable header split, attach the program, and try to enable header split: an error with an extack"):
        unobstructed(xdp, dut, settings)
        program = xdp.attach("xdp_pass")
        error = dut.try_set("rings", tcp_data_split=TCP_DATA_SPLIT_ENABLED)
        evidence("error of enabling header split", str(error))
        assert error is not None
        assert error.extack
    with step("Header split is off, and the program runs"):
        assert (dut.get("rings") or {}).get("tcp-data-split") != TCP_DATA_SPLIT_ENABLED
        check_program_runs(program)
