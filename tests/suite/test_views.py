# SPDX-License-Identifier: GPL-2.0-or-later
"""What the suite reads from the guest: features, link modes, skbs, and the payload that both ends generate."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from falsified import Falsified
from plugfest.dut.dut import CARRIER_WAIT, Dut, Features, LinkModes
from plugfest.dut.settings import Settings
from plugfest.dut.skb_trace import Checksum, Skb, skb_of
from plugfest.frames import payload
from plugfest.machine.agent import AgentError

RECIPES = Path(__file__).parents[2] / "guest-images"


def agents_payload() -> Any:
    spec = importlib.util.spec_from_file_location("agents_payload", RECIPES / "agent" / "sockets" / "payload.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["agents_payload"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("length", [0, 1, 65521, 65522, 200_000])
def test_both_ends_generate_the_same_payload(length: int) -> None:
    assert payload.generate(3, length) == agents_payload().generate(3, length)
    assert payload.generate(3, 100) != payload.generate(4, 100)


RECEIVED = (
    "dev=eth0 napi_id=0x2005 queue_mapping=2 skbaddr=00000000d8a1a9d3 vlan_tagged=1 vlan_proto=0x8100 vlan_tci=0x6064 "
    "protocol=0x0800 ip_summed=1 hash=0x1a2b3c4d l4_hash=1 len=1500 data_len=1244 truesize=2304 mac_header_valid=1 "
    "mac_header=-14 nr_frags=1 gso_size=0 gso_type=0x0"
)
SENT = (
    "dev=eth0 queue_mapping=1 skbaddr=00000000d8a1a9d3 vlan_tagged=0 vlan_proto=0x0000 vlan_tci=0x0000 protocol=0x86dd "
    "ip_summed=3 len=5866 data_len=5792 network_offset=14 transport_offset_valid=1 transport_offset=54 tx_flags=0 "
    "gso_size=1448 gso_segs=4 gso_type=0x10"
)


def entry(event: str, text: str) -> dict[str, Any]:
    return {"event": event, "fields": dict(part.split("=", 1) for part in text.split())}


def test_a_received_skb() -> None:
    assert skb_of(entry("napi_gro_receive_entry", RECEIVED)) == Skb(
        received=True,
        length=1514,
        linear=270,
        protocol=0x0800,
        queue=1,
        checksum=Checksum.UNNECESSARY,
        tag=0x6064,
        hash=0x1A2B3C4D,
        layer4=True,
        segment=0,
    )


def test_a_transmitted_skb() -> None:
    found = skb_of(entry("net_dev_start_xmit", SENT))
    assert (found.received, found.length, found.linear, found.queue) == (False, 5866, 74, 1)
    assert (found.checksum, found.tag, found.hash, found.segment) == (Checksum.PARTIAL, None, None, 1448)


def test_fixed_features() -> None:
    features = Features(
        known=frozenset("abcde"),
        changeable=frozenset("abe"),
        wanted=frozenset("a"),
        active=frozenset("ad"),
        never=frozenset("e"),
    )
    assert features.fixed_off == {"c", "e"}
    assert features.free == {"a", "b"}
    assert str(features).splitlines() == ["a: on", "b: off", "c: off [fixed]", "d: on [fixed]", "e: off [fixed]"]


def test_speeds_of_link_modes() -> None:
    assert LinkModes.speeds(frozenset({"10000baseKR/Full", "1000baseKX/Full", "Autoneg", "Backplane"})) == {10000, 1000}


class FakeAgent:
    """An agent with one interface; `errno` makes each ethtool call fail."""

    def __init__(self) -> None:
        self.rings = {"rx-max": 4096, "rx": 512, "tx": 256}
        self.errno: int | None = None
        self.waits: list[float] = []

    def call(self, method: str, **params: Any) -> Any:
        if method == "link.wait":
            self.waits.append(params["timeout"])
        if method in ("link.get", "link.wait"):
            return {
                "flags": ["up"],
                "carrier": 1,
                "operstate": "up",
                "local-routes": True,
                "mtu": 1500,
                "address": "02:00:00:00:00:01",
            }
        if self.errno is not None:
            raise AgentError(method, "NetlinkError", "no", self.errno)
        if method == "ethtool.get":
            return dict(self.rings)
        if method == "ethtool.set":
            self.rings |= params["settings"]
            return None
        raise AssertionError(method)


class FakeMachine:
    """The part of a machine that a Dut needs."""

    load_error = None

    def __init__(self) -> None:
        self.ifname = "eth0"
        self.agent: Any = FakeAgent()


def test_a_change_is_undone() -> None:
    machine = FakeMachine()
    undo: list[tuple[Any, ...]] = []
    settings = Settings(Dut(machine), lambda condition, **_: condition(), lambda *call: undo.append(call), lambda: True)  # type: ignore[arg-type]
    settings.set("rings", rx=64)
    assert machine.agent.rings["rx"] == 64
    for action, *arguments in undo:
        action(*arguments)
    assert machine.agent.rings["rx"] == 512


def test_try_set_returns_the_error_and_set_raises() -> None:
    machine = FakeMachine()
    dut = Dut(machine)  # type: ignore[arg-type]
    machine.agent.errno = 22
    error = dut.try_set("rings", rx=64)
    assert error is not None
    assert error.errno == 22
    with pytest.raises(AssertionError, match="was rejected"):
        dut.set("rings", rx=64)


def test_wait_for_the_carrier_ends_with_the_deadline_it_is_part_of() -> None:
    machine = FakeMachine()
    dut = Dut(machine)  # type: ignore[arg-type]
    dut.link_when(carrier=False)
    for left in (3.0, 0.1, 0.0):
        dut.link_when(carrier=False, within=left)
    assert machine.agent.waits == [CARRIER_WAIT, CARRIER_WAIT, 0.1, 0.0]


def test_unsupported_settings_are_none() -> None:
    machine = FakeMachine()
    machine.agent.errno = 95
    assert Dut(machine).get("rings") is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("fault", "number"), [("program:settings.not-set", None), ("program:settings.error-lost", 22)])
def test_falsifications_of_settings(fault: str, number: int | None) -> None:
    machine = FakeMachine()
    machine.agent.errno = number
    machine.agent = Falsified(machine.agent, fault)
    assert Dut(machine).try_set("rings", rx=64) is None  # type: ignore[arg-type]
    assert machine.agent.rings["rx"] == 512
    assert machine.agent.interposer.disarm(fault) == 1
