# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket: JSON-RPC 2.0, the common methods of models, slow and misbehaving clients."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from example_device import SCRATCH, ExampleDevice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nicmodels.server.control import ControlServer
from nicmodels.server.methods import CommonMethods
from nicmodels.wire import PairWire, PcapRecorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from served import ServedDevice


class ControlClient:
    """A line-based JSON client."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")

    def raw(self, data: bytes) -> Any:
        self.socket.sendall(data)
        line = self.lines.readline()
        assert line.endswith(b"\n"), "the server closed the connection"
        return json.loads(line)

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        answer = self.raw(json.dumps(request).encode() + b"\n")
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
        return dict(answer)

    def call(self, method: str, **params: object) -> Any:
        answer = self.ask(method, **params)
        assert "error" not in answer, answer
        return answer["result"]

    def error(self, method: str, **params: object) -> int:
        return int(self.ask(method, **params)["error"]["code"])

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


class Controlled:
    """A served example device with a control socket."""

    def __init__(self, serve: Callable[..., ServedDevice], path: Path) -> None:
        near, self.far = PairWire.pair()
        self.recorder = PcapRecorder(near)
        self.served = serve(ExampleDevice, wire=self.recorder)
        self.path = path
        slot = self.served.slot
        methods = CommonMethods(self.served.device, slot, self.served.server, self.recorder).table()
        methods["test.broken"] = lambda: 1 // 0
        methods["test.unspeakable"] = lambda: {1, 2}
        methods["test.large"] = lambda: "x" * 1_000_000
        self.server = self.served.call(lambda: ControlServer(path, self.served.reactor, methods))
        self.clients: list[ControlClient] = []

    def client(self) -> ControlClient:
        client = ControlClient(self.path)
        self.clients.append(client)
        return client


@pytest.fixture
def controlled(serve: Callable[..., ServedDevice], tmp_path: Path) -> Iterator[Controlled]:
    one = Controlled(serve, tmp_path / "control.sock")
    yield one
    for client in one.clients:
        client.close()
    one.served.call(one.server.close)
    one.far.close()


class TestJsonRpc:
    def test_many_requests_in_one_piece_and_one_in_many(self, controlled: Controlled) -> None:
        client = controlled.client()
        line = b'{"jsonrpc":"2.0","id":1,"method":"example.echo","params":{"text":"hi"}}\n'
        for at in range(len(line)):
            client.socket.sendall(line[at : at + 1])
        assert json.loads(client.lines.readline()) == {"jsonrpc": "2.0", "id": 1, "result": "hi"}
        client.socket.sendall(line * 100 + b"\n  \n")
        for _ in range(100):
            assert json.loads(client.lines.readline())["result"] == "hi"

    def test_ids_come_back_as_they_were(self, controlled: Controlled) -> None:
        client = controlled.client()
        for identity in ("text", 0, -1, 2.5, None):
            line = json.dumps({"jsonrpc": "2.0", "id": identity, "method": "example.frames"}).encode() + b"\n"
            assert client.raw(line) == {"jsonrpc": "2.0", "id": identity, "result": 0}

    def test_notification_gets_no_answer(self, controlled: Controlled) -> None:
        client = controlled.client()
        client.socket.sendall(b'{"jsonrpc":"2.0","method":"example.frames"}\n{"jsonrpc":"2.0","method":"none"}\n')
        assert client.call("example.frames") == 0

    def test_batch(self, controlled: Controlled) -> None:
        client = controlled.client()
        batch = [
            {"jsonrpc": "2.0", "id": 1, "method": "example.frames"},
            {"jsonrpc": "2.0", "method": "example.frames"},
            {"jsonrpc": "2.0", "id": 2, "method": "none"},
            5,
        ]
        answers = client.raw(json.dumps(batch).encode() + b"\n")
        assert [answer.get("id") for answer in answers] == [1, 2, None]
        assert answers[0]["result"] == 0
        assert [answer["error"]["code"] for answer in answers[1:]] == [-32601, -32600]
        client.socket.sendall(b'[{"jsonrpc":"2.0","method":"example.frames"}]\n')
        assert client.call("example.frames") == 0

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            (b"no json", -32700),
            (b"{", -32700),
            (b"\xff\xfe", -32700),
            (b"[" * 100_000, -32700),
            (b"[]", -32600),
            (b"1", -32600),
            (b"null", -32600),
            (b"{}", -32600),
            (b'{"jsonrpc":"1.0","id":1,"method":"example.frames"}', -32600),
            (b'{"jsonrpc":"2.0","id":1,"method":5}', -32600),
            (b'{"jsonrpc":"2.0","id":[],"method":"example.frames"}', -32600),
            (b'{"jsonrpc":"2.0","id":true,"method":"example.frames"}', -32600),
            (b'{"jsonrpc":"2.0","id":1,"method":"none"}', -32601),
            (b'{"jsonrpc":"2.0","id":1,"method":"example.frames","params":[1]}', -32602),
            (b'{"jsonrpc":"2.0","id":1,"method":"example.frames","params":{"x":1}}', -32602),
            (b'{"jsonrpc":"2.0","id":1,"method":"example.echo"}', -32602),
            (b'{"jsonrpc":"2.0","id":1,"method":"test.broken"}', -32603),
            (b'{"jsonrpc":"2.0","id":1,"method":"test.unspeakable"}', -32603),
        ],
    )
    def test_errors(self, controlled: Controlled, line: bytes, code: int) -> None:
        client = controlled.client()
        answer = client.raw(line + b"\n")
        assert answer["error"]["code"] == code
        assert "\n" not in answer["error"]["message"]
        assert client.call("example.frames") == 0

    def test_endless_line(self, controlled: Controlled) -> None:
        client = controlled.client()
        client.socket.sendall(b"x" * (1 << 20))
        assert client.raw(b"y" * 10)["error"]["code"] == -32700
        assert client.lines.readline() == b""
        assert controlled.client().call("example.frames") == 0

    def test_slow_client_blocks_nobody(self, controlled: Controlled) -> None:
        slow, other, vfio = controlled.client(), controlled.client(), controlled.served.client()
        slow.socket.sendall(b'{"jsonrpc":"2.0","id":1,"method":"test.large"}\n' * 20)
        started = time.monotonic()
        for value in range(100):
            vfio.write(0, SCRATCH.offset, value)
            assert other.call("example.echo", text=str(value)) == str(value)
        assert time.monotonic() - started < 5
        for _ in range(20):
            assert len(json.loads(slow.lines.readline())["result"]) == 1_000_000

    def test_clients_come_and_go(self, controlled: Controlled) -> None:
        for _ in range(50):
            client = ControlClient(controlled.path)
            client.socket.sendall(b'{"jsonrpc":"2.0","id":1,"method":"test.large"}\n{"json')
            client.close()
        assert controlled.client().call("example.frames") == 0

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.one_of(
            st.binary(max_size=100).filter(lambda data: b"\n" not in data),
            st.recursive(
                st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
                lambda inner: st.one_of(
                    st.lists(inner, max_size=3),
                    st.dictionaries(st.sampled_from(("jsonrpc", "id", "method", "params", "name")), inner, max_size=4),
                ),
                max_leaves=8,
            ).map(lambda value: json.dumps(value).encode()),
        )
    )
    def test_any_line(self, controlled: Controlled, line: bytes) -> None:
        answer = controlled.server.answer(line)
        if answer is not None:
            parsed = json.loads(answer)
            for each in parsed if isinstance(parsed, list) else [parsed]:
                assert each["jsonrpc"] == "2.0"
                assert ("result" in each) != ("error" in each)


class TestMethods:
    def test_methods_are_listed(self, controlled: Controlled) -> None:
        names = controlled.client().call("control.methods")
        assert {"example.frames", "faults.arm", "trace.read", "wire.record", "events.read"} <= set(names)

    def test_faults(self, controlled: Controlled) -> None:
        client, vfio = controlled.client(), controlled.served.client()
        (point,) = client.call("faults.list")
        assert point == {
            "name": "dma.copy.lost",
            "text": "does not copy",
            "armed": False,
            "times": None,
            "match": {},
            "until_reset": False,
            "fired": 0,
        }
        client.call("faults.arm", name="dma.copy.lost", times=1, match={"length": 8})
        vfio.write(0, 0x28, 4)
        vfio.write(0, 0x28, 8)
        vfio.write(0, 0x28, 8)
        assert client.call("faults.fired", name="dma.copy.lost") == {"dma.copy.lost": 1}
        assert client.call("faults.fired") == {"dma.copy.lost": 1}
        assert [e["context"] for e in client.call("events.read") if e["event"] == "fault"] == [{"length": 8}]
        client.call("faults.arm", name="dma.copy.lost")
        assert client.call("faults.disarm")[0]["armed"] is False
        client.call("faults.arm", name="dma.copy.lost")
        assert client.call("faults.disarm", name="dma.copy.lost")[0]["armed"] is False

    def test_a_reset_ends_a_fault_that_was_to_last_until_one(self, controlled: Controlled) -> None:
        client, vfio = controlled.client(), controlled.served.client()
        for until_reset in (True, False):
            assert client.call("faults.arm", name="dma.copy.lost", until_reset=until_reset)["armed"]
            vfio.reset()
            (point,) = client.call("faults.list")
            assert point["armed"] is not until_reset

    @pytest.mark.parametrize(
        ("method", "params"),
        [
            ("faults.arm", {}),
            ("faults.arm", {"name": "dma.copy.lost", "until_reset": 1}),
            ("faults.arm", {"name": "none"}),
            ("faults.arm", {"name": "dma.copy.lost", "times": 0}),
            ("faults.arm", {"name": "dma.copy.lost", "times": "many"}),
            ("faults.arm", {"name": "dma.copy.lost", "match": 5}),
            ("faults.arm", {"name": ["list"]}),
            ("faults.disarm", {"name": "none"}),
            ("faults.fired", {"name": "none"}),
            ("registers.read", {"name": "NONE"}),
            ("registers.read", {"name": "SCRATCH", "index": 4}),
            ("registers.read", {"name": "SCRATCH", "index": "one"}),
            ("trace.read", {}),
            ("trace.start", {"limit": 0}),
            ("trace.start", {"limit": "all"}),
            ("wire.record", {"path": "/none/such/folder/file"}),
            ("events.read", {"after": "then"}),
        ],
    )
    def test_wrong_parameters(self, controlled: Controlled, method: str, params: dict[str, object]) -> None:
        client = controlled.client()
        assert client.error(method, **params) == -32602
        assert client.call("example.frames") == 0

    def test_registers(self, controlled: Controlled) -> None:
        client, vfio = controlled.client(), controlled.served.client()
        vfio.write(0, SCRATCH.offset + 4, 0xABCD)
        assert client.call("registers.read", name="SCRATCH", index=1) == {
            "value": 0xABCD,
            "decoded": "SCRATCH[1] 0x0000abcd",
        }

    def test_trace(self, controlled: Controlled) -> None:
        client, vfio = controlled.client(), controlled.served.client()
        client.call("trace.start", limit=10)
        vfio.write(0, 0x20, 5)
        vfio.read(0, 0x2C)
        vfio.read(0, 0x500)
        rows = client.call("trace.read")
        assert [(r["op"], r["offset"], r["register"], r["index"], r["value"], r["decoded"]) for r in rows] == [
            ("W", 0x20, "SRC", 0, 5, "SRC 0x00000005 ADDR=5"),
            ("R", 0x2C, "STATUS", 0, 0, "STATUS 0x00000000 DONE=0 FAILED=0"),
            ("R", 0x500, None, 0, 0, None),
        ]
        assert rows[0]["time"] <= rows[1]["time"]
        assert len(client.call("trace.read", limit=1)) == 1
        assert client.call("trace.stop") == {"entries": 3}
        assert client.call("trace.stop") == {"entries": 0}

    def test_wire(self, controlled: Controlled, tmp_path: Path) -> None:
        client = controlled.client()
        assert client.call("wire.stop") == {"frames": 0}
        assert client.call("wire.record", path=str(tmp_path / "w.pcapng")) == {"frames": 0}
        controlled.far.transmit([b"a frame of some length"])
        deadline = time.monotonic() + 5
        while client.call("example.frames") < 1:
            assert time.monotonic() < deadline, "the frame did not arrive"
        assert client.call("wire.stop") == {"frames": 2}  # received, and echoed
        assert client.call("wire.counters") == {"transmitted": 1, "transmit_drops": 0, "received": 1}

    def test_events_and_state(self, controlled: Controlled) -> None:
        client, vfio = controlled.client(), controlled.served.client()
        vfio.reset()
        events = client.call("events.read")
        assert [e["event"] for e in events] == ["reset", "client.connected", "reset"]
        assert [e["cause"] for e in events if e["event"] == "reset"] == ["power-on", "client"]
        assert client.call("events.read", after=events[-2]["sequence"]) == events[-1:]
        vfio.add_ram(0, 0x1000)
        state = client.call("server.state")
        assert state == {"connected": True, "rejected": {}, "model_errors": 0, "dma_errors": 0, "mappings": 1}
