# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel tracepoints, recorded in trace instances of their own. Methods ``trace.*``.

Source: Documentation/trace/ftrace.rst (instances), Documentation/trace/events.rst.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent import handle
from agent.methods import exposed

TRACEFS = Path("/sys/kernel/tracing")
LINE = re.compile(r"\[(?P<cpu>\d+)\]\s+\S+\s+(?P<time>[\d.]+): (?P<event>\w+): (?P<text>.*)")
FIELD = re.compile(r"(\w+)=(\S+)")
ENTRIES = re.compile(r"entries-in-buffer/entries-written: (\d+)/(\d+)")
_numbers = itertools.count(1)


class LostEventsError(Exception):
    """The buffer was too small: events are missing at its start, and what is left shows nothing of it."""


class Recording:
    """A trace instance with enabled events.

    Args:
        events: as ``xdp:xdp_exception``.
        kilobytes: size of the buffer of each CPU.
    """

    def __init__(self, events: list[str], kilobytes: int) -> None:
        """Create the instance and enable the events."""
        if not (TRACEFS / "instances").exists():
            subprocess.run(["mount", "-t", "tracefs", "tracefs", str(TRACEFS)], check=True)
        self.folder = TRACEFS / "instances" / f"plugfest-{os.getpid()}-{next(_numbers)}"
        self.folder.mkdir()
        try:
            (self.folder / "buffer_size_kb").write_text(str(kilobytes))
            for event in events:
                (self.folder / "events" / event.replace(":", "/") / "enable").write_text("1")
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Remove the instance and what it recorded."""
        self.folder.rmdir()


def remove_instances() -> None:
    """Remove the instances that an agent has left which was killed."""
    for folder in TRACEFS.glob("instances/plugfest-*"):
        with suppress(OSError):  # something reads it: it goes with the next
            folder.rmdir()


@exposed
def open(events: list[str], kilobytes: int = 512) -> int:  # noqa: A001 - the verb
    """Start recording tracepoints such as ``xdp:xdp_exception``; returns a handle."""
    return handle.keep(Recording(events, kilobytes))


@exposed
def read(trace: int, clear: bool = False) -> list[dict[str, Any]]:
    """Return the recorded events: cpu, time (seconds), event, text, and fields, the ``name=value`` pairs of the text.

    Raises:
        LostEventsError: there were more than the buffer holds.
    """
    folder = handle.get(trace, Recording).folder
    text = (folder / "trace").read_text(errors="replace")
    entries = ENTRIES.search(text)
    if entries is not None and int(entries[1]) < int(entries[2]):
        raise LostEventsError(f"the buffer holds {entries[1]} of {entries[2]} events; open a larger one")
    found = []
    for line in text.splitlines():
        match = None if line.startswith("#") else LINE.search(line)
        if match:
            found.append(
                {
                    "cpu": int(match["cpu"]),
                    "time": float(match["time"]),
                    "event": match["event"],
                    "text": match["text"],
                    "fields": dict(FIELD.findall(match["text"])),
                }
            )
    if clear:
        (folder / "trace").write_text("")
    return found
