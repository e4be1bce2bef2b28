# SPDX-License-Identifier: GPL-2.0-or-later
"""A small device for the core's tests: some registers, a copy engine, a wire that echoes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nicmodels.faults.points import FaultPoint
from nicmodels.nic.device import Device, Host
from nicmodels.pci import (
    AdvancedErrorReporting,
    Bar,
    BarKind,
    ConfigSpace,
    DeviceSerialNumber,
    MmapArea,
    Msi,
    MsiX,
    PciExpress,
    PowerManagement,
    ResetCause,
)
from nicmodels.registers import RO, RW, Field, Register, RegisterFile, RegisterMap
from nicmodels.vfio_user.memory import DmaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

IDENTITY = Register("ID", 0x00, RO, reset=0x70667431, title="Identity")
SCRATCH = Register("SCRATCH", 0x10, RW, count=4, title="Scratch")
SOURCE = Register("SRC", 0x20, RW, title="DMA source", fields=(Field("ADDR", 0, 31),))
TARGET = Register("DST", 0x24, RW, title="DMA target")
LENGTH = Register("LEN", 0x28, RW, title="DMA length; writing starts the copy")
STATUS = Register("STATUS", 0x2C, RO, title="1 done, 2 failed", fields=(Field("DONE", 0), Field("FAILED", 1)))
RAISE = Register("RAISE", 0x30, RW, title="Raises the MSI-X vector written")
LINE = Register("LINE", 0x34, RW, title="Drives INTx")
CRASH = Register("CRASH", 0x38, RW, title="The model raises an exception")
REGISTERS = RegisterMap("example", (IDENTITY, SCRATCH, SOURCE, TARGET, LENGTH, STATUS, RAISE, LINE, CRASH))


class ExampleDevice(Device):
    """BAR 0: registers. BAR 2: MSI-X table. BAR 4: memory, its second page mappable if a descriptor is given."""

    name: ClassVar[str] = "example"
    fault_points: ClassVar[tuple[FaultPoint, ...]] = (FaultPoint("dma.copy.lost", "does not copy"),)

    def __init__(self, host: Host, shared_fd: int | None = None) -> None:
        super().__init__(host)
        self.config = ConfigSpace(
            vendor=0x1AF4,
            device=0x10F0,
            class_code=0x020000,
            revision=1,
            bars=(
                Bar(0, 0x1000),
                Bar(2, 0x1000),
                Bar(
                    4,
                    0x2000,
                    BarKind.MEMORY_64,
                    mmap_areas=() if shared_fd is None else (MmapArea(0x1000, 0x1000),),
                    mmap_fd=shared_fd,
                ),
            ),
            capabilities=(
                PowerManagement(no_soft_reset=False),
                Msi(4, maskable=True),
                MsiX(40, table_bar=2, table_offset=0, pba_bar=2, pba_offset=0x800),
                PciExpress(),
            ),
            extended=(AdvancedErrorReporting(), DeviceSerialNumber(0x0123456789ABCDEF)),
        )
        self.file = RegisterFile(REGISTERS, host.clock.now)
        self.memory = bytearray(0x2000)
        self.causes: list[ResetCause] = []
        self.frames: list[bytes] = []
        self.lost = host.faults["dma.copy.lost"]
        self.file.on_write(LENGTH, self._copy)
        self.file.on_write(RAISE, lambda _index, value: host.interrupts.msix(value))
        self.file.on_write(LINE, lambda _index, value: host.interrupts.intx(bool(value)))
        self.file.on_write(CRASH, self._crash)
        self.file.on_read(CRASH, lambda index: self._crash(index, 0))

    @property
    def registers(self) -> RegisterFile:
        return self.file

    def bar_read(self, bar: int, offset: int, size: int) -> int:
        if bar == 0:
            return self.file.read(offset, size)
        return int.from_bytes(self.memory[offset : offset + size], "little")

    def bar_write(self, bar: int, offset: int, value: int, size: int) -> None:
        if bar == 0:
            self.file.write(offset, value, size)
        else:
            self.memory[offset : offset + size] = value.to_bytes(size, "little")

    def reset(self, cause: ResetCause) -> None:
        self.causes.append(cause)
        self.file.reset()
        self.host.interrupts.intx(False)

    def frame_arrived(self) -> None:
        while (frame := self.host.wire.receive()) is not None:
            self.frames.append(frame)
            self.host.wire.transmit([frame])

    def control_methods(self) -> Mapping[str, Callable[..., Any]]:
        return {"example.frames": lambda: len(self.frames), "example.echo": lambda *, text: text}

    def _copy(self, _index: int, length: int) -> None:
        self.file[STATUS] = 0
        if self.lost.armed and self.lost.fires(length=length):
            return
        try:
            self.host.memory.write(self.file[TARGET], self.host.memory.read(self.file[SOURCE], length))
        except DmaError:
            self.file[STATUS] = 2
        else:
            self.file[STATUS] = 1

    def _crash(self, _index: int, _value: int) -> int:
        raise RuntimeError("the example broke")
