# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of falsifications: each names calls that exist, is used by a requirement, and changes a call or its answer."""

from __future__ import annotations

import copy
import errno
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from plugfest.errors import UsageError
from plugfest.falsify.falsifier import Falsifier
from plugfest.falsify.table import TABLE
from plugfest.location import recipes_root
from plugfest.machine.agent import AgentError
from plugfest.machine.model import ModelClient
from plugfest.plugin import suite
from plugfest.xdp.adjustment import UNCHANGED

WIRE = {"send", "capture"}
REJECTED = {
    "program:settings.error-lost",
    "program:qapi.error-lost",
    "program:qapi.other-errno",
    "program:rx-metadata.error-lost",
    "program:xdp.rejected-attach-sticks",
    "program:xdp.error-without-extack",
}
"""The falsifications of an error."""
BY_HAND = {"wire:frame.damaged", "wire:capture.unseen", "wire:capture.damaged"}
"""For plugfest run --fault only: no requirement names them, since a model's faults show the same."""


def agents_methods() -> set[str]:
    program = "from agent import methods; print(*methods.load_all())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=recipes_root(), capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@contextmanager
def served(model: str, folder: Path) -> Iterator[ModelClient]:
    control = folder / f"{model}.control"
    command = [sys.executable, "-m", "nicmodels", "serve", model, "--socket", str(folder / f"{model}.vfio-user")]
    with subprocess.Popen([*command, "--control", str(control), "--wire", "null"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == b"ready"
            client = ModelClient(control)
            yield client
            client.close()
        finally:
            process.terminate()


def models_methods(folder: Path) -> set[str]:
    found: set[str] = set()
    for model in ("ixgbe", "gve"):
        with served(model, folder) as client:
            found.update(client.call("control.methods"))
    return found


def test_each_applies_to_calls_that_exist(tmp_path: Path) -> None:
    known = {"agent": agents_methods(), "model": models_methods(tmp_path), "wire": WIRE}
    unknown = [
        (name, key)
        for name, row in TABLE.items()
        for key in row.methods
        if key.partition(":")[2] not in known[key.partition(":")[0]]
    ]
    assert unknown == []


def test_each_is_named_by_a_requirement_and_each_that_is_named_is_there() -> None:
    named = {fault for each in suite.collect() for fault in each.falsified_by}
    of_the_runner = {name for name in named if name.startswith(("program:", "wire:"))}
    assert of_the_runner - TABLE.keys() == set()
    assert TABLE.keys() - of_the_runner == BY_HAND


QUEUES = [
    {
        "ifindex": 2,
        "queue-type": way,
        "queue-id": number,
        f"{way}-packets": 8,
        f"{way}-bytes": 800,
        f"{way}-alloc-fail": 0,
    }
    for way in ("rx", "tx")
    for number in (0, 1)
]
STATISTICS = [["rx_packets", 8], ["rx_queue_0_packets", 8], ["rx_queue_0_bytes", 800], ["tx0_packets", 3]]
REPORT = {"kind": "rtnetlink", "last": {"rx_packets": 7, "rx_bytes": 420}, "back": {}, "leapt": {}}
LINK = {"rx_packets": 8, "rx_bytes": 800, "tx_packets": 8, "tx_bytes": 800}
BUFFER = {"data": "", "offset": 0, "options": 1}
ATTACH = {"ifname": "eth0", "mode": "native"}
SET = {"ifname": "eth0", "what": "rings", "settings": {"rx": 64}}
RECEIVED = {"bytes": 1, "sha256": "00", "fragments": []}
CHANGED = {"map": 13, "key": "00000000", "value": "ff" * len(UNCHANGED)}
OFF = {"ifname": "eth0", "wanted": {"rx-lro": False, "rx-hashing": True}}

SAMPLES: Mapping[str, list[tuple[dict[str, Any], Any]]] = {
    "agent:af_xdp.ask": [
        ({"sockets": 1, "command": command}, 3)
        for command in ("open eth0 0 512 4", "map 0 0", "fill 0 64 0", "wake 0", "busy-poll 0 20 64", "napi 0")
    ],
    "agent:af_xdp.reap": [({"sockets": 1, "socket": 0, "count": 8}, ["", ""])],
    "agent:af_xdp.receive": [({"sockets": each, "socket": 0, "count": 8, "timeout": 0}, [BUFFER]) for each in (1, 2)],
    "agent:af_xdp.send": [({"sockets": 1, "socket": 0, "frames": [""], "options": 3, "metadata": ""}, 1)],
    "agent:af_xdp.statistics": [({"sockets": 1, "socket": 0}, {"rx_dropped": 2})],
    "agent:bpf.link_create": [({"program": 5, "ifname": "eth0"}, 8)],
    "agent:bpf.load": [
        (
            {"object": "xdp_rx_metadata", "type": "xdp", "device": None},
            {"program": 5, "maps": {"count": 11, "rx_metadata": 12}},
        )
    ],
    "agent:bpf.map_counters": [
        ({"map": 11}, [[3, 180], [4, 240]]),
        ({"map": 12, "keys": 2}, [[1, 95, 0, 95, 7, 0x2B, 95, 0, 0], [1, 0, 9, 0, 8, 0x2B, 0, 0, 1]]),
    ],
    "agent:bpf.map_update": [(CHANGED, None)],
    "agent:devmem.bind": [({"ifname": "eth0", "queues": [3], "buffer": 2}, {"handle": 7, "id": 9})],
    "agent:devmem.bind_tx": [({"ifname": "eth0", "buffer": 2}, {"handle": 7, "id": 9})],
    "agent:devmem.receive": [({"receiver": 1}, RECEIVED)],
    "agent:ethtool.get": [
        ({"ifname": "eth0", "what": "linkmodes"}, {"supported": ["Autoneg", "10000baseKR/Full"]}),
        ({"ifname": "eth0", "what": "features"}, {"active": ["rx-lro"]}),
    ],
    "agent:ethtool.restart_negotiation": [({"ifname": "eth0"}, None)],
    "agent:ethtool.hash_fields": [({"ifname": "eth0", "flow": 2}, fields) for fields in (0x30, 0xF0)],
    "agent:ethtool.rss": [({"ifname": "eth0"}, {"indir": [0, 0, 1, 1], "rings": 2})],
    "agent:ethtool.set": [(SET, None)],
    "agent:ethtool.stats_list": [({"ifname": "eth0"}, STATISTICS)],
    "agent:features.get": [({"ifname": "eth0"}, {"active": ["rx-lro"]})],
    "agent:features.set": [(OFF, {"refused": ["rx-lro"]})],
    "agent:files.glob": [({"path": "/sys/devices/pci0000:00/net/*"}, ["/sys/devices/pci0000:00/net/eth0"])],
    "agent:files.read": [({"path": "/sys/class/net/eth0/queues/tx-0/xps_cpus"}, text) for text in ("1", "3")],
    "agent:files.write": [({"path": "/sys/bus/pci/drivers/ixgbe/unbind", "text": "0000:01:00.0"}, 12)],
    "agent:handle.close": [({"handle": 7}, "closed"), ({"handle": 8}, "closed")],
    "agent:link.get": [({"ifname": "eth0"}, {"carrier": 1, "operstate": "up"})],
    "agent:link.set": [({"ifname": "eth0", "mtu": 1400}, "set")],
    "agent:link.stats64": [({"ifname": "eth0"}, LINK)],
    "agent:link.wait": [
        ({"ifname": "eth0", "wanted": {"carrier": [1]}, "timeout": 1}, {"carrier": 1, "operstate": "up"})
    ],
    "agent:link.xdp_attach": [({**ATTACH, "program": 5}, "made"), ({**ATTACH, "program": None}, "made")],
    "agent:netdev.monitor_read": [({"monitor": 1, "ifname": "eth0"}, [{"xdp-features": ["basic"]}])],
    "agent:netdev.napi_get": [({"ifname": "eth0"}, [{"id": 1, "irq": 30}])],
    "agent:netdev.page_pool_get": [({}, [{"id": 1}])],
    "agent:netdev.qstats_get": [
        ({"ifname": "eth0", "scope": "queue"}, QUEUES),
        ({"ifname": "eth0", "scope": "device"}, [{"ifindex": 2, "rx-packets": 16}]),
    ],
    "agent:netdev.queue_get": [({"ifname": "eth0", "type": "rx"}, [{"id": 0, "napi-id": 1}])],
    "agent:packet.receive": [({"packet": 1, "count": 1, "timeout": 0.2}, [{"frame": "", "stamp": 5}])],
    "agent:packet.tx_timestamp": [({"packet": 1, "timeout": 0.2}, {"frame": "", "stamp": 5})],
    "agent:phc.adjust_frequency": [({"index": 0, "parts_per_billion": 5}, "done")],
    "agent:phc.read": [({"index": 0}, [100, 1000, 200])],
    "agent:phc.series": [({"index": 0, "seconds": 1}, [[100, 1000, 200]])],
    "agent:phc.set": [({"index": 0, "nanoseconds": 5}, "done")],
    "agent:phc.set_hwtstamp": [({"ifname": "eth0", "sent": 1, "received": 1}, [1, 1])],
    "agent:phc.step": [({"index": 0, "nanoseconds": 5}, "done")],
    "agent:process.run": [
        ({"command": ["modprobe", "-r", "ixgbe"]}, {"exit_status": 1, "stdout": "", "stderr": "busy"})
    ],
    "agent:readers.stop": [({"readers": 3, "timeout": 1}, [REPORT])],
    "agent:system.log_write": [({"text": "plugfest: down-and-up"}, None)],
    "agent:system.nanoseconds": [({}, {"realtime": 5})],
    "agent:system.slab": [({}, {"kmalloc-64": {"active": 7}})],
    "agent:worker.end": [({"worker": 1, "kill": True, "timeout": 1}, False)],
    "agent:zcrx.receive": [({"ring": 1}, RECEIVED)],
    "agent:zcrx.register": [({"ifname": "eth0", "queue": 3, "length": 4096}, 7)],
    "model:faults.arm": [({"name": "tx.queue.stuck"}, None)],
    "model:link.set": [({"up": False}, None)],
    "model:model.clock": [({}, {"now": 5})],
    "model:model.counters": [({}, {"unknown": {}})],
    "wire:capture": [({"frame": b"frame"}, b"frame")],
    "wire:send": [({"frame": b"frame", "number": 0}, b"frame")],
}
"""By end and method: parameters and a plausible answer."""
OPENED = ("agent:bpf.load", "agent:devmem.bind", "agent:bpf.link_create")
"""Calls that a test makes before a falsification of what they open is armed."""


def carry_out(interposer: Falsifier, key: str, *, rejected: bool) -> list[tuple[Any, Any]]:
    """Make the sample calls of a method; returns the calls and answers with the interposer, and those without."""
    found = []
    end, _, method = key.partition(":")
    for params, answer in SAMPLES[key]:
        asked: list[tuple[str, dict[str, Any]]] = []

        def call(name: str, own: Mapping[str, Any], asked: Any = asked, answer: Any = answer) -> Any:
            asked.append((name, dict(own)))
            if rejected and own.get("mode") != "generic" and own.get("object") != "xdp_pass":
                raise AgentError(name, "OSError", "Invalid argument: it is too large", errno.EINVAL)
            return copy.deepcopy(answer)

        got: Any = "rejected: it is too large"
        with suppress(AgentError):
            try:
                got = interposer(end, method, params, call)  # type: ignore[arg-type]
            except AgentError as error:
                got = f"rejected: {error.extack}"
                raise
        truth = "rejected: it is too large" if rejected else answer
        found.append(((asked, got), ([(method, params)], truth)))
    return found


@pytest.mark.parametrize("name", TABLE)
def test_each_changes_a_call_or_its_answer(name: str) -> None:
    interposer = Falsifier()
    for key in OPENED:
        for had, wanted in carry_out(interposer, key, rejected=False):
            assert had == wanted, "nothing is armed"
    interposer.arm(name)
    changed = [
        had != wanted
        for _ in range(2)
        for key in sorted(TABLE[name].methods)
        for had, wanted in carry_out(interposer, key, rejected=name in REJECTED)
    ]
    assert any(changed)
    assert interposer.disarm(name) == sum(changed)
    for key in TABLE[name].methods:
        for had, wanted in carry_out(interposer, key, rejected=False):
            assert had == wanted, "it is disarmed"


def test_a_method_that_a_process_of_the_guest_carries_out_is_changed_too() -> None:
    interposer = Falsifier()
    interposer.arm("program:qapi.next-queue")
    asked: list[Any] = []
    inner = {"method": "devmem.bind", "params": {"queues": [3]}}
    interposer("agent", "worker.call", {"worker": 1, **inner}, lambda name, params: asked.append((name, params)))
    assert asked == [("worker.call", {"worker": 1, "method": "devmem.bind", "params": {"queues": [2]}})]


def test_only_calls_that_match_are_changed() -> None:
    interposer = Falsifier()
    interposer.arm("wire:frame.lost", match={"number": 1})
    frames = [
        interposer("wire", "send", {"frame": b"frame", "number": number}, lambda _, params: params["frame"])
        for number in range(3)
    ]
    assert frames == [b"frame", None, b"frame"]
    assert interposer.disarm("wire:frame.lost") == 1


def test_what_is_not_in_the_table_cannot_be_armed() -> None:
    with pytest.raises(UsageError, match="unknown"):
        Falsifier().arm("program:unknown")
