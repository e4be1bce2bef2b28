# SPDX-License-Identifier: GPL-2.0-or-later
"""DPDK's drivers on the models, by ``dpdk-testpmd``.

What must come of a frame is the suite's own reading (`plugfest.frames`), not the model's. A test that a driver's own
``dev_info_get`` has no offload for is skipped.
"""

from __future__ import annotations

import random
from functools import partial

import echo
import pytest
from client_machine import ClientMachine, Nic
from plugfest.frames import probe
from plugfest.frames.dissect import TCP, dissect
from plugfest.frames.probe import tagged
from plugfest.frames.segmentation import TxRequest
from plugfest.frames.toeplitz import hashed, queues_of, toeplitz
from plugfest.machine import tap as taps
from testpmd import Testpmd, counters

RING = 256
FRAMES = 2100
"""More than eight times round the ring."""
OPTIONS = ("--rxq=4", "--txq=4", f"--rxd={RING}", f"--txd={RING}")
ALL = frozenset({"vlan", "rx-checksum", "ip-checksum", "checksum", "jumbo", "reset", "link", "histogram"})
NICS = [
    Nic("ixgbe", options=OPTIONS, port=ALL),
    Nic("gve", "gqi", options=OPTIONS),
    Nic("gve", "std", options=OPTIONS, port=frozenset({"rx-checksum", "ip-checksum"}), receives=False),
]

RECEIVE_CRASH = (
    "net_gve of DPDK 24.11.8 crashes at the second frame of a DQO queue: gve_rx_burst_dqo clears the next entry of its ring of "
    "buffers, not the one that it has taken (commit 0c58d6c780 of the branch 24.11)"
)

NO_SEED = (
    "net_gve has no tx_pkt_prepare and writes no pseudo-header's sum, to which the device adds the rest (Linux's CHECKSUM_PARTIAL): "
    "the checksum that leaves is wrong"
)

pytestmark = [pytest.mark.clients, pytest.mark.parametrize("machine", NICS, indirect=True, ids=str, scope="module")]

SIZES = {"size_64": 64, "size_65_to_127": 127, "size_128_to_255": 255, "size_256_to_511": 511, "size_512_to_1023": 1023}
"""Bytes, with the FCS, of the longest frame that each counts; ``size_1024_to_max`` the others."""


def histogram(frames: list[bytes], direction: str) -> dict[str, int]:
    """Return the counters of lengths, with the FCS, as ``show port xstats`` has them."""
    found = dict.fromkeys([*SIZES, "size_1024_to_max"], 0)
    for frame in frames:
        length = max(len(frame), 60) + 4
        found[next((name for name, longest in SIZES.items() if length <= longest), "size_1024_to_max")] += 1
    return {f"{direction}_{name}_packets": count for name, count in found.items()}


def need(machine: ClientMachine, *features: str) -> None:
    """Skip where the driver lacks one of them, or cannot receive."""
    lacking = [feature for feature in features if feature not in machine.nic.port]
    if lacking:
        pytest.skip(f"DPDK's driver of {machine.nic} has no {', '.join(lacking)}")
    if not machine.nic.receives:
        pytest.xfail(RECEIVE_CRASH)


def subset(found: dict[str, int], wanted: dict[str, int]) -> dict[str, int]:
    return {name: found[name] for name in wanted}


