# SPDX-License-Identifier: GPL-2.0-or-later
"""Flow steering by ntuple rules: the device delivers a flow to the queue of its rule."""

from __future__ import annotations

from plugfest.dut.steering import NTUPLE
from plugfest.frames.probe import burst
from plugfest.requirements.requirement import requirement

PORT = 42100
FLOWS = 16
SIZES = tuple(range(300, 300 + FLOWS))
"""Each flow has its own frame length, by which the test recognizes it."""


@requirement(
    "OFFLOAD-NTUPLE-01",
    level="MUST",
    source="include/uapi/linux/ethtool.h, ETHTOOL_SRXCLSRLINS; Documentation/networking/scaling.rst, accelerated RFS",
    falsified_by=("rx.flow-director.ignored", "program:settings.not-set"),
)
def test_rule(dut, remote, traffic, active, steering, trace_skbs, until, step, evidence, skip_unsupported):
    """Flows that match an ntuple rule arrive on the rule's queue, whatever their hash; after its deletion they arrive as before."""
    queues = dut.queues()
    if queues < 2:
        skip_unsupported("more than one receive queue", evidence={"receive queues": queues})
    frames = [probe.frame for probe in burst(traffic.ends, flows=FLOWS, sizes=SIZES, versions=(4,), port=PORT)]

    def queues_by_length():
        lengths = {len(frame) for frame in frames}
        with trace_skbs() as seen:
            remote.send(frames)
            until(
                lambda: len(found(seen, lengths)) == len(lengths),
                what=f"the driver passes {len(lengths)} frames to the stack",
                timeout=1,
            )
        return found(seen, lengths)

    def found(seen, lengths):
        return {each.length: each.queue for each in seen.received() if each.length in lengths}

    with step("Turn ntuple filters on: the flows arrive on several queues"):
        active(NTUPLE)
        traffic.ready()
        before = queues_by_length()
        assert len(set(before.values())) > 1, before
    for queue in (queues - 1, 0):
        with step(f"Insert a rule for their destination port to queue {queue}: all flows arrive on that queue"):
            rule = steering.add_rule("udp", 4, PORT, queue)
            assert rule is not None, f"{NTUPLE} is on, but the driver rejects the rule (EOPNOTSUPP)"
            evidence("location of the rule", rule.location)
            assert set(queues_by_length().values()) == {queue}
        with step("Delete the rule: the flows arrive as before"):
            rule.remove()
            assert queues_by_length() == before
