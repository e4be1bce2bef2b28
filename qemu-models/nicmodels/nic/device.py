# SPDX-License-Identifier: MIT
"""The base class of models (`Device`), and their environment (`Host`).

A model derives from `Device`, creates its configuration space and registers in its constructor, and implements the
methods below. Its `Host` provides guest memory, interrupts, time, the wire, faults and events.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from nicmodels.clock import ManualClock
from nicmodels.events import EventLog
from nicmodels.failures import Failures
from nicmodels.faults.points import FaultPoint, FaultPoints
from nicmodels.pci import ResetCause
from nicmodels.vfio_user.interrupts import Interrupts
from nicmodels.vfio_user.memory import GuestMemory
from nicmodels.violations import Violations
from nicmodels.wire import NullWire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nicmodels.clock import Clock
    from nicmodels.pci import Bar, ConfigSpace
    from nicmodels.phy import LinkSegment
    from nicmodels.registers import RegisterFile
    from nicmodels.wire import Wire


class Host(Protocol):
    """A model's environment."""

    @property
    def memory(self) -> GuestMemory:
        """Guest memory, by DMA address."""

    @property
    def interrupts(self) -> Interrupts:
        """INTx, MSI and MSI-X."""

    @property
    def clock(self) -> Clock:
        """Time and timers."""

    @property
    def wire(self) -> Wire:
        """Carries the frames."""

    @property
    def link_segment(self) -> LinkSegment | None:
        """The connection of the PHY to another model; None to use the model's own link partner."""

    @property
    def faults(self) -> FaultPoints:
        """The fault points; the model declares its own."""

    @property
    def events(self) -> EventLog:
        """The event log."""

    @property
    def failures(self) -> Failures:
        """Takes the exceptions of the model."""

    @property
    def violations(self) -> Violations:
        """Takes what the driver does wrong."""


@dataclass
class Slot:
    """A `Host` made of parts; the defaults are for tests (no wire, a manual clock)."""

    memory: GuestMemory = field(default_factory=GuestMemory)
    interrupts: Interrupts = field(default_factory=Interrupts)
    clock: Clock = field(default_factory=ManualClock)
    wire: Wire = field(default_factory=NullWire)
    link_segment: LinkSegment | None = None
    faults: FaultPoints = field(default_factory=FaultPoints)
    events: EventLog = field(default_factory=EventLog)
    failures: Failures = field(init=False)
    violations: Violations = field(init=False)

    def __post_init__(self) -> None:
        self.failures = Failures(self.events)
        self.violations = Violations(self.events)


@dataclass
class Options:
    """The command line's options for a model, which raises `ValueError` for those that it does not support.

    Attributes:
        profile: the variant (device id, media); None for the model's default.
        mac: 6 bytes; None for the model's default.
        queues: number of queue pairs; None for as many as the hardware has.
    """

    profile: str | None = None
    mac: bytes | None = None
    queues: int | None = None


class Device(ABC):
    """A PCI device. Subclasses set `config`, which defines the BARs, in their constructor.

    `resets` counts the calls of `count_reset`, by cause.

    The server calls `bar_read` and `bar_write` with plain ints, and looks both up once per connection. Offsets are
    within the BAR's size; sizes are 1, 2, 4 or 8 bytes; values are little-endian unsigned integers.
    """

    name: ClassVar[str]
    fault_points: ClassVar[tuple[FaultPoint, ...]] = ()
    config: ConfigSpace

    def __init__(self, host: Host) -> None:
        self.host = host
        self.resets: Counter[str] = Counter()
        host.faults.declare(*self.fault_points)

    @property
    def bars(self) -> Mapping[int, Bar]:
        """The BARs of the configuration space, by index."""
        return self.config.bars

    @property
    def registers(self) -> RegisterFile | None:
        """The register file behind `registers.read` and `trace.*`; None if the model has none."""
        return None

    @abstractmethod
    def bar_read(self, bar: int, offset: int, size: int) -> int:
        """Read `size` bytes of a BAR."""

    @abstractmethod
    def bar_write(self, bar: int, offset: int, value: int, size: int) -> None:
        """Write `size` bytes of a BAR."""

    @abstractmethod
    def reset(self, cause: ResetCause) -> None:
        """Enter the state after `cause`. The configuration space has already been reset.

        The constructor does not call it: the creator of a device calls `restart(ResetCause.POWER_ON)` once.
        """

    def restart(self, cause: ResetCause) -> None:
        """Reset the configuration space, then the device; counted and recorded."""
        self.count_reset(cause.value)
        self.config.reset()
        self.command_changed()
        self.reset(cause)

    def count_reset(self, cause: str) -> None:
        """Count and record a reset, and end the faults that last until one."""
        self.resets[cause] += 1
        self.host.events.add("reset", cause=cause)
        self.host.faults.end_until_reset()

    def command_changed(self) -> None:
        """Apply the command register's bits: bus mastering and INTx disable."""
        memory, interrupts = self.host.memory, self.host.interrupts
        memory.bus_master = interrupts.bus_master = self.config.bus_master
        if interrupts.intx_disabled != self.config.intx_disabled:
            interrupts.intx_disabled = self.config.intx_disabled
            interrupts.update_intx()

    def function_reset(self, *, from_d3hot: bool = False) -> None:
        """The configuration space received a function-level reset, or a return from D3hot."""
        self.restart(ResetCause.D3HOT if from_d3hot else ResetCause.FLR)

    def frame_arrived(self) -> None:  # noqa: B027 - a device without a wire has nothing to do
        """Frames wait on the wire.

        Edge-triggered: called when a frame arrives, not while one waits. So receive until the wire returns None, or
        remember that frames are left and continue when there is room (a tail write) or time (`clock.call_later`).
        """

    def close(self) -> None:  # noqa: B027
        """Release the device's resources; called once, when the server ends."""

    def control_methods(self) -> Mapping[str, Callable[..., Any]]:
        """Control methods of this model: name to a callable; parameters come by keyword, the result is a JSON value."""
        return {}
