# SPDX-License-Identifier: GPL-2.0-or-later
"""Down and up, rings, channels, self-test, register dump: after each, and during some, the device works."""

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
    """An interface that is down receives nothing; up again, it has carrier and traffic goes both ways, time after time."""
    for number in range(ROUNDS):
        with step(f"Take the interface down, time {number + 1}: there is no carrier, and nothing is received"):
            settings.set_link(up=False)
            before = dut.stats64()["rx_packets"]
            link = dut.link()
            assert "up" not in link["flags"]
            assert link["operstate"] == "down"
            remote.send(probe.frame for probe in traffic.probes(sizes=(60,)))
            assert traffic.nothing_received()
            assert dut.stats64()["rx_packets"] == before
        with step("Take it up: frames go both ways, unchanged"):
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
    """Ring sizes can be made smaller, and as large as the driver claims; traffic goes on both ways.

    No interface tells how small a ring may be: of the sizes that are tried one that is out of range may be refused, and
    then nothing has changed.
    """
    rings = dut.get("rings")
    if rings is None or not rings.get("rx-max"):
        skip_unsupported("ring sizes", evidence={"ethtool -g": rings})
    evidence("ethtool -g", rings)
    smaller = [{name: max(64, rings[name] // part) for name in ("rx", "tx")} for part in (4, 2)]
    largest = {name: rings[f"{name}-max"] for name in ("rx", "tx")}
    made_smaller = False
    for sizes in (*smaller, largest):
        if sizes == {name: rings[name] for name in sizes} or (made_smaller and sizes is not largest):
            continue
        with step(f"Set the rings to {sizes}"):
            refusal = settings.try_set("rings", **sizes)
            if refusal is not None and refusal.errno == errno.EOPNOTSUPP:
                skip_unsupported("a change of ring sizes", evidence=str(refusal))
            if refusal is not None and sizes is not largest and refusal.errno in (errno.EINVAL, errno.ERANGE):
                evidence("too small", str(refusal))
                assert {name: dut.get("rings")[name] for name in sizes} == {name: rings[name] for name in sizes}
                continue
            assert refusal is None, str(refusal)
            made_smaller = made_smaller or sizes is not largest
        with step("The driver tells these sizes, and the device has them, where it can be asked"):
            told = dut.get("rings")
            assert {name: told[name] for name in sizes} == sizes
            if guest.model is not None:
                queues = guest.model.call("model.queues")
                for way, size in sizes.items():
                    assert {queue["size"] for queue in queues[way] if queue["enabled"]} == {size}
        with step("Frames go both ways, unchanged"):
            check_traffic()


@requirement(
    "SMOKE-CHAN-01",
    level="MUST",
    source=f"{ETHTOOL}, CHANNELS_SET",
    falsified_by=("program:settings.not-set", "rx.frame.dropped"),
)
def test_channels(dut, settings, check_traffic, step, evidence, skip_unsupported):
    """The number of channels can be set to each end of the claimed range; the kernel sees as many queues, and traffic goes on."""
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
            refusal = settings.try_set("channels", **{f"{kind}_count": count for kind in kinds})
            if refusal is not None and refusal.errno == errno.EOPNOTSUPP:
                skip_unsupported("a change of the number of channels", evidence=str(refusal))
            assert refusal is None, str(refusal)
            assert {dut.get("channels")[f"{kind}-count"] for kind in kinds} == {count}
        with step(f"There are {count} queues each way, and frames go both ways, unchanged"):
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
    """The driver's own offline test finds no fault, and the interface works afterwards."""
    with step("Run the offline test"):
        told = self_test()
        assert told["passed"], told["results"]
        assert not any(told["results"].values()), told["results"]
    with step("The link comes up again, and frames go both ways, unchanged"):
        settings.ready()
        check_traffic()


@requirement(
    "SMOKE-REGS-01",
    level="MUST",
    source="include/uapi/linux/ethtool.h, ETHTOOL_GREGS",
    falsified_by=("rx.frame.dropped", "tx.frame.dropped"),
)
def test_register_dump(guest, dut, check_traffic, step, evidence, skip_unsupported):
    """A register dump disturbs nothing: the link stays up, and traffic goes on both ways."""
    command = ["ethtool", "-d", dut.ifname, "raw", "on"]
    model = guest.model
    unknown = unknown_registers(model) if model else {}
    check_traffic()
    changes = dut.link()["carrier-changes"]
    with step("Dump the registers while the link is up"):
        told = guest.agent.call("process.run", command=command)
        if told["exit_status"]:
            skip_unsupported("a register dump", evidence=f"{' '.join(command)}: {told['stderr']}")
        if model:
            evidence(
                "registers that the dump read, and the device does not have", new(unknown_registers(model), unknown)
            )
    with step("Frames go both ways, unchanged, and the carrier did not change"):
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
    with step("Take the driver off the device and bind it again; frames go both ways"):
        binding.unbind()
        binding.bind()
        check_traffic()
    with step("The device counted no access to a register that it does not have"):
        strays = new(unknown_registers(model), before)
        evidence("registers that the device does not have", strays)
        assert strays == {}


def unknown_registers(model):
    """Accesses to what is no register, by offset."""
    return dict(model.call("model.counters")["unknown"])


def new(now, before):
    """What was added."""
    return {offset: count - before.get(offset, 0) for offset, count in now.items() if count != before.get(offset, 0)}


@requirement(
    "SMOKE-DMA-01",
    level="MUST",
    source="Documentation/core-api/dma-api.rst: a device may only use what is mapped for it",
    falsified_by="rx.frame.dropped",
)
def test_no_dma_error(model, dut, settings, check_traffic, step):
    """Through traffic, down and up, the device is given no address that it may not use, and meets no error of its own."""
    before = (model.call("model.counters")["dma_errors"], model.call("server.state")["model_errors"])
    with step("Frames go both ways; take the interface down and up; frames go both ways again"):
        check_traffic()
        settings.set_link(up=False)
        dut.set_link(up=True)
        settings.ready()
        check_traffic()
    with step("The device counted no access outside of the guest's memory"):
        assert (model.call("model.counters")["dma_errors"], model.call("server.state")["model_errors"]) == before
