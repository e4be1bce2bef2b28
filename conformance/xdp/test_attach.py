# SPDX-License-Identifier: GPL-2.0-or-later
"""Attaching and detaching while the interface is in use."""

from __future__ import annotations

import errno

from plugfest.frames.probe import ETHERNET, SCRATCH
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import of_frames, total
from plugfest.traffic.traffic import check_same, payloads

ROUNDS = 20
MTU_TOO_BIG = 9000


def take_turns(xdp, programs):
    """Replace the first of two programs, which is attached, by the second, and that by the first, many times."""
    for turn in range(ROUNDS):
        old, new = programs[turn % 2], programs[(turn + 1) % 2]
        xdp.attach_program(new, expected=old)


@requirement(
    "XDP-ATTACH-01",
    level="MUST",
    source="include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC",
    falsified_by=("program:xdp.stays-attached", "rx.frame.dropped"),
)
def test_traffic_after_detach(native, traffic, step):
    """After a program is detached, frames reach the stack as they did before it was attached."""
    probes = traffic.probes()
    with step("Attach a program that drops test frames, and send some"):
        program = native.attach("xdp_drop")
        traffic.send(probes)
        sent = of_frames(probe.frame for probe in probes)
        native.wait(sent, program)
    with step("Detach it"):
        native.detach()
        assert native.state()["attached"] == "none"
    with step("Frames of every size reach the stack once and unchanged"):
        traffic.check_delivery()
    with step("The program has seen no more of them"):
        assert total(native.seen(program).values()) == sent


@requirement(
    "XDP-ATTACH-02",
    level="MUST",
    source="include/uapi/linux/if_link.h, XDP_FLAGS_REPLACE; ip-link(8), xdp: an attached program is replaced atomically",
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
)
def test_replace(native, traffic, dut, step):
    """Replacing the program by another takes no carrier, loses no frame, and each frame is seen by exactly one of the two."""
    probes = traffic.probes()
    half = len(probes) // 2
    with step("Attach a program, and prepare another"):
        first = native.attach("xdp_pass")
        second = native.load("xdp_modify")
        traffic.ready()
        carrier_losses = dut.link()["carrier-down-count"]
    with step("Replace the first by the second between two halves of a burst of test frames"):
        traffic.send(probes[:half])
        native.attach_program(second)
        traffic.send(probes[half:])
    with step("Every frame was seen, by one program or the other, and the second saw all that came after it was there"):
        sent = of_frames(probe.frame for probe in probes)

        native.wait(sent, first, second)
        assert total(native.seen(second).values()).frames >= len(probes) - half
    with step("The stack received every frame, and the carrier never went"):
        unwritten = [payload[SCRATCH:] for payload in payloads(probes)]
        check_same(traffic.received(probes, scratched=True), unwritten, "payloads in the stack")
        assert dut.link()["carrier-down-count"] == carrier_losses


