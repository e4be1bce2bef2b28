# SPDX-License-Identifier: GPL-2.0-or-later
"""XDP features: what a driver advertises over netlink works, and what it does not advertise it refuses cleanly."""

from __future__ import annotations

import errno

import pytest
from plugfest.machine.agent import AgentError
from plugfest.requirements.requirement import requirement
from plugfest.statistics.queue_counters import of_frames

FEATURES = "Documentation/netlink/specs/netdev.yaml, xdp-features; include/uapi/linux/netdev.h"
XDP_DROP = 1
"""include/uapi/linux/bpf.h, enum xdp_action."""
WHILE_ATTACHED = {"ndo-xmit", "ndo-xmit-sg"}
"""Features that a driver may have only while a program is attached (net/core/xdp.c, xdp_features_set_redirect_target)."""


@requirement(
    "XDP-FEAT-01", level="MUST", source=FEATURES, falsified_by="program:xdp.not-attached", proves="xdp-act:basic"
)
def test_advertised_is_attachable(native, traffic, step):
    """A driver that advertises the basic set attaches a program in native mode, says so, and runs it."""
    with step("Attach a program in native mode"):
        program = native.attach("xdp_pass")
    with step("The kernel tells it as attached, native, by its id"):
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
def test_unadvertised_is_refused(xdp, require_absent, traffic, step):
    """A driver that does not advertise the basic set refuses a native program with EOPNOTSUPP, and nothing else changes."""
    require_absent("xdp-act:basic")
    features = xdp.features()
    with step("Ask to attach a program in native mode"):
        refused = xdp.try_attach("xdp_drop", "native")
        assert refused is not None
        assert refused.errno == errno.EOPNOTSUPP
    with step("Nothing is attached, and the features are as before"):
        assert xdp.state()["attached"] == "none"
        assert xdp.features() == features
    with step("Frames reach the stack as before"):
        traffic.check_delivery()


@requirement(
    "XDP-FEAT-03",
    level="MUST",
    source=FEATURES,
    falsified_by=("program:xdp.rejected-attach-sticks", "rx.frame.dropped"),
    refuses="xdp-act:hw-offload",
)
def test_offload_is_refused(xdp, require_absent, traffic, step):
    """A driver that does not advertise hw-offload refuses a program for the device, and nothing else changes."""
    require_absent("xdp-act:hw-offload")
    features = xdp.features()
    with step("Ask to attach a program in offload mode"):
        refused = xdp.try_attach("xdp_drop", "offload")
        assert refused is not None
        assert refused.errno in {errno.EOPNOTSUPP, errno.EINVAL}
    with step("Nothing is attached, and the features are as before"):
        assert xdp.state()["attached"] == "none"
        assert xdp.features() == features
    with step("Frames reach the stack as before"):
        traffic.check_delivery()


@requirement(
    "XDP-FEAT-08",
    level="MUST",
    source=f"{FEATURES}, hw-offload; include/uapi/linux/if_link.h, XDP_FLAGS_HW_MODE",
    falsified_by=("program:xdp.not-attached", "rx.frame.duplicated"),
    proves="xdp-act:hw-offload",
)
def test_offload(xdp, require, traffic, step):
    """A driver that advertises hw-offload has its device run a program that is loaded for it: frames that this drops do not come.

    No driver here advertises it: on each of them XDP-FEAT-03 tests that it is refused.
    """
    require("xdp-act:hw-offload")
    with step("Load a program for the device that drops every frame, and attach it in offload mode"):
        program = xdp.load_for_device(XDP_DROP)
        xdp.attach_program(program, "offload")
    with step("The kernel tells it as attached, offloaded, by its id"):
        state = xdp.state()
        assert (state["attached"], state["prog-id"]) == ("offload", program.identifier)
    with step("Send test frames of every size: the stack receives none of them"):
        probes = traffic.probes()
        traffic.send(probes)
        assert traffic.received(probes) == []
    with step("Detach it: nothing is attached, and frames of every size reach the stack"):
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
    """A program in generic mode works on any driver: it sees every frame once, and those it drops do not reach the stack."""
    features = xdp.features()
    probes = traffic.probes()
    with step("Attach a program that drops test frames, in generic mode"):
        program = xdp.attach("xdp_drop", mode="generic")
    with step("The kernel tells it as attached, generic, and the advertised features are as before"):
        assert xdp.state()["attached"] == "generic"
        assert xdp.features() == features
    with step("Send test frames of every size, IPv4 and IPv6"):
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
    """Attaching a program takes no feature away and may add only that of a redirect target; detaching restores the set."""
    before = native.features()
    with step("Attach a program in native mode"):
        native.attach("xdp_pass")
        assert native.state()["attached"] == "native"
    with step("No feature is gone, and what was added is at most that of a redirect target"):
        during = native.features()
        evidence("xdp-features before, during", {"before": sorted(before), "during": sorted(during)})
        assert before - during == set()
        assert during - before <= WHILE_ATTACHED
    with step("Detach it: the features are those of before"):
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
    """An attach that is only for an empty interface, or only for a given predecessor, is refused where that does not hold."""
    with step("Attach a program in native mode"):
        first = native.attach("xdp_pass")
        other = native.load("xdp_drop")
    with step("Attach another only if there is none: EBUSY"):
        with pytest.raises(AgentError) as caught:
            native.attach_program(other, if_none=True)
        assert caught.value.errno == errno.EBUSY
    with step("Attach another in place of one that is not attached: EEXIST"):
        with pytest.raises(AgentError) as caught:
            native.attach_program(other, expected=other)
        assert caught.value.errno == errno.EEXIST
    with step("The first program is still the attached one"):
        assert native.state()["prog-id"] == first.identifier
    with step("Attach another in place of the first: it is the attached one"):
        native.attach_program(other, expected=first)
        assert native.state()["prog-id"] == other.identifier
    with step("Detach: none is attached"):
        native.detach()
        assert native.state()["attached"] == "none"


@requirement(
    "XDP-FEAT-07",
    level="MUST",
    source=f"{FEATURES}, dev-change-ntf",
    falsified_by=("program:xdp.not-attached", "program:xdp.announcement-lost"),
    proves="xdp-act:basic",
)
def test_changes_are_announced(native, step, skip_unsupported):
    """Where attaching or detaching a program changes the advertised features, that is announced to who listens, with the new ones."""
    before = native.features()
    with step("Listen to what is announced of devices, and attach a program"):
        ears = native.watch()
        native.attach("xdp_pass")
        assert native.state()["attached"] == "native"
        during = native.features()
    if during == before:
        skip_unsupported("features that depend on a program", evidence={"xdp-features": sorted(during)})
    with step("The change was announced: the last announcement has the features of now"):
        assert native.announced(ears)[-1:] == [during]
    with step("Detach it: that was announced too"):
        native.detach()
        assert native.features() == before
        assert native.announced(ears)[-1:] == [before]
