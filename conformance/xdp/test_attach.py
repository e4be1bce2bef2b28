# SPDX-License-Identifier: GPL-2.0-or-later
"""Attaching, replacing and detaching programs under traffic, and settings with which a driver rejects a program."""

from __future__ import annotations

import errno

from plugfest.frames.probe import ETHERNET, SCRATCH
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import of_frames, total
from plugfest.traffic.traffic import check_same, payloads

ROUNDS = 20
MTU_TOO_BIG = 9000


def replace_repeatedly(xdp, programs):
    """Replace the attached program with the other one, ROUNDS times in alternation."""
    for round_number in range(ROUNDS):
        old, new = programs[round_number % 2], programs[(round_number + 1) % 2]
        xdp.attach_program(new, expected=old)


@requirement(
    "XDP-ATTACH-01",
    level="MUST",
    source="include/uapi/linux/netdev.h, NETDEV_XDP_ACT_BASIC",
    falsified_by=("program:xdp.stays-attached", "rx.frame.dropped"),
)
def test_traffic_after_detach(native, traffic, step):
    """After a program is detached, frames reach the stack again as they did before it was attached."""
    probes = traffic.probes()
    with step("Attach a program that drops test frames, and send some"):
        program = native.attach("xdp_drop")
        traffic.send(probes)
        sent = of_frames(probe.frame for probe in probes)
        native.wait(sent, program)
    with step("Detach the program"):
        native.detach()
        assert native.state()["attached"] == "none"
    with step("Frames of every size reach the stack exactly once, unchanged"):
        traffic.check_delivery()
    with step("The program has seen no further frame"):
        assert total(native.seen(program).values()) == sent


@requirement(
    "XDP-ATTACH-02",
    level="MUST",
    source="include/uapi/linux/if_link.h, XDP_FLAGS_REPLACE; ip-link(8), xdp: an attached program is replaced atomically",
    falsified_by=("program:xdp.not-attached", "rx.frame.dropped"),
)
def test_replace(native, traffic, dut, step):
    """Replacing a program with another keeps the carrier up and loses no frame, and exactly one of the two sees each frame."""
    probes = traffic.probes()
    half = len(probes) // 2
    with step("Attach a program, and load another"):
        first_program = native.attach("xdp_pass")
        second_program = native.load("xdp_modify")
        traffic.ready()
        carrier_losses = dut.link()["carrier-down-count"]
    with step("Replace the first with the second between the two halves of a burst of test frames"):
        traffic.send(probes[:half])
        native.attach_program(second_program)
        traffic.send(probes[half:])
    with step("Exactly one of the programs saw each frame; the second saw every frame sent after the replacement"):
        sent = of_frames(probe.frame for probe in probes)

        native.wait(sent, first_program, second_program)
        assert total(native.seen(second_program).values()).frames >= len(probes) - half
    with step("The stack received every frame, and the interface never lost its carrier"):
        expected = [payload[SCRATCH:] for payload in payloads(probes)]
        check_same(traffic.received(probes, scratched=True), expected, "payloads that the stack received")
        assert dut.link()["carrier-down-count"] == carrier_losses


@requirement(
    "XDP-ATTACH-04",
    level="SHOULD",
    source="ip-link(8), xdp: an attached program is replaced atomically",
    falsified_by=("wire:frame.lost", "rx.frame.dropped"),
    proves="xdp-act:basic",
)
def test_replace_loses_nothing(native, traffic, continuous_traffic, step, evidence):
    """Replacing programs under traffic loses no frame: exactly one of them sees each frame, which then reaches the stack."""
    with step("Attach a program that passes all frames, and load it a second time"):
        programs = [native.attach("xdp_pass"), native.load("xdp_pass")]
        traffic.ready()
    with step(f"Replace one with the other {ROUNDS} times under traffic"), continuous_traffic.to_dut() as count:
        replace_repeatedly(native, programs)
    evidence("frames", {"sent": len(count.sent), "lost": count.lost})
    with step("The stack received every frame exactly once, unchanged"):
        count.check()
    with step("Exactly one of the programs saw each frame, and each program saw some"):
        native.wait(of_frames(probe.frame for probe in count.sent), *programs)
        assert all(native.seen(each) for each in programs)