@requirement(
    "XDP-ATTACH-04",
    level="SHOULD",
    source="ip-link(8), xdp: an attached program is replaced atomically",
    falsified_by=("wire:frame.lost", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_replace_loses_nothing(native, traffic, continuous_traffic, step, evidence):
    """No frame is lost while programs are replaced under traffic: each is seen by exactly one of them, and reaches the stack."""
    with step("Attach a program that passes all frames, and load another such"):
        programs = [native.attach("xdp_pass"), native.load("xdp_pass")]
        traffic.ready()
    with step(f"Replace the one by the other {ROUNDS} times, while frames come"), continuous_traffic.to_dut() as count:
        take_turns(native, programs)
    evidence("frames", {"sent": len(count.sent), "lost": count.lost})
    with step("The stack received every frame, once and unchanged"):
        count.check()
    with step("Each was seen by exactly one of the programs, and each program saw some"):
        native.wait(of_frames(probe.frame for probe in count.sent), *programs)
        assert all(native.seen(each) for each in programs)


@requirement(
    "XDP-ATTACH-05",
    level="MUST",
    source="ip-link(8), xdp: an attached program is replaced atomically; Documentation/networking/operstates.rst",
    falsified_by="program:xdp.attached-while-down",
    proves="xdp-act:basic",
)
def test_replace_takes_no_carrier(native, traffic, dut, step, evidence):
    """The carrier does not change while programs are replaced under traffic."""
    with step("Attach a program that passes all frames, load another such, and read the count of carrier changes"):
        programs = [native.attach("xdp_pass"), native.load("xdp_pass")]
        traffic.ready()
        before = dut.link()["carrier-changes"]
    with step(f"Replace the one by the other {ROUNDS} times, while frames come"), traffic.stream():
        take_turns(native, programs)
    traffic.discard()  # sockets that are full take nothing more
    with step("The count is as before, and frames of every size reach the stack"):
        traffic.ready()
        after = dut.link()["carrier-changes"]
        evidence("carrier changes before and after", (before, after))
        assert after == before
        traffic.check_delivery()


@requirement(
    "XDP-ATTACH-03",
    level="MUST",
    source="include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC",
    falsified_by=("program:xdp.stays-attached", "rx.frame.dropped"),
)
def test_attach_under_traffic(native, traffic, guest, step, until):
    """A program can be attached and detached many times under traffic, and nothing is left behind or broken."""
    with step("Keep frames coming to the interface, both test frames and others"):
        program = native.load("xdp_drop")
        programs = set(guest.agent.call("bpf.program_ids"))
    with step(f"Attach and detach {ROUNDS} times"), traffic.stream():
        for _ in range(ROUNDS):
            native.attach_program(program)
            assert native.state()["prog-id"] == program.identifier
            native.detach()
            assert native.state()["attached"] == "none"
    traffic.discard()  # sockets that are full take nothing more
    with step("Frames of every size reach the stack once and unchanged"):
        traffic.check_delivery()
    with step("No program is left in the kernel that was not there before"):
        until(lambda: set(guest.agent.call("bpf.program_ids")) <= programs, what="the kernel has freed the programs")


@requirement(
    "XDP-REFUSE-01",
    level="MUST",
    source="include/uapi/linux/netdev.h, NETDEV_XDP_ACT_RX_SG: without it a frame lies in one buffer",
    falsified_by=("program:xdp.rejected-attach-sticks", "rx.frame.dropped"),
)
def test_mtu_too_big(native, traffic, dut, step, skip_unsupported, defer, evidence):
    """With an MTU that its single buffers cannot hold, a driver refuses to attach with an errno, and nothing changes."""
    largest = dut.link()["max-mtu"]
    if largest < MTU_TOO_BIG:
        skip_unsupported(f"an MTU of {MTU_TOO_BIG}", evidence={"max-mtu": largest})
    with step(f"Set the MTU to {MTU_TOO_BIG}"):
        defer(dut.set_link, mtu=dut.mtu)
        dut.set_link(mtu=MTU_TOO_BIG)
        traffic.ready()
    with step("Ask to attach a program that takes no fragments"):
        refused = native.try_attach("xdp_drop", "native")
        evidence("refusal", str(refused))
        assert refused is not None, "the driver attached it; no frame of this MTU fits one page with its headroom"
        assert refused.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.ERANGE}
    with step("Nothing is attached, the MTU is as it was set, and frames reach the stack"):
        assert native.state()["attached"] == "none"
        assert dut.mtu == MTU_TOO_BIG
        traffic.check_delivery()


@requirement(
    "XDP-REFUSE-02",
    level="MUST",
    source="include/uapi/linux/netdev.h, NETDEV_XDP_ACT_RX_SG: without it a frame lies in one buffer",
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
)
def test_mtu_change_while_attached(native, traffic, dut, remote, step, skip_unsupported, defer, evidence):
    """While a program that takes no fragments is attached, a large MTU is refused and changes nothing, or its frames come."""
    largest = dut.link()["max-mtu"]
    if largest < MTU_TOO_BIG:
        skip_unsupported(f"an MTU of {MTU_TOO_BIG}", evidence={"max-mtu": largest})
    with step("Attach a program that passes all frames and takes no fragments"):
        before = dut.mtu
        program = native.attach("xdp_pass")
        defer(dut.set_link, mtu=before)
        traffic.ready()
    with step(f"Ask for an MTU of {MTU_TOO_BIG}"):
        refused = dut.try_set_link(mtu=MTU_TOO_BIG)
        evidence("refusal", str(refused))
    with step("The program is as before; so is the MTU, if it was refused"):
        assert native.state().get("prog-id") == program.identifier
        assert dut.mtu == (before if refused else MTU_TOO_BIG)
    with step("Frames up to the MTU that now holds go through the program to the stack"):
        defer(setattr, remote, "mtu", remote.mtu)
        remote.mtu = max(remote.mtu, dut.mtu)
        probes = traffic.probes(sizes=(60, 1514) if refused else (60, 1514, 3500, 4096, MTU_TOO_BIG + ETHERNET))
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), program)
        check_same(traffic.received(probes), payloads(probes), "payloads in the stack")