@pytest.mark.parametrize("mode", ["io", "macswap"])
def test_echo(machine: ClientMachine, testpmd: Testpmd, mode: str) -> None:
    """Each frame comes back, once and as the mode changes it, and driver, wire and device agree on how many there were."""
    need(machine)
    if (
        machine.nic.model == "ixgbe"
    ):  # queues share the first set of counters but for these (82599 datasheet, RQSMR and TQSM)
        testpmd.commands(*(f"set stat_qmap {way} 0 {queue} {queue}" for way in ("rx", "tx") for queue in range(1, 4)))
    before = machine.model.call("model.counters")
    sent = echo.frames(machine, FRAMES)
    with testpmd.forwarding(mode):
        seen = echo.exchange(machine, sent)
    echo.assert_same(seen.received, sent if mode == "io" else map(probe.swapped, sent))
    stats = testpmd.stats()
    length = sum(map(len, sent))
    wanted = {
        "RX-packets": FRAMES,
        "RX-bytes": length,
        "TX-packets": FRAMES,
        "TX-bytes": length,
        "RX-missed": 0,
        "RX-errors": 0,
        "RX-nombuf": 0,
        "TX-errors": 0,
        "rx_good_packets": FRAMES,
        "rx_good_bytes": length,
        "tx_good_packets": FRAMES,
        "tx_good_bytes": length,
    }
    if "histogram" in machine.nic.port:
        wanted |= {"rx_total_packets": FRAMES, "rx_total_bytes": length, "tx_total_packets": FRAMES}
        wanted |= {"rx_crc_errors": 0, "rx_missed_errors": 0, "rx_l3_l4_xsum_error": 0, "rx_multicast_packets": 0}
        wanted |= histogram(sent, "rx") | histogram(sent, "tx")
    assert subset(stats, wanted) == wanted
    after = machine.model.call("model.counters")
    for direction in ("rx", "tx"):
        account = [
            {name: new[name] - old[name] for name in ("frames", "bytes")}
            for old, new in zip(before[direction], after[direction], strict=True)
        ]
        for queue, each in enumerate(account[:4]):
            found = {
                name: stats[f"{direction}_q{queue}_{what}"]
                for name, what in (("frames", "packets"), ("bytes", "bytes"))
            }
            assert found == each, f"{direction} queue {queue}"
        assert sum(each["frames"] for each in account) == FRAMES


def _has(count: int, text: str) -> bool:
    return counters(text)["RX-packets"] >= count


def test_receive_only(machine: ClientMachine, testpmd: Testpmd) -> None:
    need(machine)
    sent = echo.frames(machine, FRAMES)
    with testpmd.forwarding("rxonly"):
        for at in range(0, FRAMES, echo.BATCH):
            machine.remote.send(sent[at : at + echo.BATCH])
            wanted = min(at + echo.BATCH, FRAMES)
            text = testpmd.wait_for("show port stats 0", partial(_has, wanted))
            assert counters(text)["RX-packets"] == wanted
    stats = testpmd.stats()
    assert (stats["RX-bytes"], stats["TX-packets"]) == (sum(map(len, sent)), 0)


def test_transmit_only(machine: ClientMachine, testpmd: Testpmd) -> None:
    """The driver counts what it sends out of itself, and that is what is on the wire."""
    testpmd.command("set txpkts 200")
    with machine.remote.capture() as seen:
        with testpmd.forwarding("txonly"):
            assert seen.wait(lambda found: len(found) > 10 * RING, 60)
        limit = machine.guest.deadline(20)
        while (stats := testpmd.stats())["TX-packets"] != len(seen.received(background=False)):
            assert not limit.passed, f"{stats} of {len(seen.received(background=False))} frames"
    frames = seen.received(background=False)
    assert stats["TX-packets"] == len(frames) > 10 * RING
    assert {len(frame) for frame in frames} == {200}
    assert stats["TX-bytes"] == 200 * len(frames)


FIELDS = {"udp": 0xF0, "ip": 0x30}
"""RXH_… bits: what of a UDP packet enters the hash, by testpmd's name of the functions."""


