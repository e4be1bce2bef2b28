# SPDX-License-Identifier: GPL-2.0-or-later
"""XDP features: what a driver advertises in netlink works, and what it does not advertise it rejects cleanly."""

from __future__ import annotations

import errno

import pytest
from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import of_frames

FEATURES = "Documentation/netlink/specs/netdev.yaml, xdp-features (since Linux 6.3); include/uapi/linux/netdev.h"
XDP_DROP = 1
"""include/uapi/linux/bpf.h, enum xdp_action."""
REDIRECT_TARGET_FEATURES = {"ndo-xmit", "ndo-xmit-sg"}
"""Features that a driver may advertise only while a program is attached (net/core/xdp.c, xdp_features_set_redirect_target)."""


@requirement(
    "XDP-FEAT-01", level="MUST", source=FEATURES, falsified_by="program:xdp.not-attached", proves="xdp-act:basic"
)
def test_advertised_is_attachable(native, traffic, step):
    """A driver that advertises the basic feature set attaches a program in native mode, reports it as attached, and runs it."""
    with step("Attach a program in native mode"):
        program = native.attach("xdp_pass")
    with step("The kernel reports this program's id as attached in native mode"):
        state = native.state()
        assert state["attached"] == "native"
        assert state["prog-id"] == program.identifier
    with step("The program runs on received frames"):
        probes = traffic.probes(sizes=(60, 1514))
        traffic.send(probes)
        sent = of_frames(probe.frame for probe in probes)
        native.wait(sent, program)


@requirement(
    "XDP-FEAT-02",
    level="MUST",
    source=FEATURES,
    falsified_by=("program:xdp.rejected-attach-sticks", "wire:frame.lost"),
    refuses=("xdp-act:basic", "xdp-act:redirect", "xdp-act:rx-sg"),
)
def test_unadvertised_is_rejected(xdp, require_absent, traffic, step):
    """A driver that does not advertise the basic feature set rejects a native program with EOPNOTSUPP, and nothing else changes."""
    require_absent("xdp-act:basic")
    features = xdp.features()
    with step("Try to attach a program in native mode"):
        error = xdp.try_attach("xdp_drop", "native")
        assert error is not None
        assert error.errno == errno.EOPNOTSUPP
    with step("No program is attached, and the advertised features are unchanged"):
        assert xdp.state()["attached"] == "none"
        assert xdp.features() == features
    with step("Frames of every size reach the stack"):
        traffic.check_delivery()


@requirement(
    "XDP-FEAT-03",
    level="MUST",
    source=FEATURES,
    falsified_by=("program:xdp.rejected-attach-sticks", "rx.frame.dropped"),
    refuses="xdp-act:hw-offload",
)
def test_offload_is_rejected(xdp, require_absent, traffic, step):
    """A driver that does not advertise hw-offload rejects a program in offload mode, and nothing else changes."""
    require_absent("xdp-act:hw-offload")
    features = xdp.features()
    with step("Try to attach a program in offload mode"):
        error = xdp.try_attach("xdp_drop", "offload")
        assert error is not None
        assert error.errno in {errno.EOPNOTSUPP, errno.EINVAL}
    with step("No program is attached, and the advertised features are unchanged"):
        assert xdp.state()["attached"] == "none"
        assert xdp.features() == features
    with step("Frames of every size reach the stack"):
        traffic.check_delivery()


@requirement(
    "XDP-FEAT-08",
    level="MUST",
    source=f"{FEATURES}, hw-offload; include/uapi/linux/if_link.h, XDP_FLAGS_HW_MODE",
    falsified_by=("program:xdp.not-attached", "rx.frame.duplicated"),
    proves="xdp-act:hw-offload",
)
def test_offload(xdp, require, traffic, step):
    """On a driver that advertises hw-offload, the device runs a program loaded for it, and frames that it drops do not reach the stack.

    None of the drivers tested here advertises it; XDP-FEAT-03 covers drivers without it.
    """
    require("xdp-act:hw-offload")
    with step("Load a program for the device that drops every frame, and attach it in offload mode"):
        program = xdp.load_for_device(XDP_DROP)
        xdp.attach_program(program, "offload")
    with step("The kernel reports this program's id as attached in offload mode"):
        state = xdp.state()
        assert (state["attached"], state["prog-id"]) == ("offload", program.identifier)
    with step("Send test frames of every size: the stack receives none of them"):
        probes = traffic.probes()
        traffic.send(probes)
        assert traffic.received(probes) == []
    with step("Detach it: no program is attached, and frames of every size reach the stack"):
        xdp.detach("offload")
        assert xdp.state()["attached"] == "none"
        traffic.ready()
        traffic.check_delivery()


