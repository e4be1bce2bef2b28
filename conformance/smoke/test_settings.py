# SPDX-License-Identifier: GPL-2.0-or-later
"""Down and up, ring sizes, channels, self-test and register dump: the interface works afterwards."""

from __future__ import annotations

import errno

import pytest
from plugfest.requirements.requirement import requirement

ROUNDS = 2
ETHTOOL = "Documentation/networking/ethtool-netlink.rst"


@requirement(
    "SMOKE-DOWN-01",
    level="MUST",
    source="Documentation/networking/operstates.rst; Documentation/networking/netdevices.rst, ndo_stop",
    falsified_by=("rx.frame.dropped", "tx.frame.dropped", "program:settings.not-set"),
)
def test_down_and_up(dut, remote, settings, check_traffic, traffic, step):
    """An interface that is down receives no frame; after it is set up, it has carrier and frames pass in both directions."""
    for number in range(1, ROUNDS + 1):
        with step(f"Round {number}: set the interface down: its operational state is down, and it receives no frame"):
            settings.set_link(up=False)
            before = dut.stats64()["rx_packets"]
            link = dut.link()
            assert "up" not in link["flags"]
            assert link["operstate"] == "down"
            remote.send(probe.frame for probe in traffic.probes(sizes=(60,)))
            assert traffic.nothing_received()
            assert dut.stats64()["rx_packets"] == before
        with step("Set it up: frames pass in both directions, unchanged"):
            dut.set_link(up=True)
            settings.ready()
            check_traffic()