@pytest.mark.parametrize("functions", ["udp", "ip"])
def test_rss(machine: ClientMachine, testpmd: Testpmd, functions: str) -> None:
    """Hash and queue of each flow are those of the Toeplitz hash with this key and this table."""
    need(machine)
    chance = random.Random(functions)
    key = chance.randbytes(40)
    table = [chance.randrange(4) for _ in range(128)]
    testpmd.reconfigure("port config 0 rx_offload rss_hash on")
    kinds = {"udp": ("ipv4-udp", "ipv6-udp"), "ip": ("ipv4", "ipv6")}[functions]
    testpmd.command(f"port config all rss {functions}")
    testpmd.commands(*(f"port config 0 rss-hash-key {kind} {key.hex()}" for kind in kinds))
    testpmd.command(f"port config all rss {functions}")
    for at in range(0, 128, 8):  # a line has at most 128 characters
        entries = ",".join(f"({index},{table[index]})" for index in range(at, at + 8))
        testpmd.command(f"port config 0 rss reta {entries}")
    assert key.hex().upper() in testpmd.command("show port 0 rss-hash key")
    sent = [_from(frame, number) for number, frame in enumerate(echo.frames(machine, 96, flows=96))]
    with testpmd.showing() as seen:
        for at in range(0, len(sent), 8):
            machine.remote.send(sent[at : at + 8])
            found = {_number(packet.source): packet for packet in seen(8)}
            assert len(found) == 8
            for number, packet in found.items():
                value = toeplitz(key, hashed(dissect(sent[number]), FIELDS[functions]))
                assert packet.hash == value
                assert [packet.queue] == queues_of([value], table)


def _from(frame: bytes, number: int) -> bytes:
    """Return the frame with a sender by which testpmd's output names it."""
    return frame[:6] + bytes((0x02, 0x70, 0x66, 0x01)) + number.to_bytes(2, "big") + frame[12:]


def _number(source: str) -> int:
    return int(source[-5:].replace(":", ""), 16)


def _shown(
    machine: ClientMachine, testpmd: Testpmd, frames: list[bytes], count: int | None = None
) -> dict[int, object]:
    """Send frames, and return the packets that testpmd shows, by the frame's place."""
    with testpmd.showing() as seen:
        machine.remote.send(_from(frame, number) for number, frame in enumerate(frames))
        return {_number(packet.source): packet for packet in seen(len(frames) if count is None else count)}


def test_vlan_strip(machine: ClientMachine, testpmd: Testpmd) -> None:
    need(machine, "vlan")
    controls = (0x0001, 0x2005, 0xFFFE, 0xE064)
    plain = echo.frames(machine, len(controls), sizes=(90,))
    sent = [tagged(frame, control) for frame, control in zip(plain, controls, strict=True)]
    testpmd.reconfigure("vlan set strip on 0")
    try:
        found = _shown(machine, testpmd, sent)
        assert {number: (each.tag, each.length) for number, each in found.items()} == {
            number: (control, 90) for number, control in enumerate(controls)
        }
        assert all({"RX_VLAN", "RX_VLAN_STRIPPED"} <= each.flags for each in found.values())
    finally:
        testpmd.reconfigure("vlan set strip off 0")
    found = _shown(machine, testpmd, sent)
    assert [(each.tag is None, each.length) for _, each in sorted(found.items())] == [(True, 94)] * 4


def test_vlan_filter(machine: ClientMachine, testpmd: Testpmd) -> None:
    """With the filter on, tagged frames of other VLANs do not come, and untagged ones do; for every VLAN that is tried."""
    need(machine, "vlan")
    identities = (1, 2, 31, 32, 33, 1000, 4094)
    plain = echo.frames(machine, len(identities), sizes=(90,))
    sent = [tagged(frame, identity) for frame, identity in zip(plain, identities, strict=True)]
    testpmd.commands("set promisc 0 off", "vlan set filter on 0")
    try:
        for wanted in ({2, 33}, {31, 4094}):
            testpmd.commands(*(f"rx_vlan add {identity} 0" for identity in wanted))
            with testpmd.forwarding("io"):
                received = echo.exchange(machine, [*sent, *plain], answers=0, wait=len(wanted) + len(plain)).received
            echo.assert_same(received, [*(sent[identities.index(each)] for each in wanted), *plain])
            testpmd.commands(*(f"rx_vlan rm {identity} 0" for identity in wanted))
    finally:
        testpmd.commands("vlan set filter off 0", "set promisc 0 on")


