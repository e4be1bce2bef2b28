# SPDX-License-Identifier: MIT
"""The admin queue: a ring of commands in guest memory, a doorbell and an event counter, which both count all commands.

Source: Linux, Documentation/networking/device_drivers/ethernet/google/gve.rst (admin queue); gve_adminq.c (placement).
Commands are executed during the doorbell write, in order, and beyond `BATCH` of them in the next turns of the event loop; the status
is written before the counter is incremented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicmodels.models.gve import registers as r
from nicmodels.models.gve.commands import (
    BY_OPCODE,
    COMMAND_SIZE,
    EXTENDED,
    EXTENDED_COMMAND,
    HEADER,
    CommandError,
    NeverCompletedError,
    Status,
)
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nicmodels.clock import Timer
    from nicmodels.models.gve.accounting import Accounting
    from nicmodels.models.gve.commands import Layout
    from nicmodels.nic.device import Host
    from nicmodels.registers import RegisterFile

    Execute = Callable[[str, dict[str, Any]], None]

PAGE = 4096
BATCH = 16
_MASK = 0xFFFF_FFFF


class AdminQueue:
    """The queue.

    Args:
        file: the registers.
        host: the device's host.
        accounting: takes the violations that no status can report.
        execute: executes a command, given its name and fields; raises CommandError, DmaError or NeverCompletedError.
    """

    def __init__(self, file: RegisterFile, host: Host, accounting: Accounting, execute: Execute) -> None:
        self._file = file
        self._host = host
        self._accounting = accounting
        self._execute = execute
        self._stuck = host.faults["device.command.stuck"]
        self._base = 0
        self._entries = 0
        self._executed = 0
        self._wanted = 0
        self._next: Timer | None = None
        self._hangs = False
        file.on_write(r.ADMINQ_DOORBELL, self._doorbell)

    @property
    def placed(self) -> bool:
        """Whether the driver has placed the queue."""
        return self._entries > 0

    def place(self, base: int, length: int) -> None:
        """Place the queue: `length` bytes at `base`; the counter starts at 0."""
        entries = length // COMMAND_SIZE
        if length % COMMAND_SIZE or not entries or entries & (entries - 1):
            self._accounting.violation("adminq.length", length=length)
            entries = 0
        self._base, self._entries, self._hangs = base, entries, False
        self._skip_to(0)

    def release(self) -> None:
        """Remove the queue."""
        self._base = self._entries = 0
        self._hangs = False
        self._skip_to(0)

    def _skip_to(self, executed: int) -> None:
        """Set the counter, and execute nothing that was posted."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._wanted = executed
        self._count(executed)

    def _count(self, executed: int) -> None:
        self._executed = executed
        self._file[r.ADMINQ_EVENT_COUNTER] = executed

    def _doorbell(self, _index: int, value: int) -> None:
        self._file[r.ADMINQ_DOORBELL] = value
        if self._hangs or (self._stuck.armed and self._stuck.fires()):
            return
        number = (value - self._executed) & _MASK
        if not self._entries:
            self._accounting.violation("adminq.unplaced", value=value)
            return
        if number > self._entries:
            # The ring does not hold so many commands, so none is executed. The counter moves, so that the driver does
            # not wait; the statuses show that nothing was executed.
            self._accounting.violation("adminq.doorbell", value=value, executed=self._executed, entries=self._entries)
            self._skip_to(value)
            return
        self._wanted = value
        if self._next is None:
            self._run()

    def _run(self) -> None:
        """Execute what the driver has posted, at most a batch."""
        self._next = None
        for _ in range(BATCH):
            if self._executed == self._wanted or self._hangs or not self._entries:
                return
            self._command(self._base + self._executed % self._entries * COMMAND_SIZE)
            if self._hangs:
                return
            self._count((self._executed + 1) & _MASK)
        if self._executed != self._wanted:
            self._next = self._host.clock.call_later(0.0, self._run)

    def _command(self, address: int) -> None:
        """Execute the command at an address, and write its status, unless it hangs."""
        memory = self._host.memory
        name, reason = "unreadable", None
        fields: dict[str, Any] = {}
        try:
            data = memory.read(address, COMMAND_SIZE)
            opcode, _ = HEADER.unpack_from(data)
            name = f"opcode {opcode:#x}"
            layout, body = self._find(opcode, data[HEADER.size :])
            name = layout.name
            fields = layout.decode(body)
            self._execute(name, fields)
            status = Status.PASSED
        except CommandError as error:
            status, reason = error.status, str(error)
        except DmaError as error:
            status, reason = Status.INVALID_ARGUMENT, str(error)
        except NeverCompletedError as error:
            status, reason, self._hangs = Status.UNSET, str(error), True
        details: dict[str, Any] = {key: value for key, value in fields.items() if not isinstance(value, bytes)}
        if reason is not None:
            details["reason"] = reason
        self._host.events.add("command", opcode=name, **details, status=status.name.lower())
        if self._hangs:
            return
        try:
            memory.write(address + 4, status.to_bytes(4, "big"))
        except DmaError:
            self._accounting.violation("adminq.memory", address=address)

    def _find(self, opcode: int, body: bytes) -> tuple[Layout, bytes]:
        """The layout and the bytes of a command; for an extended one those of the inner command."""
        if opcode == EXTENDED:
            opcode, length, address = EXTENDED_COMMAND.unpack_from(body)
            layout = BY_OPCODE.get(opcode)
            if layout is None or not layout.extended:
                raise CommandError(Status.UNIMPLEMENTED, f"no extended command {opcode:#x}")
            if length != layout.layout.size:
                raise CommandError(Status.INVALID_ARGUMENT, f"{length} bytes of a command of {layout.layout.size}")
            return layout, self._host.memory.read(address, length)
        layout = BY_OPCODE.get(opcode)
        if layout is None or layout.extended:
            raise CommandError(Status.UNIMPLEMENTED, f"no command {opcode:#x}")
        return layout, body
