# SPDX-License-Identifier: GPL-2.0-or-later
"""A program over the life of its interface: down and up, new rings, other channels, another mode, an unbound driver."""

from __future__ import annotations

import errno

import pytest
from plugfest.dut.dut import TCP_DATA_SPLIT_ENABLED
from plugfest.dut.operations import other_channels, other_rings
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import of_frames
from plugfest.traffic.traffic import check_same, payloads

ATTACH = "include/uapi/linux/if_link.h, XDP_FLAGS_MODES; include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC"
KEPT = f"{ATTACH}: a program stays attached until it is detached"
LINKS = "include/uapi/linux/bpf.h, BPF_LINK_CREATE, BPF_XDP: the program is detached when the last reference to the link goes"
OTHER_MTU = 1280
"""Which every interface has that carries IPv6."""


@pytest.fixture
def check_runs(xdp, traffic):
    """``check_runs(program)`` checks that the program is attached and sees each frame, which reaches the stack unchanged."""

    def check(program):
        state = xdp.state()
        assert (state["attached"], state.get("prog-id")) == ("native", program.identifier)
        traffic.ready()
        xdp.clear(program)
        probes = traffic.probes(sizes=(60, 512, 1294))
        traffic.send(probes)
        xdp.wait(of_frames(probe.frame for probe in probes), program)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")

    return check


