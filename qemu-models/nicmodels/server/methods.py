# SPDX-License-Identifier: MIT
"""The control methods that every model has; docs/architecture.md lists them with their parameters and results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nicmodels.server.control import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nicmodels.nic.device import Device, Host
    from nicmodels.registers import RegisterFile
    from nicmodels.vfio_user.server import Server
    from nicmodels.wire import PcapRecorder


class CommonMethods:
    """Control methods for faults, registers, the register trace, captures and events.

    Args:
        device: the model.
        host: the model's host.
        server: the vfio-user server.
        recorder: around the model's wire.
    """

    def __init__(self, device: Device, host: Host, server: Server, recorder: PcapRecorder) -> None:
        self._device = device
        self._host = host
        self._server = server
        self._recorder = recorder

    def table(self) -> dict[str, Callable[..., Any]]:
        """Name to method; those of the model replace common ones of the same name."""
        methods: dict[str, Callable[..., Any]] = {
            "events.read": self.events_read,
            "faults.arm": self.faults_arm,
            "faults.disarm": self.faults_disarm,
            "faults.fired": self.faults_fired,
            "faults.list": self.faults_list,
            "registers.read": self.registers_read,
            "server.state": self.server_state,
            "trace.read": self.trace_read,
            "trace.start": self.trace_start,
            "trace.stop": self.trace_stop,
            "wire.counters": self.wire_counters,
            "wire.record": self.wire_record,
            "wire.stop": self.wire_stop,
        }
        methods.update(self._device.control_methods())
        methods["control.methods"] = lambda: sorted(methods)
        return methods

    def faults_list(self) -> list[dict[str, Any]]:
        """List all fault points."""
        return [fault.describe() for fault in self._host.faults]

    def faults_arm(
        self,
        *,
        name: str,
        times: int | None = None,
        match: Mapping[str, Any] | None = None,
        until_reset: bool = False,
    ) -> dict[str, Any]:
        """Arm a fault, on request until the device's next reset at most; returns its new state."""
        if times is not None and (not isinstance(times, int) or isinstance(times, bool)):
            raise ControlError(f"times is {times!r}, expected a number")
        if match is not None and not isinstance(match, dict):
            raise ControlError(f"match is {match!r}, expected an object")
        if not isinstance(until_reset, bool):
            raise ControlError(f"until_reset is {until_reset!r}, expected true or false")
        fault = self._host.faults[name]
        fault.arm(times, match, until_reset=until_reset)
        return fault.describe()

    def faults_disarm(self, *, name: str | None = None) -> list[dict[str, Any]]:
        """Disarm a fault, or all without a name."""
        for fault in self._host.faults if name is None else (self._host.faults[name],):
            fault.disarm()
        return self.faults_list()

    def faults_fired(self, *, name: str | None = None) -> dict[str, int]:
        """The firings of each fault, or of the one named, since the model started."""
        faults = self._host.faults if name is None else (self._host.faults[name],)
        return {fault.point.name: fault.fired for fault in faults}

    def registers_read(self, *, name: str, index: int = 0) -> dict[str, Any]:
        """Read a register without side effects."""
        file = self._file()
        register = file.map[name]
        value = file.peek(register, index)
        return {"value": value, "decoded": str(register.decode(value, index))}

    def trace_start(self, *, limit: int = 65536) -> dict[str, int]:
        """Record the last `limit` register accesses."""
        if not isinstance(limit, int) or not 0 < limit <= 1 << 22:
            raise ControlError(f"limit is {limit!r}, expected 1 to {1 << 22}")
        self._file().start_trace(limit)
        return {"limit": limit}

    def trace_stop(self) -> dict[str, int]:
        """Stop recording; returns the number of accesses in the trace."""
        trace = self._file().trace
        self._file().stop_trace()
        return {"entries": 0 if trace is None else len(trace)}

    def trace_read(self, *, limit: int = 10_000) -> list[dict[str, Any]]:
        """The last `limit` accesses, oldest first, decoded."""
        file = self._file()
        if file.trace is None:
            raise ControlError("the trace is off; call trace.start first")
        entries = list(file.trace)
        rows = []
        for entry in entries[max(len(entries) - limit, 0) :]:
            place = file.map.find(entry.offset)
            register, index = place if place is not None else (None, 0)
            rows.append(
                {
                    "time": entry.time,
                    "op": entry.op,
                    "offset": entry.offset,
                    "register": None if register is None else register.name,
                    "index": index,
                    "value": entry.value,
                    "decoded": None if register is None else str(register.decode(entry.value, index)),
                }
            )
        return rows

    def events_read(self, *, after: int = 0) -> list[dict[str, Any]]:
        """Events with a higher sequence number."""
        return self._host.events.after(after)

    def server_state(self) -> dict[str, Any]:
        """The state of the vfio-user server."""
        return {
            "connected": self._server.connected,
            "rejected": {str(command): count for command, count in self._server.rejected.items()},
            "model_errors": self._host.failures.count,
            "dma_errors": self._host.memory.errors,
            "mappings": len(self._host.memory),
        }

    def wire_record(self, *, path: str) -> dict[str, int]:
        """Record both directions into a pcapng file."""
        self._recorder.record(Path(path))
        return {"frames": 0}

    def wire_stop(self) -> dict[str, int]:
        """Finish the recording."""
        return {"frames": self._recorder.stop()}

    def wire_counters(self) -> dict[str, int]:
        """The wire's counters."""
        return dict(vars(self._recorder.counters))

    def _file(self) -> RegisterFile:
        file = self._device.registers
        if file is None:
            raise ControlError(f"{self._device.name} has no register file")
        return file
