# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection to the agent for these tests, apart from plugfest's own client, which they must not depend on."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE = 20.0


class AgentError(Exception):
    """The agent's answer was an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['type']}: {error['message']}")
        self.type = error["type"]
        self.errno = error["errno"]


class Client:
    """One connection to the agent."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")
        self.number = 0

    def send(self, method: str, /, **params: Any) -> None:
        self.number += 1
        self.socket.sendall(json.dumps({"id": self.number, "method": method, "params": params}).encode() + b"\n")

    def receive(self) -> Any:
        reply = json.loads(self.lines.readline())
        assert reply["id"] == self.number
        if "error" in reply:
            raise AgentError(reply["error"])
        return reply["result"]

    def call(self, method: str, /, **params: Any) -> Any:
        self.send(method, **params)
        return self.receive()

    def close(self) -> None:
        self.lines.close()
        self.socket.close()
