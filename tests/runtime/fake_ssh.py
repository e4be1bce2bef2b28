# SPDX-License-Identifier: GPL-2.0-or-later
"""A stand-in for ssh: a connection that is a file, and machines that answer as the JSON in the environment variable FAKE_SSH says.

By destination: ``check`` (what the machine has, or text for its standard error), ``prints`` (what its shell prints by itself),
``keeper`` and ``far`` (what these print first),
``late`` (that they print it when they are asked to end, with what comes then), ``returned`` (what is not as it was at the end).
What the machines are asked to run is appended to the file ``ran``.

It behaves as ssh does for a user whose configuration is meant for a terminal: the connection goes into the background, sessions get a
terminal and a command of their own, and a forwarding takes a port that is in use.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

HEADER = struct.Struct(">BI")


def lend(answer: dict[str, Any], *, framed: bool) -> None:
    def written(event: dict[str, Any]) -> bytes:
        data = json.dumps(event).encode()
        return HEADER.pack(2, len(data)) + data if framed else data + b"\n"

    first = written(answer["far" if framed else "keeper"])
    late = bool(answer.get("late"))
    if not late:
        os.write(1, first)
    while (data := os.read(0, 4096)) and data != b"end\n":
        pass
    os.write(1, first * late + written({"event": "returned", "failures": answer.get("returned", [])}))


def check_options(words: list[str]) -> str | None:
    """Return how ssh fails under such a configuration; None where the options prevent it."""
    options = dict(word.split("=", 1) for flag, word in pairwise(words) if flag == "-o")
    if words[:2] == ["-F", "none"]:
        return None
    if "-O" in words or options.get("ClearAllForwardings") != "yes":
        return "bind [127.0.0.1]:8080: Address already in use"
    if options.get("RemoteCommand") != "none":
        return "Cannot execute command-line and remote command."
    if options.get("RequestTTY") != "no":
        return "the input line is longer than a terminal takes"
    if any(options.get(name) != "no" for name in ("ForwardAgent", "ForwardX11", "PermitLocalCommand")):
        return "X11 forwarding request failed"
    if "-N" in words and options.get("ControlPersist") != "no" and os.fork():
        os._exit(0)
    return None


def main() -> int:
    words = sys.argv[1:]
    failure = check_options(words)
    if failure is not None:
        sys.stderr.write(failure + "\n")
        return 255
    behaviour = json.loads(os.environ["FAKE_SSH"])
    control = next(word.partition("=")[2] for word in words if word.startswith("ControlPath="))
    where = next(word for word in words if "@" in word)
    answer = behaviour.get(where, {})
    if "-N" in words:
        if "refuses" in answer:
            sys.stderr.write(answer["refuses"] + "\n")
            return 255
        Path(control).touch()
        signal.pause()
    command = words[-1]
    with Path(behaviour["ran"]).open("a") as file:
        file.write(f"{where} {command}\n")
    if "-m agent.hardware" in command:
        lend(answer, framed="far_end" in command)
    elif "platform.machine" in command:
        if isinstance(answer["check"], str):
            sys.stderr.write(answer["check"] + "\n")
            return 127
        sys.stdout.write(answer.get("prints", "") + json.dumps(answer["check"]))
    elif "tarfile" in command:
        return 0 if sys.stdin.buffer.read() == b"the archive" else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