@requirement(
    "XDP-FEAT-04",
    level="MUST",
    source="include/uapi/linux/if_link.h, XDP_FLAGS_SKB_MODE; net/core/dev.c, do_xdp_generic",
    falsified_by=("program:xdp.not-attached", "program:xdp.pass-instead", "rx.frame.duplicated"),
)
def test_generic_mode(xdp, traffic, step):
    """On any driver a program in generic mode sees every frame exactly once, and frames that it drops do not reach the stack."""
    features = xdp.features()
    probes = traffic.probes()
    with step("Attach a program that drops test frames in generic mode"):
        program = xdp.attach("xdp_drop", mode="generic")
    with step("The kernel reports it as attached in generic mode, and the advertised features are unchanged"):
        assert xdp.state()["attached"] == "generic"
        assert xdp.features() == features
    with step("Send IPv4 and IPv6 test frames of every size"):
        traffic.send(probes)
        sent = of_frames(probe.frame for probe in probes)
        xdp.wait(sent, program)
    with step("The stack receives none of them"):
        assert traffic.nothing_received()


@requirement(
    "XDP-FEAT-05",
    level="MUST",
    source=f"{FEATURES}; net/core/xdp.c, xdp_features_set_redirect_target",
    falsified_by=("program:xdp.not-attached", "program:xdp.stays-attached"),
)
def test_features_follow_the_program(native, step, evidence):
    """Attaching a program removes no feature and adds at most those of a redirect target; detaching it restores the former set."""
    before = native.features()
    with step("Attach a program in native mode"):
        native.attach("xdp_pass")
        assert native.state()["attached"] == "native"
    with step("No feature is missing, and any new one is a feature of a redirect target"):
        during = native.features()
        evidence("xdp-features before, during", {"before": sorted(before), "during": sorted(during)})
        assert before - during == set()
        assert during - before <= REDIRECT_TARGET_FEATURES
    with step("Detach it: the features are the former ones"):
        native.detach()
        assert native.state()["attached"] == "none"
        assert native.features() == before


@requirement(
    "XDP-FEAT-06",
    level="MUST",
    source="include/uapi/linux/if_link.h, XDP_FLAGS_UPDATE_IF_NOEXIST, XDP_FLAGS_REPLACE",
    falsified_by=("program:xdp.not-attached", "program:xdp.stays-attached"),
)
def test_conditional_attach(native, step):
    """A conditional attach (only if there is no program, or only in place of a given one) fails where the condition does not hold."""
    with step("Attach a program in native mode"):
        attached = native.attach("xdp_pass")
        replacement = native.load("xdp_drop")
    with step("Attach another program with XDP_FLAGS_UPDATE_IF_NOEXIST: EBUSY"):
        with pytest.raises(AgentError) as raised:
            native.attach_program(replacement, if_none=True)
        assert raised.value.errno == errno.EBUSY
    with step("Attach another program in place of one that is not attached (XDP_FLAGS_REPLACE): EEXIST"):
        with pytest.raises(AgentError) as raised:
            native.attach_program(replacement, expected=replacement)
        assert raised.value.errno == errno.EEXIST
    with step("The first program is still attached"):
        assert native.state()["prog-id"] == attached.identifier
    with step("Attach the other program in place of the first: it is attached now"):
        native.attach_program(replacement, expected=attached)
        assert native.state()["prog-id"] == replacement.identifier
    with step("Detach it: no program is attached"):
        native.detach()
        assert native.state()["attached"] == "none"


@requirement(
    "XDP-FEAT-07",
    level="MUST",
    source=f"{FEATURES}, dev-change-ntf",
    falsified_by=("program:xdp.not-attached", "program:xdp.announcement-lost"),
    proves="xdp-act:basic",
)
def test_feature_change_notification(native, step, skip_unsupported):
    """Where attaching or detaching a program changes the advertised features, the kernel sends a notification with the new set."""
    before = native.features()
    with step("Subscribe to the netdev notifications (dev-change-ntf), and attach a program"):
        monitor = native.watch()
        native.attach("xdp_pass")
        assert native.state()["attached"] == "native"
        during = native.features()
    with step("Where the features changed, the last notification carries the present ones"):
        assert during == before or native.announced(monitor)[-1:] == [during]
    with step("Detach it: where the features changed, the last notification carries the present ones"):
        native.detach()
        after = native.features()
        assert after == during or native.announced(monitor)[-1:] == [after]
    if before == during == after:
        skip_unsupported("features that depend on a program", evidence={"xdp-features": sorted(during)})