@requirement(
    "SMOKE-RING-01",
    level="MUST",
    source=f"{ETHTOOL}, RINGS_SET",
    falsified_by=("program:settings.not-set", "rx.frame.dropped", "tx.frame.dropped"),
)
def test_ring_sizes(dut, guest, settings, check_traffic, step, evidence, skip_unsupported):
    """The driver accepts smaller ring sizes and the largest ones that it advertises; frames pass in both directions with each.

    No interface reports the smallest ring size. So the driver may reject a small size with EINVAL or ERANGE; the sizes must then be as
    before.
    """
    rings = dut.get("rings")
    if rings is None or not rings.get("rx-max"):
        skip_unsupported("ring sizes", evidence={"ethtool -g": rings})
    evidence("ethtool -g", rings)
    smaller = [{name: max(64, rings[name] // part) for name in ("rx", "tx")} for part in (4, 2)]
    largest = {name: rings[f"{name}-max"] for name in ("rx", "tx")}
    is_smaller = False
    for sizes in (*smaller, largest):
        if sizes == {name: rings[name] for name in sizes} or (is_smaller and sizes is not largest):
            continue
        with step(f"Set the ring sizes to {sizes}"):
            error = settings.try_set("rings", **sizes)
            if error is not None and error.errno == errno.EOPNOTSUPP:
                skip_unsupported("changing ring sizes", evidence=str(error))
            if error is not None and sizes is not largest and error.errno in (errno.EINVAL, errno.ERANGE):
                evidence("too small", str(error))
                assert {name: dut.get("rings")[name] for name in sizes} == {name: rings[name] for name in sizes}
                continue
            assert error is None, str(error)
            is_smaller = is_smaller or sizes is not largest
        with step("The driver reports these sizes, and the device's queues have them (checked on a model of ours)"):
            reported = dut.get("rings")
            assert {name: reported[name] for name in sizes} == sizes
            if guest.model is not None:
                queues = guest.model.call("model.queues")
                for side, size in sizes.items():
                    assert {queue["size"] for queue in queues[side] if queue["enabled"]} == {size}
        with step("Frames pass in both directions, unchanged"):
            check_traffic()


@requirement(
    "SMOKE-CHAN-01",
    level="MUST",
    source=f"{ETHTOOL}, CHANNELS_SET",
    falsified_by=("program:settings.not-set", "rx.frame.dropped"),
)
def test_channels(dut, settings, check_traffic, step, evidence, skip_unsupported):
    """The driver accepts one channel and the largest usable number; the netdev has as many queues, and frames pass in both directions."""
    channels = dut.get("channels")
    kinds = ("combined",) if (channels or {}).get("combined-max", 0) else ("rx", "tx")
    most = min((channels or {}).get(f"{kind}-max", 0) for kind in kinds)
    if most < 2:
        skip_unsupported("more than one channel", evidence={"ethtool -l": channels})
    evidence("ethtool -l", channels)
    usable = min(most, *(channels[f"{kind}-count"] for kind in kinds))
    counts = [1, usable] if usable > 1 else [min(2, most), 1]
    for count in counts:
        with step(f"Set {count} channels"):
            error = settings.try_set("channels", **{f"{kind}_count": count for kind in kinds})
            if error is not None and error.errno == errno.EOPNOTSUPP:
                skip_unsupported("changing the number of channels", evidence=str(error))
            assert error is None, str(error)
            assert {dut.get("channels")[f"{kind}-count"] for kind in kinds} == {count}
        with step(
            f"The netdev has {count} rx queues and at least as many tx queues; frames pass in both directions, unchanged"
        ):
            assert (dut.queues("rx"), dut.queues("tx") >= count) == (count, True)
            check_traffic()


@requirement(
    "SMOKE-TEST-01",
    level="MUST",
    source="include/uapi/linux/ethtool.h, ETHTOOL_TEST, ETH_TEST_FL_OFFLINE",
    falsified_by=("device.register.stuck", "device.loopback.broken", "device.eeprom.checksum"),
)
@pytest.mark.budget(60)
def test_self_test(self_test, settings, check_traffic, step):
    """The driver's offline self-test passes, and the interface works afterwards."""
    with step("Run the offline self-test: it passes, with no test failed"):
        outcome = self_test()
        assert outcome["passed"], outcome["results"]
        assert not any(outcome["results"].values()), outcome["results"]
    with step("The link comes up again, and frames pass in both directions, unchanged"):
        settings.ready()
        check_traffic()


@requirement(
    "SMOKE-REGS-01",
    level="MUST",
    source="include/uapi/linux/ethtool.h, ETHTOOL_GREGS",
    falsified_by=("rx.frame.dropped", "tx.frame.dropped"),
)
def test_register_dump(guest, dut, check_traffic, step, evidence, skip_unsupported):
    """A register dump has no side effects: the link stays up, and frames pass in both directions."""
    command = ["ethtool", "-d", dut.ifname, "raw", "on"]
    model = guest.model
    unknown = unknown_registers(model) if model else {}
    check_traffic()
    changes = dut.link()["carrier-changes"]
    with step("Dump the registers while the link is up"):
        result = guest.agent.call("process.run", command=command)
        if result["exit_status"]:
            skip_unsupported("a register dump", evidence=f"{' '.join(command)}: {result['stderr']}")
        if model:
            evidence(
                "registers that the dump read and the device does not have", added(unknown_registers(model), unknown)
            )
    with step("Frames pass in both directions, unchanged, and the carrier did not change"):
        check_traffic()
        assert dut.link()["carrier-changes"] == changes


@requirement(
    "SMOKE-REGS-02",
    level="SHOULD",
    source="the device's datasheet, whose registers the model declares",
    falsified_by="program:registers.stray",
)
def test_known_registers(binding, model, check_traffic, step, evidence):
    """From probe to traffic, the driver accesses no register that the device does not have."""
    before = unknown_registers(model)
    with step("Unbind the driver from the device and bind it again; frames pass in both directions"):
        binding.unbind()
        binding.bind()
        check_traffic()
    with step("The device counted no access to a register that it does not have"):
        accesses = added(unknown_registers(model), before)
        evidence("accesses to registers that the device does not have, by offset", accesses)
        assert accesses == {}


def unknown_registers(model):
    """Return how often the driver accessed each offset that is no register of the device."""
    return dict(model.call("model.counters")["unknown"])


def added(now, before):
    """Return by how much each count rose; counts that did not rise are left out."""
    return {offset: count - before.get(offset, 0) for offset, count in now.items() if count != before.get(offset, 0)}


@requirement(
    "SMOKE-DMA-01",
    level="MUST",
    source="Documentation/core-api/dma-api.rst: a device may only use what is mapped for it",
    falsified_by="rx.frame.dropped",
)
def test_no_dma_error(model, dut, settings, check_traffic, step):
    """With traffic and with the interface going down and up, the device accesses no unmapped memory and reports no internal error."""
    before = (model.call("model.counters")["dma_errors"], model.call("server.state")["model_errors"])
    with step("Pass frames in both directions, set the interface down and up, and pass frames again"):
        check_traffic()
        settings.set_link(up=False)
        dut.set_link(up=True)
        settings.ready()
        check_traffic()
    with step("The device counted no DMA error and no internal error"):
        assert (model.call("model.counters")["dma_errors"], model.call("server.state")["model_errors"]) == before