def test_vlan_insert(machine: ClientMachine, testpmd: Testpmd) -> None:
    need(machine, "vlan")
    sent = echo.frames(machine, 800)
    testpmd.reconfigure("tx_vlan set 0 2047")
    try:
        with testpmd.forwarding("macswap"):
            received = echo.exchange(machine, sent).received
        echo.assert_same(received, (tagged(probe.swapped(frame), 2047) for frame in sent))
    finally:
        testpmd.reconfigure("tx_vlan reset 0")
    with testpmd.forwarding("io"):
        echo.assert_same(echo.exchange(machine, sent[:20]).received, sent[:20])


def request(machine: ClientMachine, version: int, protocol: int, payload: bytes, **more: object) -> TxRequest:
    return TxRequest(echo.ends(machine), version, payload, protocol=protocol, ports=(30000, 40000), **more)


def _ip(machine: ClientMachine) -> tuple[str, ...]:
    return ("ip",) if "ip-checksum" in machine.nic.port else ()


def transport_start(frame: bytes) -> int:
    return len(frame) - len(dissect(frame).transport)


def damaged(frame: bytes, at: int) -> bytes:
    return frame[:at] + bytes([frame[at] ^ 0x5A]) + frame[at + 1 :]


def test_receive_checksums(machine: ClientMachine, testpmd: Testpmd) -> None:
    """What the device says of checksums: good and bad ones, of headers and of payloads."""
    need(machine, "rx-checksum")
    testpmd.reconfigure(*(f"port config 0 rx_offload {kind}_cksum on" for kind in ("ipv4", "udp", "tcp")))
    cases: list[tuple[bytes, set[str]]] = []
    for version in (4, 6):
        for protocol in (6, 17):
            good = request(machine, version, protocol, bytes(range(101))).finished()
            checksum = transport_start(good) + (16 if protocol == TCP else 6)
            cases.append((good, {"RX_L4_CKSUM_GOOD", "RX_IP_CKSUM_GOOD"}))
            # The 82599 calls a UDP checksum of 0 wrong, so its driver takes no report of a wrong one (rx_udp_csum_zero_err).
            unknown = machine.nic.model == "ixgbe" and protocol != TCP
            bad = {"RX_IP_CKSUM_GOOD"} | (set() if unknown else {"RX_L4_CKSUM_BAD"})
            cases.append((damaged(good, checksum), bad))
            cases.append((damaged(good, len(good) - 1), bad))
            if version == 4:
                cases.append((damaged(good, 14 + 10), {"RX_L4_CKSUM_GOOD", "RX_IP_CKSUM_BAD"}))
    found = {}
    for at in range(0, len(cases), 7):
        part = [frame for frame, _ in cases[at : at + 7]]
        found |= {at + number: packet for number, packet in _shown(machine, testpmd, part).items()}
    names = {f"RX_{layer}_CKSUM_{state}" for layer in ("L4", "IP") for state in ("GOOD", "BAD", "NONE")}
    assert {number: packet.flags & names for number, packet in found.items()} == dict(
        enumerate(wanted for _, wanted in cases)
    )