@requirement(
    "XDP-ATTACH-05",
    level="MUST",
    source="ip-link(8), xdp: an attached program is replaced atomically; Documentation/networking/operstates.rst",
    falsified_by="program:xdp.attached-while-down",
    proves="xdp-act:basic",
)
def test_replace_keeps_carrier(native, traffic, dut, step, evidence):
    """The carrier does not change while programs are replaced under traffic."""
    with step("Attach a program that passes all frames, load it a second time, and read carrier_changes"):
        programs = [native.attach("xdp_pass"), native.load("xdp_pass")]
        traffic.ready()
        before = dut.link()["carrier-changes"]
    with step(f"Replace one with the other {ROUNDS} times under traffic"), traffic.stream():
        replace_repeatedly(native, programs)
    traffic.discard()  # full socket buffers would drop the test frames that follow
    with step("carrier_changes is unchanged, and frames of every size reach the stack"):
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
    """After many attach and detach cycles under traffic, frames reach the stack unchanged, and no program remains in the kernel."""
    with step("Load a program that drops test frames, and read the ids of all programs in the kernel"):
        program = native.load("xdp_drop")
        programs = set(guest.agent.call("bpf.program_ids"))
    with step(f"Under traffic, both test frames and others, attach and detach {ROUNDS} times"), traffic.stream():
        for _ in range(ROUNDS):
            native.attach_program(program)
            assert native.state()["prog-id"] == program.identifier
            native.detach()
            assert native.state()["attached"] == "none"
    traffic.discard()  # full socket buffers would drop the test frames that follow
    with step("Frames of every size reach the stack exactly once, unchanged"):
        traffic.check_delivery()
    with step("The kernel holds no program that was not there before"):
        until(lambda: set(guest.agent.call("bpf.program_ids")) <= programs, what="the kernel frees the programs")


@requirement(
    "XDP-REFUSE-01",
    level="MUST",
    source="include/uapi/linux/netdev.h, NETDEV_XDP_ACT_RX_SG: without it a frame lies in one buffer",
    falsified_by=("program:xdp.rejected-attach-sticks", "rx.frame.dropped"),
)
def test_mtu_too_big(native, traffic, dut, step, skip_unsupported, defer, evidence):
    """At an MTU larger than one buffer, a driver rejects a program without fragment support with an errno, and nothing changes."""
    max_mtu = dut.link()["max-mtu"]
    if max_mtu < MTU_TOO_BIG:
        skip_unsupported(f"an MTU of {MTU_TOO_BIG}", evidence={"max-mtu": max_mtu})
    with step(f"Set the MTU to {MTU_TOO_BIG}"):
        defer(dut.set_link, mtu=dut.mtu)
        dut.set_link(mtu=MTU_TOO_BIG)
        traffic.ready()
    with step("Try to attach a program without fragment support"):
        error = native.try_attach("xdp_drop", "native")
        evidence("error", str(error))
        assert error is not None, (
            "the driver attached it, although no frame of this MTU fits into one page with its headroom"
        )
        assert error.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.ERANGE}
    with step("No program is attached, the MTU is as it was set, and frames of every size reach the stack"):
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
    """With a program without fragment support attached, a driver rejects a large MTU and changes nothing, or delivers its frames."""
    max_mtu = dut.link()["max-mtu"]
    if max_mtu < MTU_TOO_BIG:
        skip_unsupported(f"an MTU of {MTU_TOO_BIG}", evidence={"max-mtu": max_mtu})
    with step("Attach a program without fragment support that passes all frames"):
        before = dut.mtu
        program = native.attach("xdp_pass")
        defer(dut.set_link, mtu=before)
        traffic.ready()
    with step(f"Try to set an MTU of {MTU_TOO_BIG}"):
        error = dut.try_set_link(mtu=MTU_TOO_BIG)
        evidence("error", str(error))
    with step("The same program is attached; the MTU is unchanged if the driver rejected the new one"):
        assert native.state().get("prog-id") == program.identifier
        assert dut.mtu == (before if error else MTU_TOO_BIG)
    with step("Frames of every size up to the current MTU pass the program and reach the stack"):
        defer(setattr, remote, "mtu", remote.mtu)
        remote.mtu = max(remote.mtu, dut.mtu)
        probes = traffic.probes(sizes=(60, 1514) if error else (60, 1514, 3500, 4096, MTU_TOO_BIG + ETHERNET))
        traffic.send(probes)
        native.wait(of_frames(probe.frame for probe in probes), program)
        check_same(traffic.received(probes), payloads(probes), "payloads that the stack received")