@requirement(
    "XDP-LIFE-01",
    level="MUST",
    source=LINKS,
    falsified_by=("program:xdp.stays-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_link(native, traffic, check_runs, step):
    """A program that is attached by a BPF link runs until the link is closed, and no other takes its place meanwhile."""
    with step("Attach a program by a link, in native mode"):
        program = native.load("xdp_pass")
        link = native.link(program)
        check_runs(program)
    with step("Ask to attach another by netlink: EBUSY, and the first still runs"):
        refused = native.try_attach("xdp_drop")
        assert refused is not None
        assert refused.errno == errno.EBUSY
        check_runs(program)
    with step("Close the link: nothing is attached, and frames of every size reach the stack"):
        native.unlink(link)
        assert native.state()["attached"] == "none"
        traffic.check_delivery()


@requirement(
    "XDP-LIFE-02",
    level="MUST",
    source=f"{KEPT}; Documentation/networking/netdevices.rst",
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_attach_while_down(native, traffic, settings, dut, check_runs, step, evidence):
    """Attached while the interface is down, a program runs once it is up; a driver that refuses says so, and nothing changes."""
    with step("Take the interface down, and attach a program"):
        settings.set_link(up=False)
        program = native.load("xdp_pass")
        refused = native.try_attach_program(program)
        evidence("refusal", str(refused))
    with step("Take the interface up"):
        dut.set_link(up=True)
        traffic.ready()
    with step("The program runs, or it was refused and frames of every size reach the stack"):
        if refused is None:
            check_runs(program)
        else:
            assert refused.errno in {errno.ENETDOWN, errno.EBUSY, errno.EOPNOTSUPP, errno.EINVAL}
            assert native.state()["attached"] == "none"
            traffic.check_delivery()


@requirement(
    "XDP-LIFE-03",
    level="MUST",
    source=KEPT,
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_down_and_up(native, dut, check_runs, step, defer):
    """A program stays attached while the interface goes down and up, and runs again."""
    with step("Attach a program"):
        program = native.attach("xdp_pass")
        check_runs(program)
    with step("Take the interface down: the program is still told as attached"):
        defer(dut.set_link, up=True)
        dut.set_link(up=False)
        assert native.state().get("prog-id") == program.identifier
    with step("Take it up: the program sees each frame, which reaches the stack"):
        dut.set_link(up=True)
        check_runs(program)


@requirement(
    "XDP-LIFE-04",
    level="MUST",
    source=KEPT,
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
    variant="rings",
)
@requirement(
    "XDP-LIFE-05",
    level="MUST",
    source=KEPT,
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
    variant="channels",
)
@requirement(
    "XDP-LIFE-06",
    level="MUST",
    source=KEPT,
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
    variant="mtu",
)
@pytest.mark.parametrize("what", ["rings", "channels", "mtu"])
@pytest.mark.budget(60)
def test_reconfigured(native, dut, settings, check_runs, what, step, skip_unsupported, evidence):
    """A program stays attached and runs on every queue when rings, channels or MTU change; what is refused changes nothing."""
    with step("Find out what the driver lets be changed"):
        wanted = other_settings(dut, what)
        if wanted is None:
            skip_unsupported(f"a change of the {what}", evidence=dut.get(what))
    with step("Attach a program"):
        program = native.attach("xdp_pass")
        check_runs(program)
    with step(f"Change the {what}"):
        before = dut.mtu if what == "mtu" else dut.get(what)
        refused = settings.try_set_link(**wanted) if what == "mtu" else settings.try_set(what, **wanted)
        evidence("refusal", str(refused))
    with step("The program runs; what was refused is as it was"):
        check_runs(program)
        if refused is not None:
            assert (dut.mtu if what == "mtu" else dut.get(what)) == before


def other_settings(dut, what):
    """Other values for the rings, the channels or the MTU; None where the driver lets none be set."""
    if what == "mtu":
        return {"mtu": OTHER_MTU}
    return (other_rings if what == "rings" else other_channels)(dut.get(what) or {})


@requirement(
    "XDP-LIFE-07",
    level="MUST",
    source=f"{ATTACH}; net/core/dev.c, dev_xdp_install",
    falsified_by=("program:xdp.not-attached", "program:xdp.stays-attached", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_modes_exclude_each_other(native, check_runs, traffic, step):
    """While a program is attached in one of native and generic mode, one in the other is refused with EEXIST."""
    with step("Attach a program in native mode; ask for generic mode: EEXIST, and the first runs"):
        program = native.attach("xdp_pass")
        refused = native.try_attach("xdp_drop", "generic")
        assert refused is not None
        assert refused.errno == errno.EEXIST
        check_runs(program)
    with step("Ask for offload mode: refused too, and the first runs"):
        refused = native.try_attach("xdp_drop", "offload")
        assert refused is not None
        assert native.state()["attached"] == "native"
        check_runs(program)
    with step("Detach it, and attach one in generic mode; ask for native mode: EEXIST, and the first is still there"):
        native.detach()
        assert native.state()["attached"] == "none"
        other = native.attach("xdp_pass", mode="generic")
        refused = native.try_attach("xdp_drop", "native")
        assert refused is not None
        assert refused.errno == errno.EEXIST
        assert native.state()["attached"] == "generic"
    with step("It sees each frame, which reaches the stack"):
        probes = traffic.probes(sizes=(60, 1514))
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), other)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")
    with step("Detach it: nothing is attached"):
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
    """Taken off its device under traffic with a program attached, the driver lets the program go, and can be bound again."""
    with step("Attach a program, and keep frames coming"):
        loaded = native.load("xdp_drop")
        native.attach_program(loaded)
        traffic.ready()
    # The stream goes on until the driver is there again: while it is not, nobody may take frames from the wire.
    with traffic.stream():
        with step("Take the driver off the device"):
            binding.unbind()
            left = binding.interfaces()
        with step("Bind the driver again"):
            binding.restore()
    traffic.discard()  # sockets that are full take nothing more
    with step("The interface was gone; nothing in the kernel holds the program but we, who close it: it is gone too"):
        assert left == []
        guest.agent.call("handle.close", handle=loaded.handle)
        until(
            lambda: loaded.identifier not in guest.agent.call("bpf.program_ids"),
            what="the kernel has freed the program",
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
def test_header_split(xdp, dut, settings, traffic, unobstructed, check_runs, step, skip_unsupported, evidence):
    """With header split on, a program that takes no fragments is refused with words, and header split with such a program attached."""
    features = xdp.features()
    rings = dut.get("rings") or {}
    if "basic" not in features or "tcp-data-split" not in rings:
        skip_unsupported("native XDP and header split", evidence={"xdp-features": sorted(features), "rings": rings})
    with step("Turn header split on"):
        refused = settings.try_set("rings", tcp_data_split=TCP_DATA_SPLIT_ENABLED)
        if refused is not None:
            skip_unsupported("header split", evidence=str(refused))
    with step("Ask to attach a program that takes no fragments: refused, with words; nothing is attached"):
        refused = xdp.try_attach("xdp_drop")
        evidence("refusal", str(refused))
        assert refused is not None
        assert refused.errno in {errno.EBUSY, errno.EINVAL, errno.EOPNOTSUPP}
        assert refused.extack
        assert xdp.state()["attached"] == "none"
    with step("Frames of every size reach the stack"):
        traffic.check_delivery()
    with step("Turn header split off, attach the program, and ask for header split: refused, with words"):
        unobstructed(xdp, dut, settings)
        program = xdp.attach("xdp_pass")
        refused = dut.try_set("rings", tcp_data_split=TCP_DATA_SPLIT_ENABLED)
        evidence("refusal of header split", str(refused))
        assert refused is not None
        assert refused.extack
    with step("It is off, and the program runs"):
        assert (dut.get("rings") or {}).get("tcp-data-split") != TCP_DATA_SPLIT_ENABLED
        check_runs(program)