@requirement(
    "XDP-REFUSE-03",
    level="SHOULD",
    source="Documentation/userspace-api/netlink/intro.rst, Ext ACK",
    falsified_by="program:xdp.error-without-extack",
)
def test_refusal_says_why(native, dut, step, skip_unsupported, defer):
    """A driver that refuses a program says why in the extended acknowledgement."""
    largest = dut.link()["max-mtu"]
    if largest < MTU_TOO_BIG:
        skip_unsupported(f"an MTU of {MTU_TOO_BIG}", evidence={"max-mtu": largest})
    with step(f"Set the MTU to {MTU_TOO_BIG} and ask to attach a program that takes no fragments"):
        defer(dut.set_link, mtu=dut.mtu)
        dut.set_link(mtu=MTU_TOO_BIG)
        refused = native.try_attach("xdp_drop", "native")
        if refused is None:
            skip_unsupported("a refusal of large MTUs", evidence=native.state())
    with step("The refusal carries the driver's own words beside the errno"):
        assert refused.extack, f"only the errno came: {refused}"


@requirement(
    "XDP-REFUSE-04",
    level="MUST",
    source="Documentation/networking/netdev-features.rst, rx-lro; include/uapi/linux/netdev.h, NETDEV_XDP_ACT_RX_SG",
    falsified_by=("program:xdp.rejected-attach-sticks", "program:xdp.lro-misreported", "rx.frame.dropped"),
)
def test_large_receive(native, traffic, dut, step, skip_unsupported, defer, evidence):
    """With large receive offload on, a driver refuses a native program and changes nothing, or attaches it with LRO off."""
    features = dut.features()
    if "rx-lro" not in features.free:
        skip_unsupported("LRO", evidence=features)
    with step("Switch LRO on"):
        defer(dut.set_features, {"rx-lro": "rx-lro" in features.active})
        if dut.request_features({"rx-lro": True}):
            skip_unsupported("LRO with its present settings", evidence=dut.features())
        traffic.ready()
    with step("Ask to attach a program in native mode"):
        refused = native.try_attach("xdp_pass", "native")
        evidence("refusal", str(refused))
    with step("Refused: an errno, and LRO is still on; attached: LRO is off"):
        if refused is None:
            assert native.state()["attached"] == "native"
            assert not native.lro_active()
        else:
            assert refused.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.EBUSY}
            assert native.state()["attached"] == "none"
            assert native.lro_active()
    with step("Frames of every size reach the stack"):
        traffic.check_delivery()


@requirement(
    "XDP-REFUSE-06",
    level="SHOULD",
    source="Documentation/userspace-api/netlink/intro.rst, Ext ACK",
    falsified_by="program:xdp.error-without-extack",
)
def test_large_receive_says_why(native, dut, step, skip_unsupported, defer):
    """A driver that refuses a program because of large receive offload says so in the extended acknowledgement."""
    features = dut.features()
    if "rx-lro" not in features.free:
        skip_unsupported("LRO", evidence=features)
    with step("Switch LRO on, and ask to attach a program in native mode"):
        defer(dut.set_features, {"rx-lro": "rx-lro" in features.active})
        if dut.request_features({"rx-lro": True}):
            skip_unsupported("LRO with its present settings", evidence=dut.features())
        refused = native.try_attach("xdp_pass", "native")
        if refused is None:
            skip_unsupported("a refusal with LRO", evidence=native.state())
    with step("The refusal carries the driver's own words beside the errno"):
        assert refused.extack, f"only the errno came: {refused}"


@requirement(
    "XDP-REFUSE-05",
    level="MUST",
    source="Documentation/networking/netdev-features.rst, rx-gro-hw; include/uapi/linux/netdev.h, NETDEV_XDP_ACT_RX_SG",
    falsified_by=("program:xdp.rejected-attach-sticks", "program:settings.not-set", "rx.frame.dropped"),
)
def test_hardware_gro(native, traffic, dut, settings, step, skip_unsupported, evidence):
    """With hardware GRO on, a driver refuses a native program with words and changes nothing, or attaches it with GRO off or harmless."""
    features = dut.features()
    if "rx-gro-hw" not in features.free:
        skip_unsupported("hardware GRO", evidence=features)
    with step("Switch hardware GRO on"):
        settings.restore_features()
        if dut.request_features({"rx-gro-hw": True}):
            skip_unsupported("hardware GRO with its present settings", evidence=dut.features())
        traffic.ready()
        assert "rx-gro-hw" in dut.features().active
    with step("Ask to attach a program in native mode"):
        refused = native.try_attach("xdp_pass", "native")
        evidence("refusal", str(refused))
    with step("Refused: an errno and words, hardware GRO is still on and nothing attached; attached: it is told so"):
        if refused is None:
            assert native.state()["attached"] == "native"
        else:
            assert refused.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.EBUSY}
            assert refused.extack
            assert native.state()["attached"] == "none"
            assert "rx-gro-hw" in dut.features().active
    with step("Frames of every size reach the stack"):
        traffic.check_delivery()
