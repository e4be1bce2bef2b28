# SPDX-License-Identifier: GPL-2.0-or-later
"""Flow steering by rules (ntuple filters): a flow goes to the queue that its rule says."""

from __future__ import annotations

from plugfest.dut.steering import NTUPLE
from plugfest.frames.probe import burst
from plugfest.requirements.requirement import requirement

PORT = 42100
FLOWS = 16
SIZES = tuple(range(300, 300 + FLOWS))
"""A length of its own for each flow, by which it is found again."""


@requirement(
    "OFFLOAD-NTUPLE-01",
    level="MUST",
    source="include/uapi/linux/ethtool.h, ETHTOOL_SRXCLSRLINS; Documentation/networking/scaling.rst, accelerated RFS",
    falsified_by=("rx.flow-director.ignored", "program:settings.not-set"),
)
def test_rule(dut, remote, traffic, active, steering, trace_skbs, until, step, evidence, skip_unsupported):
    """Flows that match a rule come by the rule's queue, whatever their hash; once the rule is gone they come as before."""
    queues = dut.queues()
    if queues < 2:
        skip_unsupported("a queue to steer to", evidence={"receive queues": queues})
    frames = [probe.frame for probe in burst(traffic.ends, flows=FLOWS, sizes=SIZES, versions=(4,), port=PORT)]

    def landed():
        lengths = {len(frame) for frame in frames}
        with trace_skbs() as seen:
            remote.send(frames)
            until(
                lambda: len(found(seen, lengths)) == len(lengths),
                what=f"{len(lengths)} frames are handed over",
                timeout=1,
            )
        return found(seen, lengths)

    def found(seen, lengths):
        return {each.length: each.queue for each in seen.received() if each.length in lengths}

    with step("Turn the feature on; the flows come by several queues"):
        active(NTUPLE)
        traffic.ready()
        before = landed()
        assert len(set(before.values())) > 1, before
    for queue in (queues - 1, 0):
        with step(f"Insert a rule for their destination port, to queue {queue}: all come by it"):
            rule = steering.add_rule("udp", 4, PORT, queue)
            assert rule is not None, f"{NTUPLE} is on, and a rule is refused (EOPNOTSUPP)"
            evidence("the rule's location", rule.location)
            assert set(landed().values()) == {queue}
        with step("Delete the rule: they come as before"):
            rule.remove()
            assert landed() == before
