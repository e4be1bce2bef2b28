# SPDX-License-Identifier: GPL-2.0-or-later
"""What the driver commanded its device, as the model logged it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plugfest.machine.model import ModelClient

DESTROY = "destroy_rx_queue"
CREATE = "create_rx_queue"
PASSED = "passed"


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        opcode: as ``create_rx_queue``.
        queue: which it is about, None where about none.
        time: when the device carried it out, by its clock.
        details: whatever else the model logs: ring_size, header_buffer_size, buffer_size, vector, status.
    """

    opcode: str
    queue: int | None
    time: float
    details: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def __str__(self) -> str:
        """Return the opcode and the queue."""
        return self.opcode if self.queue is None else f"{self.opcode} {self.queue}"


@dataclass
class Log:
    """What happened over one interval; filled in when it ends.

    Attributes:
        commands: in order.
        events: everything else that the model logged.
    """

    commands: list[Command] = field(default_factory=list)
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def about_receive_queues(self) -> list[str]:
        """Return the commands that make and end receive queues, as ``destroy_rx_queue 3``."""
        return [str(command) for command in self.commands if command.opcode in {DESTROY, CREATE}]

    def last(self, opcode: str, queue: int) -> Command:
        """Return the last command of this kind about a queue.

        Raises:
            AssertionError: there is none.
        """
        found = [command for command in self.commands if (command.opcode, command.queue) == (opcode, queue)]
        assert found, f"the device got no {opcode} of queue {queue}: {', '.join(map(str, self.commands)) or 'nothing'}"
        return found[-1]

    def named(self, *names: str) -> list[Mapping[str, Any]]:
        """Return the other events of these names: reset, link.down, violation …."""
        return [event for event in self.events if event["event"] in names]

    def check_rules(self) -> None:
        """The driver must have broken none of the device's rules.

        Raises:
            AssertionError: it has; the message says which.
        """
        broken = self.named("violation")
        assert not broken, f"the driver broke {len(broken)} rules of the device, first {broken[0]}"


class DeviceCommands:
    """The model's log."""

    def __init__(self, model: ModelClient) -> None:
        """Read nothing yet."""
        self._model = model

    @contextmanager
    def during(self) -> Iterator[Log]:
        """Read what happens in the block."""
        log = Log()
        start = self._last()
        yield log
        for event in self._model.call("events.read", after=start):
            if event["event"] == "command":
                log.commands.append(Command(event["opcode"], event.get("queue"), event["time"], event))
            else:
                log.events.append(event)

    def _last(self) -> int:
        events = self._model.call("events.read", after=0)
        return int(events[-1]["sequence"]) if events else 0