def test_transmit_checksums(machine: ClientMachine, testpmd: Testpmd) -> None:
    """The device finishes every checksum, whatever stood in the frame."""
    need(machine)
    if "checksum" not in machine.nic.port:
        pytest.xfail(NO_SEED)
    chance = random.Random(7)
    sent, wanted = [], []
    for number in range(800):
        version, protocol = 4 + 2 * (number % 2), (6, 17)[number // 2 % 2]
        payload = chance.randbytes(chance.randrange(30, 1400))
        good = request(machine, version, protocol, payload, flow=number % 16, identification=number).finished()
        checksum = transport_start(good) + (16 if protocol == TCP else 6)
        sent.append(damaged(good, checksum) if number % 3 else good)
        wanted.append(probe.swapped(good))
    testpmd.command(f"set eth-peer 0 {taps.MAC}")
    offloads = [f"csum set {kind} hw 0" for kind in (*_ip(machine), "udp", "tcp")]
    testpmd.reconfigure(*offloads)
    try:
        with testpmd.forwarding("csum"):
            received = echo.exchange(machine, sent).received
        echo.assert_same(received, wanted)
    finally:
        testpmd.reconfigure(*(each.replace("hw", "sw") for each in offloads))


@pytest.mark.parametrize("version", [4, 6])
def test_segmentation(machine: ClientMachine, testpmd: Testpmd, version: int) -> None:
    """TCP leaves in segments of the size that was set, with each header right."""
    need(machine)
    segment = 500
    testpmd.command(f"set eth-peer 0 {taps.MAC}")
    testpmd.reconfigure(*(f"csum set {kind} hw 0" for kind in (*_ip(machine), "tcp")), f"tso set {segment} 0")
    try:
        for number in range(270):
            least = (
                1 if "checksum" in machine.nic.port else segment + 1
            )  # a shorter packet has its checksum finished alone
            payload = random.Random(number).randbytes(least + 137 * number % (1400 - least))
            whole = request(machine, version, TCP, payload, sequence=number * 100_003, identification=number)
            back = TxRequest(
                probe.Ends(taps.MAC, machine.mac, echo.ends(machine).destination, echo.ends(machine).sources),
                version,
                payload,
                segment,
                ports=whole.ports,
                sequence=whole.sequence,
                identification=number,
            )
            if number == 0:
                testpmd.commands("set fwd csum", "start")
            received = echo.exchange(machine, [whole.finished()], answers=len(back.pieces)).received
            assert back.problems(received) == []
    finally:
        testpmd.command("stop")
        testpmd.reconfigure("tso set 0 0", "csum set ip sw 0", "csum set tcp sw 0")


def test_restarts(machine: ClientMachine, testpmd: Testpmd) -> None:
    """The port works after each of twenty stops and starts, and after a reset of the driver's."""
    need(machine)
    sent = echo.frames(machine, FRAMES)
    for number in range(20):
        testpmd.reconfigure()
        with testpmd.forwarding("io"):
            some = sent[number * 20 : number * 20 + 20]
            echo.assert_same(echo.exchange(machine, some).received, some)
    testpmd.reconfigure(*(["port reset 0"] if "reset" in machine.nic.port else []))
    testpmd.commands("clear port stats all")
    with testpmd.forwarding("io"):
        echo.assert_same(echo.exchange(machine, sent).received, sent)
    stats = testpmd.stats()
    assert (stats["RX-packets"], stats["TX-packets"]) == (FRAMES, FRAMES)


def test_jumbo(machine: ClientMachine, testpmd: Testpmd) -> None:
    """Frames of 9 KB, each in several buffers both ways; with the MTU of before they are not received."""
    need(machine, "jumbo")
    sent = echo.frames(machine, 800, sizes=(9014, 60, 2048, 2049, 1514, 1515))
    machine.remote.mtu = 9000
    try:
        offloads = ("port config 0 rx_offload scatter {}", "port config 0 tx_offload multi_segs {}")
        testpmd.reconfigure("port config mtu 0 9000", *(each.format("on") for each in offloads))
        with testpmd.forwarding("io"):
            received = echo.exchange(machine, sent, batch=16).received
        echo.assert_same(received, sent)
        testpmd.reconfigure("port config mtu 0 1500", *(each.format("off") for each in offloads))
        testpmd.command("clear port xstats all")
        with testpmd.forwarding("io"):
            received = echo.exchange(machine, sent[:12], answers=0, wait=4).received
        short = [frame for frame in sent[:12] if len(frame) <= 1514]
        echo.assert_same(received, short)
    finally:
        machine.remote.mtu = 1500


def test_link(machine: ClientMachine, testpmd: Testpmd) -> None:
    """The driver sees the link go and come back, and frames go on."""
    need(machine, "link")
    sent = echo.frames(machine, 20)
    for _ in range(3):
        machine.model.call("link.set", up=False)
        testpmd.await_link(up=False)
        machine.model.call("link.set", up=True)
        testpmd.await_link(up=True)
        with testpmd.forwarding("io"):
            echo.assert_same(echo.exchange(machine, sent).received, sent)
