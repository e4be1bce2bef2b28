# SPDX-License-Identifier: GPL-2.0-or-later
"""A fake QEMU: takes its command line, speaks QMP on the monitor's socket and writes to the serial port.

Environment variable ``FAKE_QEMU``: ``boots`` (a kernel comes through its start), ``silent``, ``stops`` (internal error after
the first line), ``dies`` (message on standard error, exit status 1, before any greeting), ``vanishes`` (exit after one line).
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO


def channel(name: str) -> socket.socket:
    """Return the inherited socket of a -chardev."""
    for argument in sys.argv:
        found = re.fullmatch(rf"socket,id={name},fd=(\d+)", argument)
        if found:
            return socket.socket(fileno=int(found[1]))
    raise SystemExit(f"no channel {name} in {sys.argv}")


def serial_port() -> BinaryIO:
    """Return the inherited pipe of -add-fd, to which the console's -chardev writes."""
    assert "file,id=serial0,path=/dev/fdset/1,append=on" in sys.argv
    for argument in sys.argv:
        found = re.fullmatch(r"fd=(\d+),set=1", argument)
        if found:
            return os.fdopen(int(found[1]), "wb", buffering=0)
    raise SystemExit(f"no file descriptor in {sys.argv}")


def requests(monitor: socket.socket) -> Iterator[dict[str, Any]]:
    """Take JSON objects off a stream that need not have line ends, as QEMU does."""
    text = ""
    while data := monitor.recv(1 << 16):
        text += data.decode()
        while text.strip():
            try:
                request, end = json.JSONDecoder().raw_decode(text.lstrip())
            except ValueError:
                break
            text = text.lstrip()[end:]
            yield request


def main() -> None:
    """Behave as ``FAKE_QEMU`` selects."""
    behaviour = os.environ["FAKE_QEMU"]
    if behaviour == "dies":
        sys.stderr.write(
            "qemu-system-x86_64: warning: ignored\nqemu-system-x86_64: -accel kvm: failed to initialize kvm: No such device\n"
        )
        raise SystemExit(1)
    monitor, console = channel("monitor"), serial_port()

    request: dict[str, object] = {}

    def send(message: dict[str, object]) -> None:
        if "event" not in message and "id" in request:
            message["id"] = request["id"]
        monitor.sendall(json.dumps(message).encode() + b"\r\n")

    version = {"qemu": {"major": 11, "minor": 1, "micro": 3}, "package": ""}
    send({"QMP": {"version": version, "capabilities": ["oob"]}})
    status = "running"
    for request in requests(monitor):
        command = request["execute"]
        result: object = {}
        if command == "qmp_capabilities":
            if behaviour != "silent":
                console.write(b"[    0.000000] Linux version 7.3.4\r\n")
            if behaviour == "boots":
                console.write(b"[    1.0] VFS: Unable to mount root fs on unknown-block(0,0)\r\n")
            if behaviour == "stops":
                status = "internal-error"
                sys.stderr.write("KVM internal error. Suberror: 1\nemulation failure\n")
                sys.stderr.flush()
        elif command == "query-status":
            result = {"status": status, "running": status == "running"}
        elif command == "reject":
            send({"error": {"class": "GenericError", "desc": "it is not possible"}})
            continue
        elif command == "announce":
            send({"event": "RESET", "data": {"guest": True}, "timestamp": {"seconds": 1, "microseconds": 2}})
        elif command == "quit" or (behaviour == "vanishes" and command == "cont"):
            send({"return": {}})
            raise SystemExit(0 if command == "quit" else 3)
        elif command == "ignore":
            continue
        send({"return": result})


if __name__ == "__main__":
    main()