@requirement(
    "XDP-REFUSE-03",
    level="SHOULD",
    source="Documentation/userspace-api/netlink/intro.rst, Ext ACK",
    falsified_by="program:xdp.error-without-extack",
)
def test_mtu_too_big_extack(native, dut, step, skip_unsupported, defer):
    """A driver that rejects a program because of the MTU reports the reason in the extack."""
    max_mtu = dut.link()["max-mtu"]
    if max_mtu < MTU_TOO_BIG:
        skip_unsupported(f"an MTU of {MTU_TOO_BIG}", evidence={"max-mtu": max_mtu})
    with step(f"Set the MTU to {MTU_TOO_BIG} and try to attach a program without fragment support"):
        defer(dut.set_link, mtu=dut.mtu)
        dut.set_link(mtu=MTU_TOO_BIG)
        error = native.try_attach("xdp_drop", "native")
        if error is None:
            skip_unsupported("rejecting a program because of the MTU", evidence=native.state())
    with step("The error carries the driver's extack message as well as the errno"):
        assert error.extack, f"no extack message, only the errno: {error}"


@requirement(
    "XDP-REFUSE-04",
    level="MUST",
    source="Documentation/networking/netdev-features.rst, rx-lro; include/uapi/linux/netdev.h, NETDEV_XDP_ACT_RX_SG",
    falsified_by=("program:xdp.rejected-attach-sticks", "program:xdp.lro-misreported", "rx.frame.dropped"),
)
def test_lro(native, traffic, dut, step, skip_unsupported, defer, evidence):
    """With LRO enabled, a driver rejects a native program and changes nothing, or disables LRO and attaches the program."""
    features = dut.features()
    if "rx-lro" not in features.free:
        skip_unsupported("LRO", evidence=features)
    with step("Enable LRO"):
        defer(dut.set_features, {"rx-lro": "rx-lro" in features.active})
        if dut.try_set_features({"rx-lro": True}):
            skip_unsupported("LRO with the present settings", evidence=dut.features())
        traffic.ready()
    with step("Try to attach a program in native mode"):
        error = native.try_attach("xdp_pass", "native")
        evidence("error", str(error))
    with step("If the driver rejected it: an errno, and LRO is still enabled. If it attached: LRO is disabled"):
        if error is None:
            assert native.state()["attached"] == "native"
            assert not native.lro_active()
        else:
            assert error.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.EBUSY}
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
def test_lro_extack(native, dut, step, skip_unsupported, defer):
    """A driver that rejects a program because of LRO reports the reason in the extack."""
    features = dut.features()
    if "rx-lro" not in features.free:
        skip_unsupported("LRO", evidence=features)
    with step("Enable LRO, and try to attach a program in native mode"):
        defer(dut.set_features, {"rx-lro": "rx-lro" in features.active})
        if dut.try_set_features({"rx-lro": True}):
            skip_unsupported("LRO with the present settings", evidence=dut.features())
        error = native.try_attach("xdp_pass", "native")
        if error is None:
            skip_unsupported("rejecting a program because of LRO", evidence=native.state())
    with step("The error carries the driver's extack message as well as the errno"):
        assert error.extack, f"no extack message, only the errno: {error}"


@requirement(
    "XDP-REFUSE-05",
    level="MUST",
    source="Documentation/networking/netdev-features.rst, rx-gro-hw; include/uapi/linux/netdev.h, NETDEV_XDP_ACT_RX_SG",
    falsified_by=("program:xdp.rejected-attach-sticks", "program:settings.not-set", "rx.frame.dropped"),
)
def test_hardware_gro(native, traffic, dut, settings, step, skip_unsupported, evidence):
    """With HW-GRO on, a driver rejects a native program with an extack message and changes nothing, or attaches it and delivers frames."""
    features = dut.features()
    if "rx-gro-hw" not in features.free:
        skip_unsupported("hardware GRO", evidence=features)
    with step("Enable hardware GRO"):
        settings.restore_features()
        if dut.try_set_features({"rx-gro-hw": True}):
            skip_unsupported("hardware GRO with the present settings", evidence=dut.features())
        traffic.ready()
        assert "rx-gro-hw" in dut.features().active
    with step("Try to attach a program in native mode"):
        error = native.try_attach("xdp_pass", "native")
        evidence("error", str(error))
    with step(
        "If rejected: an errno, an extack message, hardware GRO still enabled, no program. If attached: the kernel reports native mode"
    ):
        if error is None:
            assert native.state()["attached"] == "native"
        else:
            assert error.errno in {errno.EINVAL, errno.EOPNOTSUPP, errno.EBUSY}
            assert error.extack
            assert native.state()["attached"] == "none"
            assert "rx-gro-hw" in dut.features().active
    with step("Frames of every size reach the stack"):
        traffic.check_delivery()
