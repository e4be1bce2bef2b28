# SPDX-License-Identifier: GPL-2.0-or-later
"""The views that the queue API's tests use, against a fake guest and a fake model."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest
from falsified import Falsified
from plugfest.dut.leaks import LeakCheck, MemoryUsage, taken
from plugfest.dut.steering import Steering
from plugfest.machine.agent import AgentError
from plugfest.machine.worker import Worker
from plugfest.queues.device_commands import DeviceCommands
from plugfest.queues.dma_record import DmaAccess, DmaRecord, stray
from plugfest.queues.memory_provider import DmabufProvider, IoUringProvider
from plugfest.queues.netdev_queues import QueueView

MIB = 1 << 20


class Guest:
    """The agent of a guest whose interface has two receive queues."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.bound: dict[int, str] = {}
        self.error: AgentError | None = None

    def call(self, method: str, /, **params: Any) -> Any:
        if method == "worker.call":
            return self.call(params["method"], **params["params"])
        self.calls.append((method, params))
        match method:
            case "worker.start":
                return {"handle": 1, "pid": 77}
            case "worker.end":
                return True
            case "udmabuf.create":
                return 2
            case "devmem.bind" | "zcrx.register":
                if self.error:
                    raise self.error
                self.bound = dict.fromkeys(params.get("queues", [params.get("queue")]), "dmabuf")
                return {"handle": 3, "id": 9} if method == "devmem.bind" else 3
            case "handle.close":
                self.bound = {}
                return None
            case "netdev.queue_get":
                return [{"id": each, "type": "rx", "napi-id": 100 + each} | self._provider(each) for each in (0, 1)]
            case "netdev.napi_get":
                return [{"id": 100, "irq": 30}, {"id": 101, "irq": 31}]
            case "netdev.page_pool_get":
                own = [{"id": 1, "ifindex": 3}, {"id": 2, "ifindex": 3, "dmabuf": 9}]
                return own if "ifname" in params else [*own, {"id": 4, "detach-time": 5}]
        raise AssertionError(method)

    def _provider(self, queue: int) -> dict[str, Any]:
        return {self.bound[queue]: 9} if queue in self.bound else {}


@pytest.fixture
def guest() -> Any:
    return Guest()


def memory_of(guest: Any) -> DmabufProvider:
    return DmabufProvider(Worker(guest), "eth0")


def test_a_binding_is_reported_until_it_ends(guest: Any) -> None:
    memory, view = memory_of(guest), QueueView(guest, "eth0")
    memory.bind(1)
    assert view.bound() == {1: "dmabuf"}
    assert view.bindings() == {1: 9}
    assert {index: (each.napi, each.irq) for index, each in view.states().items()} == {0: (100, 30), 1: (101, 31)}
    memory.unbind()
    assert view.bound() == {}


def test_leaked_pools_differ_from_pools_in_use(guest: Any) -> None:
    view = QueueView(guest, "eth0")
    assert [pool["id"] for pool in view.bound_pools()] == [2]
    assert [pool["id"] for pool in view.leaked_pools()] == [2, 4]


def test_an_error_is_returned_with_its_extack(guest: Any) -> None:
    memory = memory_of(guest)
    guest.error = AgentError(
        "devmem.bind", "NetlinkError", "Invalid argument: tcp-data-split is disabled", errno.EINVAL
    )
    error = memory.try_bind(1)
    assert error is not None
    assert (error.errno, error.extack) == (errno.EINVAL, "tcp-data-split is disabled")
    with pytest.raises(AssertionError, match="tcp-data-split is disabled"):
        memory.bind(1)
    guest.error = AgentError("devmem.bind", "TypeError", "no such thing", None)
    with pytest.raises(AgentError, match="no such thing"):
        memory.try_bind(1)


@pytest.mark.parametrize(
    ("fault", "bound"),
    [
        ("program:qapi.not-bound", {}),
        ("program:qapi.next-queue", {0: "dmabuf"}),
        ("program:qapi.stays-bound", {1: "dmabuf"}),
    ],
)
def test_falsifications_of_bindings(guest: Any, fault: str, bound: dict[int, str]) -> None:
    memory = memory_of(Falsified(guest, fault))
    memory.bind(1)
    if "stays" in fault:
        memory.unbind()
    assert QueueView(guest, "eth0").bound() == bound


def test_falsifications_of_errors(guest: Any) -> None:
    agent = Falsified(guest, "program:qapi.other-errno")
    memory = IoUringProvider(Worker(agent), "eth0")  # type: ignore[arg-type]
    guest.error = AgentError("zcrx.register", "WorkerError", "Device or resource busy", errno.EBUSY)
    error = memory.try_bind(1)
    assert error is not None
    assert (error.errno, error.extack) == (errno.EIO, "")
    agent.interposer.disarm("program:qapi.other-errno")
    agent.interposer.arm("program:qapi.error-lost")
    assert memory.try_bind(1) is None


def model(**answers: list[Any]) -> Any:
    def call(method: str, **_: Any) -> Any:
        return answers[method.replace(".", "_")].pop(0)

    return SimpleNamespace(call=call)


