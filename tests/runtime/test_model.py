# SPDX-License-Identifier: GPL-2.0-or-later
"""The model's process and its control socket: a real model, and a server that misbehaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plugfest.errors import InfrastructureError
from plugfest.machine import model as models
from plugfest.machine.model import ModelClient, ModelError, ModelGone, ModelProcess
from plugfest.machine.tap import Tap

MAC = "02:70:66:00:00:01"


class ControlServer:
    """Answers each request with `answer(request)`; None sends nothing."""

    def __init__(self, path: Path, answer: Callable[[dict[str, object]], bytes | None]) -> None:
        self.connections = 0
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            for line in connection.makefile("rb"):
                reply = self._answer(json.loads(line))
                if reply == b"":
                    return
                if reply is not None:
                    connection.sendall(reply)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def reply(request: dict[str, object], **fields: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], **fields}).encode() + b"\n"


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Callable[[dict[str, object]], bytes | None]], ModelClient]]:
    servers: list[ControlServer] = []

    def make(answer: Callable[[dict[str, object]], bytes | None]) -> ModelClient:
        servers.append(ControlServer(tmp_path / "control", answer))
        return ModelClient(tmp_path / "control")

    yield make
    for server in servers:
        server.close()


Serve = Callable[[Callable[[dict[str, object]], bytes | None]], ModelClient]


def test_result_and_parameters(serve: Serve) -> None:
    client = serve(lambda request: reply(request, result=[request["method"], request["params"]]))
    assert client.call("registers.read", name="CTRL", index=1) == ["registers.read", {"name": "CTRL", "index": 1}]
    client.close()
    client.close()
    assert client.call("x") == ["x", {}]


def test_error_of_the_model(serve: Serve) -> None:
    client = serve(lambda request: reply(request, error={"code": -32601, "message": "no method x"}))
    with pytest.raises(ModelError, match=r"^x: no method x$") as caught:
        client.call("x")
    assert caught.value.code == -32601


def test_notifications_are_passed_over(serve: Serve) -> None:
    client = serve(lambda request: b'{"jsonrpc": "2.0", "method": "event", "params": {}}\n' + reply(request, result=1))
    assert client.call("x") == 1


def test_model_that_does_not_answer(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "REPLY_TIMEOUT", 0.2)
    client = serve(lambda request: None if request["method"] == "mute" else reply(request, result=2))
    with pytest.raises(ModelGone, match="mute: expected the model to answer within 0 s; it did not"):
        client.call("mute")
    assert client.call("x") == 2


@pytest.mark.parametrize("answer", [b"", b"no JSON\n"])
def test_answers_that_make_no_sense(serve: Serve, answer: bytes) -> None:
    client = serve(lambda _request: answer)
    with pytest.raises(ModelGone, match="x: expected an answer of the model, found"):
        client.call("x")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ModelGone, match="found FileNotFoundError"):
        ModelClient(tmp_path / "control").call("x")


def test_real_model_lives_answers_and_ends(inside: Callable[[Callable[[], object]], None], tmp_path: Path) -> None:
    def check() -> None:
        tap = Tap()
        process = ModelProcess("ixgbe", folder=tmp_path, tap=tap.name, mac=MAC, profile="kr")
        process.wait_ready()
        process.wait_ready()
        client = ModelClient(process.control, process=process)
        described = client.call("model.describe")
        assert (described["name"], described["profile"], described["mac"]) == ("ixgbe", "kr", MAC)
        assert client.offers("link.set")
        assert not client.offers("model.clock"), "the 82599's clock is not modelled"
        assert tap.carrier
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(ModelGone, match="the model ended with exit status -9"):
            client.call("model.describe")
        process.close()
        process.close()
        assert not process.alive()
        assert not process.socket.exists()

    inside(check)


@pytest.mark.parametrize(
    ("model", "tap", "status"),
    [("nosuchnic", "wire0", "exit status 2"), ("ixgbe", "a-name-that-is-too-long", "exit status")],
)
def test_model_that_does_not_start_has_a_reason(
    inside: Callable[[Callable[[], object]], None], tmp_path: Path, model: str, tap: str, status: str
) -> None:
    def check() -> None:
        process = ModelProcess(model, folder=tmp_path, tap=tap, mac=MAC)
        with pytest.raises(
            ModelGone, match=rf"expected the model to serve, found: the model ended with {status} ?\d*: \S+"
        ) as caught:
            process.wait_ready()
        assert "\n" not in str(caught.value)
        process.close()

    inside(check)


def test_folder_with_too_long_a_name(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match=r"at most 107 bytes, found .*set XDG_CACHE_HOME to a shorter one"):
        ModelProcess("ixgbe", folder=tmp_path / ("x" * 100), tap="wire0", mac=MAC)


def test_command_line(tmp_path: Path) -> None:
    argv = models.command(
        "ixgbe",
        vfio_user=tmp_path / "v",
        control=tmp_path / "c",
        files=tmp_path / "f",
        tap="wire0",
        mac=MAC,
        profile="kx4",
        options=["--queues", "4"],
    )
    assert argv[1:5] == ["-m", "nicmodels", "serve", "ixgbe"]
    assert argv[5:] == [
        "--socket",
        f"{tmp_path}/v",
        "--control",
        f"{tmp_path}/c",
        "--wire",
        "tap:wire0",
        "--mac",
        MAC,
        "--unprivileged",
        f"{tmp_path}/f",
        "--profile",
        "kx4",
        "--queues",
        "4",
    ]


@pytest.mark.parametrize("gone", [False, True], ids=["alive", "gone"])
def test_what_the_model_recorded_is_where_it_was_asked_for(tmp_path: Path, gone: bool) -> None:
    """The model writes in its own folder; a recording outlives a model that ended."""
    process = SimpleNamespace(files=tmp_path / "model.files")
    process.files.mkdir()

    class Client(models.ModelClient):
        def call(self, method: str, /, **params: Any) -> Any:
            if method == "wire.record":
                (process.files / params["path"]).write_bytes(b"frames")
            elif gone:
                raise models.ModelGone("it ended")
            return {"frames": 3}

    client = Client(tmp_path / "control", process=process)  # type: ignore[arg-type]
    client.record_wire(tmp_path / "wire.pcap")
    with pytest.raises(models.ModelGone) if gone else nullcontext():
        assert client.stop_recording() == 3
    assert (tmp_path / "wire.pcap").read_bytes() == b"frames"
    assert not any(process.files.iterdir())