def test_commands_before_the_interval_are_left_out() -> None:
    before = [{"sequence": 4, "time": 1.0, "event": "command", "opcode": "create_rx_queue", "queue": 3}]
    since = [
        {"sequence": 5, "time": 2.0, "event": "command", "opcode": "destroy_rx_queue", "queue": 3, "status": "passed"},
        {"sequence": 6, "time": 2.1, "event": "reset", "cause": "driver"},
        {"sequence": 7, "time": 2.2, "event": "command", "opcode": "report_link_speed"},
        {"sequence": 8, "time": 2.3, "event": "command", "opcode": "create_rx_queue", "queue": 3, "ring_size": 512},
    ]
    with DeviceCommands(model(events_read=[before, since])).during() as log:
        pass
    assert log.about_receive_queues() == ["destroy_rx_queue 3", "create_rx_queue 3"]
    assert log.last("create_rx_queue", 3).details["ring_size"] == 512
    assert len(log.named("reset")) == 1
    log.check_rules()
    with pytest.raises(AssertionError, match="no create_rx_queue of queue 2"):
        log.last("create_rx_queue", 2)


def test_a_broken_rule_is_reported() -> None:
    with DeviceCommands(model(events_read=[[], [{"event": "violation", "rule": "rx.doorbell"}]])).during() as log:
        pass
    with pytest.raises(AssertionError, match="violation"):
        log.check_rules()


def test_dma_accesses_by_queue_kind_and_page() -> None:
    found = [
        {"time": 1.0, "queue": 3, "direction": "rx", "kind": "payload", "address": 0x5800, "length": 0x1000},
        {"time": 1.1, "queue": 3, "direction": "rx", "kind": "header", "address": 0x9000, "length": 66},
        {"time": 1.2, "queue": 3, "direction": "tx", "kind": "payload", "address": 0x5000, "length": 66},
    ]
    with DmaRecord(model(dma_start=[{}], dma_stop=[{}], dma_read=[found])).during() as record:
        pass
    (payload,) = record.of(3, "payload")
    assert not payload.within({0x5000})
    assert not payload.outside({0x6000})
    assert payload.within({0x5000, 0x6000})
    (header,) = record.of(3, "header")
    assert header.outside({0x5000, 0x6000})
    assert stray([]) == ""
    assert "payload at 0x5800+4096" in stray([DmaAccess(1.0, 3, "rx", "payload", 0x5800, 0x1000)])


def test_a_leak_grows_each_time_and_a_cache_once() -> None:
    def reading(objects: int, others: int = 0, kernel: int = 80 * MIB, pools: int = 4) -> MemoryUsage:
        return MemoryUsage({"kmalloc-64": objects, "dentry": others}, kernel, pools, 1)

    assert LeakCheck.grown([reading(1000), reading(1200), reading(1210)], 50) == []
    assert LeakCheck.grown([reading(0, 0), reading(0, 500), reading(0, 1000)], 50) == []
    assert "kmalloc-64: +50 and +55" in LeakCheck.grown([reading(1000), reading(1050), reading(1105)], 50)[0]
    # A leak shows under what else grows, too; what grew twice by chance, in a third round.
    assert LeakCheck.grown([reading(1000), reading(1050), reading(1151)], 50)
    assert LeakCheck.grown([reading(1000), reading(1078), reading(1512), reading(1513)], 50) == []
    leak = 32 * 4096 * 50  # 32 pages each time
    assert "the kernel's memory" in LeakCheck.grown([reading(0, kernel=80 * MIB + at * leak) for at in range(3)], 50)[0]
    assert LeakCheck.grown([reading(0, kernel=(80 + more) * MIB) for more in (0, 100, 101)], 50) == []
    assert LeakCheck.grown([reading(0), reading(0), reading(0, pools=5)], 50) == ["pools: [4, 4, 5]"]


@pytest.mark.parametrize(("objects", "rounds"), [((0, 10, 20), 2), ((0, 78, 512, 513), 3), ((0, 50, 100, 150), 3)])
def test_a_third_round_decides(monkeypatch: pytest.MonkeyPatch, objects: tuple[int, ...], rounds: int) -> None:
    readings = iter(MemoryUsage({"kmalloc-64": each}, 0, 0, 1) for each in objects)
    monkeypatch.setattr(LeakCheck, "read", lambda _: next(readings))
    worked: list[int] = []
    taken = LeakCheck(None, "ixgbe").rounds(lambda: worked.append(1), 50)  # type: ignore[arg-type]
    assert (len(worked), len(taken)) == (rounds, rounds + 1)
    assert bool(LeakCheck.grown(taken, 50)) is (objects == (0, 50, 100, 150))


def test_memory_of_processes_and_caches_is_not_the_kernels() -> None:
    free = {"MemTotal": 100 * MIB, "MemFree": 40 * MIB, "Buffers": MIB, "Cached": 10 * MIB, "SwapCached": 0}
    meminfo = {**free, "AnonPages": 20 * MIB, "SReclaimable": 8 * MIB, "Slab": 15 * MIB, "MemAvailable": 50 * MIB}
    zones = """
      pagesets
        cpu: 0
                  count:    200
                  high:     252
        cpu: 1
                  count:    56
    """
    assert taken(meminfo, zones) == 20 * MIB


def test_steering_avoids_a_queue_or_uses_it_alone() -> None:
    tables: list[list[int]] = []
    change = SimpleNamespace(set_rss=lambda table: tables.append(list(table)))
    dut = SimpleNamespace(rss=lambda: SimpleNamespace(table=(0, 1, 2, 3) * 2, queues=4))
    steering = Steering(dut, change, lambda *_: None)  # type: ignore[arg-type]
    assert steering.avoid(3)
    assert steering.only(3)
    assert tables == [[0, 1, 2, 0, 1, 2, 0, 1], [3] * 8]
    one = SimpleNamespace(rss=lambda: SimpleNamespace(table=(0,) * 8, queues=1))
    assert not Steering(one, change, lambda *_: None).avoid(0)  # type: ignore[arg-type]
