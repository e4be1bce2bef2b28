# SPDX-License-Identifier: GPL-2.0-or-later
"""What is fuzzed: each model, with a driver that does anything, and the server, with a client that does anything.

A target keeps its device from one input to the next, as a guest does; `fresh` gives it a new one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import ixgbe_harness as i
import xgbe_harness as x
from example_device import CRASH, ExampleDevice
from fuzz_frames import frame
from fuzz_measure import MOST_ELEMENTS, TURN_FRAMES, TURN_SECONDS, Broken, GuardedRam, TurnClock, Turns, elements
from fuzz_source import Source
from gve_driver import DqoReceive, DqoTransmit
from gve_gqi_driver import GqiTransmit
from gve_harness import RAM, SIZE, GveHarness
from gve_harness import ListWire as GveWire
from nicmodels.events import EventLog
from nicmodels.nic.device import Device, Slot
from nicmodels.pci import ResetCause
from nicmodels.phy import Timeline
from nicmodels.registers import RegisterFile
from nicmodels.server.reactor import Reactor
from nicmodels.vfio_user import connection
from nicmodels.vfio_user.server import Server
from vfio_client import GuestRam

OPERATIONS = 24
"""Of an input."""
SECONDS = (0.0, 0.0, 1e-6, 1e-3, 0.01, 0.1, 1.0)


class Target(ABC):
    """Something to be fuzzed.

    Attributes:
        turns: measures it.
    """

    def __init__(self) -> None:
        self.turns = Turns()
        self.fresh()

    @abstractmethod
    def fresh(self) -> None:
        """Begin anew."""

    @abstractmethod
    def operate(self, source: Source) -> None:
        """Do one thing that the source chooses."""

    @abstractmethod
    def settle(self) -> None:
        """Let everything happen that is due, and check what is cheap to check.

        Raises:
            Broken: something is wrong.
        """

    @abstractmethod
    def inspect(self) -> None:
        """Check the rest.

        Raises:
            Broken: something is wrong.
        """

    @abstractmethod
    def close(self) -> None:
        """Release everything."""

    def run(self, data: bytes) -> None:
        """Feed one input.

        Raises:
            Broken: the target broke, or a turn was too long.
            Exception: the target raised it.
        """
        for _ in range(2):  # a turn that is not slow twice was the machine's doing
            self.turns.slow = False
            source = Source(data)
            for _ in range(OPERATIONS):
                if source.done:
                    break
                self.operate(source)
            self.settle()
            if not self.turns.slow:
                break
        else:
            raise Broken(f"expected turns of at most {TURN_SECONDS} s of CPU; found one of {self.turns.longest:.3f} s")


class ModelTarget(Target):
    """A model. Subclasses create it with its minimal driver, and write its descriptors."""

    bars: tuple[int, ...]
    harness: i.Harness | x.XgbeRig | GveHarness

    @abstractmethod
    def create(self) -> i.Harness | x.XgbeRig | GveHarness:
        """A device on a `TurnClock`, with a driver, restarted."""

    @abstractmethod
    def start(self) -> None:
        """What a driver does to bring it up."""

    @abstractmethod
    def post(self, source: Source) -> None:
        """Post descriptors."""

    def fresh(self) -> None:
        """Begin anew."""
        self.close()
        self.harness = self.create()
        self._device: Device = self.harness.device
        file = self._device.registers
        assert file is not None
        self._places = [offset for register in file.map for _, offset in register.places()]
        self._start()

    def reset(self) -> None:
        """Reset the device before it is started."""
        self._device.restart(ResetCause.CLIENT)

    def _start(self) -> None:
        self.reset()
        self._device.config.write(4, 6, 2)
        self._device.command_changed()
        self.harness.ram.map()
        self.turns.run(self.start)

    def operate(self, source: Source) -> None:
        """One access, burst, doorbell, or step in time."""
        self.turns.run(lambda: self._operate(source))

    def _operate(self, source: Source) -> None:
        kind = source.below(12)
        device, wire = self._device, self.harness.wire
        if kind < 3:
            device.bar_write(self.bars[0], source.pick(self._places), source.value(), 4)
        elif kind == 3:
            bar = source.pick(self.bars)
            size = source.pick((1, 2, 4, 8))
            offset = source.below(device.bars[bar].size) & -size
            if source.chance(2):
                device.bar_write(bar, offset, source.value(size), size)
            elif not 0 <= device.bar_read(bar, offset, size) < 1 << 8 * size:
                raise Broken(f"expected {size} bytes at {offset:#x} of BAR {bar}; found a larger number")
        elif kind == 4:
            value = device.bar_read(self.bars[0], source.pick(self._places), 4)
            if not 0 <= value < 1 << 32:
                raise Broken(f"expected a doubleword; found {value:#x}")
        elif kind < 8:
            self.post(source)
        elif kind == 8:
            wire.incoming.extend(frame(source) for _ in range(1 + source.below(6)))
            device.frame_arrived()
        elif kind == 9:
            self.harness.clock.advance(source.pick(SECONDS))
        elif kind == 10:
            self._unusual(source)
        else:
            self.special(source)

    def _unusual(self, source: Source) -> None:
        """What happens seldom: a reset, memory that goes away, bus mastering off, any configuration access."""
        kind = source.below(8)
        device = self._device
        if kind == 0:
            self.harness.ram.unmap()
        elif kind == 1:
            self.harness.ram.map()
        elif kind == 2:
            device.config.write(source.below(4096) & ~3, source.value(), 4)
        elif kind == 3:
            device.function_reset()
        elif kind == 4:
            device.config.write(4, source.number(2), 2)
            device.command_changed()
        else:
            self._start()

    def special(self, source: Source) -> None:
        """What only this model has."""
        self.post(source)

    def settle(self) -> None:
        """Run what is due; see what was sent and what failed."""
        wire = self.harness.wire
        self.harness.clock.advance(1e-4)
        if len(wire.sent) > TURN_FRAMES * OPERATIONS:
            raise Broken(f"expected at most {TURN_FRAMES} frames a turn; found {len(wire.sent)}")
        _forget(wire)
        wire.incoming.clear()
        failures = self.harness.slot.failures
        if failures.count:
            found = [each for each in self.harness.slot.events.after() if each["event"] == "model.error"]
            raise Broken(f"the model failed: {found[-1]}")

    def inspect(self) -> None:
        """See the guards, and how much there is of everything; and whether the device still starts."""
        if not self.harness.ram.intact():
            raise Broken("memory outside what was mapped was written")
        # The log of the link's steps is for tests, and lasts as long as the process.
        found = elements(self._device, (RegisterFile, Timeline))
        if found > MOST_ELEMENTS:
            raise Broken(f"expected at most {MOST_ELEMENTS} elements in all containers; found {found}")
        self._start()
        self.settle()

    def close(self) -> None:
        """Release the memory."""
        if hasattr(self, "harness"):
            self.harness.ram.close()


def _forget(wire: i.ListWire | x.ListWire | GveWire) -> None:
    """Forget what was sent."""
    (wire.bursts if isinstance(wire, GveWire) else wire.sent).clear()


def _guard(harness: i.Harness | x.XgbeRig, size: int) -> GuardedRam:
    harness.slot.memory.clear()
    return GuardedRam(harness.slot.memory, 0, size)


class IxgbeTarget(ModelTarget):
    """The 82599."""

    bars = (0, 2)
    harness: i.Harness

    def create(self) -> i.Harness:
        """A device with two queue pairs."""
        harness = i.Harness(clock=TurnClock(self.turns))
        harness.ram = _guard(harness, i.RAM)
        return harness

    def reset(self) -> None:
        """By software, which the link survives."""
        self._device.bar_write(0, 0, 1 << 26, 4)

    def start(self) -> None:
        """As the harness does, after the link is up."""
        for _ in range(200):
            if self.harness.device.link.up:
                break
            self.harness.clock.advance(0.05)
        self.harness.start()

    def post(self, source: Source) -> None:
        """Transmit descriptors, consistent or not; or receive descriptors."""
        harness, queue = self.harness, source.below(2)
        if source.chance(5):
            at = i.RX_RING + (queue * i.RING + source.below(i.RING)) * 16
            self._write(at, struct.pack("<QQ", source.value(8, i.RAM), source.value(8, i.RAM)))
            harness.write(i.receive.RDT, source.below(i.RING + 2), queue)
            return
        found: list[tuple[int, int]] = []
        for _ in range(1 + source.below(6)):
            found += self._packet(source)
        for low, high in found:
            tail = harness.tails[queue]
            self._write(i.TX_RING + (queue * i.RING + tail) * 16, struct.pack("<QQ", low, high))
            harness.tails[queue] = (tail + 1) % i.RING
        harness.write(i.transmit.TDT, harness.tails[queue], queue)

    def _packet(self, source: Source) -> list[tuple[int, int]]:
        kind = source.below(4)
        if kind == 0:
            return [(source.value(8, i.RAM), source.number(8))]
        data = frame(source)
        self._write(i.TX_BUFFERS, data)
        size = len(data) if kind == 1 else source.number(2)
        command = i.DEXT | 3 << 20 | (source.number(4) & 0xC800_0000) | source.below(4) << 40
        context = ((source.value(8), source.number(8)) if source.chance(4) else i.context(mss=source.number(2)),)
        header = 54 if command & i.TSE else 0
        paylen = max(size - header, 0) if source.number(1) & 7 else source.value()
        chain = [(i.TX_BUFFERS, size | command | paylen << 46 & (1 << 64) - 1)]
        chain += [(source.value(8, i.RAM), source.number(2) | command) for _ in range(source.below(3))]
        if not source.chance(8):
            low, high = chain[-1]
            chain[-1] = (low, high | i.EOP)
        return [((low & 0xFFFF_FFFF_FFFF_FFFF), high) for low, high in (*context, *chain)]

    def _write(self, address: int, data: bytes) -> None:
        if self.harness.ram.mapped and self.harness.memory.bus_master:
            self.harness.memory.write(address, data)


class XgbeTarget(ModelTarget):
    """AMD XGBE, linked, or in MAC loopback."""

    bars = (0, 1)
    harness: x.XgbeRig

    def create(self) -> x.XgbeRig:
        """A device that is linked, with two channels."""
        harness = x.XgbeRig(clock=TurnClock(self.turns))
        harness.ram = _guard(harness, x.RAM)
        return harness

    def start(self) -> None:
        """As the harness does; in loopback, which needs no link."""
        self.harness.start()
        self.harness.write(x.MAC_RCR, self.harness.read(x.MAC_RCR) | 1 << 10)

    def post(self, source: Source) -> None:
        """Transmit descriptors, consistent or not; or receive descriptors."""
        harness, channel = self.harness, source.below(2)
        if source.chance(5):
            number = source.below(x.RING)
            words = (source.value(4, x.RAM), source.number(4), source.value(4, x.RAM), source.number(4) | x.OWN)
            self._write(harness._rx(channel, number), struct.pack("<IIII", *words))
            harness.write(harness.channel(x.CH_RDTR, channel), harness._rx(channel, source.below(x.RING + 2)))
            return
        for _ in range(1 + source.below(6)):
            for words in self._packet(source):
                self._write(harness._tx(channel, harness.tails[channel]), struct.pack("<IIII", *words))
                harness.tails[channel] = (harness.tails[channel] + 1) % x.RING
        harness.write(harness.channel(x.CH_TDTR, channel), harness._tx(channel, harness.tails[channel]))

    def _packet(self, source: Source) -> list[tuple[int, int, int, int]]:
        kind = source.below(4)
        if kind == 0:
            return [(source.value(4, x.RAM), source.number(4), source.number(4), source.number(4))]
        data = frame(source)
        self._write(x.TX_BUFFERS, data)
        if kind == 1:
            return [(x.TX_BUFFERS, 0, len(data) | source.number(4) & 0xC000_C000, x.OWN | x.FIRST | x.LAST | len(data))]
        sizes = [source.number(2) & 0x3FFF for _ in range(1 + source.below(4))]
        total = sum(sizes) if source.number(1) & 7 else source.value() & 0x3FFFF
        context = (0, 0, source.value() & 0x3FFF, x.OWN | x.CONTEXT | 1 << 26 | source.number(2))
        first = (x.TX_BUFFERS, 0, 54, x.OWN | x.FIRST | 1 << 18 | 5 << 19 | total)
        rest = [(x.TX_BUFFERS, 0, size | 1 << 31, x.OWN) for size in sizes]
        if not source.chance(8):
            rest[-1] = (*rest[-1][:3], rest[-1][3] | x.LAST)
        return [context, first, *rest]

    def special(self, source: Source) -> None:
        """Mailbox commands of the firmware, PCS registers through the window, the I2C master."""
        harness, kind = self.harness, source.below(4)
        if kind == 0:
            harness.write(x.XP_SCRATCH_0, source.below(10) | source.value() << 8)
            harness.write(x.XP_SCRATCH_0 + 4, source.value())
            harness.write(x.XP_INT_REQ, source.number(1) & 3)
        elif kind == 1:
            harness.mmd_write(source.below(32), source.value(2), source.value(2))
        elif kind == 2:
            harness.mmd(source.below(32), source.value(2))
        else:
            harness.write(x.IC_ENABLE, 1)
            for _ in range(source.below(8)):
                harness.write(x.IC_DATA_CMD, source.number(2))

    def _write(self, address: int, data: bytes) -> None:
        if self.harness.ram.mapped and self.harness.memory.bus_master:
            self.harness.memory.write(address, data)


class _DriverRam(GuestRam):
    """The driver's accesses, which go where the device's go, and nowhere while its memory is unmapped or reads fail."""

    def __init__(self, memory: object, iova: int, size: int) -> None:
        self.iova, self.size, self._next = iova, size, iova
        self._memory = memory

    def read(self, iova: int, length: int) -> bytes:
        return self._memory.read(iova, length)  # type: ignore[attr-defined,no-any-return]

    def write(self, iova: int, data: bytes) -> None:
        self._memory.write(iova, data)  # type: ignore[attr-defined]


class GveTarget(ModelTarget):
    """A gVNIC.

    Args:
        profile: the variant.
    """

    bars = (0, 2)
    harness: GveHarness

    def __init__(self, profile: str) -> None:
        self._profile = profile
        super().__init__()

    def create(self) -> GveHarness:
        """A device of the profile."""
        harness = GveHarness(self._profile, TurnClock(self.turns))
        harness.memory.clear()
        harness.driver.ram.close()
        harness.ram = GuardedRam(harness.memory, RAM, SIZE)
        harness.driver.ram = _DriverRam(harness.memory, RAM, SIZE)
        return harness

    def start(self) -> None:
        """As drivers do."""
        self.harness.start()

    def post(self, source: Source) -> None:
        """Descriptors of a queue, consistent or not, and its doorbell."""
        harness = self.harness
        if not harness.ram.mapped or not harness.memory.bus_master:
            return
        harness.driver.ram._next = max(harness.driver.ram._next, RAM)
        if harness.driver.ram._next > RAM + SIZE - (1 << 20):
            harness.driver.ram._next = RAM + (4 << 20)
        if source.chance(4):
            self._post_buffers(source)
        elif harness.gqi:
            self._post_gqi(source)
        else:
            self._post_dqo(source)

    def _post_buffers(self, source: Source) -> None:
        rx = self.harness.rx
        if isinstance(rx, DqoReceive):
            for _ in range(source.below(40)):
                entry = struct.pack("<H6xQQ8x", source.number(2), self._address(source), self._address(source))
                self.harness.driver.ram.write(rx.slots + rx.tail * 32, entry)
                rx.tail = (rx.tail + 1) % rx.ring
            self.harness.driver.ring(rx.doorbell, rx.tail if source.number(1) & 7 else source.value())
        elif rx is not None:
            self.harness.driver.ring(rx.doorbell, source.value())

    def _address(self, source: Source) -> int:
        return RAM + source.below(SIZE) if source.number(1) & 7 else source.number(8)

    def _post_dqo(self, source: Source) -> None:
        tx = self.harness.tx
        assert isinstance(tx, DqoTransmit)
        for _ in range(1 + source.below(6)):
            kind = source.below(4)
            if kind == 0:
                tx.push(struct.pack("<QQ", source.number(8), source.number(8)))
                continue
            data = frame(source)
            if kind == 1:
                tx.write(data, checksum=source.chance(2), report=source.chance(2))
            elif kind == 2:
                cuts = source.below(len(data) + 1)
                tso = (source.value(2) & 0x3FFF, 54)
                more = source.below(9000)
                named = max(len(data) + more - 54, 0) if source.number(1) & 7 else source.value() & 0xFF_FFFF
                tx.write(data[:cuts], data[cuts:], bytes(more), tso=tso, total=named)
            else:
                descriptor = struct.pack("<QBBHHH", self._address(source), source.number(1), 0, 0, 5, source.number(2))
                for _ in range(source.below(64)):
                    tx.push(descriptor)
        self.harness.driver.ring(tx.doorbell, tx.tail if source.number(1) & 15 else source.value())

    def _post_gqi(self, source: Source) -> None:
        tx = self.harness.tx
        assert isinstance(tx, GqiTransmit)
        for _ in range(1 + source.below(6)):
            kind = source.below(3)
            if kind == 0:
                tx.push(struct.pack("<QQ", source.number(8), source.number(8)))
            elif kind == 1:
                tx.write(frame(source, 300))
            else:
                flags = source.below(4) << 4 | source.below(2)
                total, size = source.number(2), source.number(2)
                tx.push(struct.pack(">BBBBHHQ", flags, 8, 17, 1 + source.below(3), total, size, source.below(1 << 18)))
                tx.push(struct.pack(">BB2xHHQ", 0x20, 7, source.value(2), total - size & 0xFFFF, source.below(1 << 18)))
        if source.number(1) & 15:
            tx.ring_doorbell()
        else:
            self.harness.driver.ring(tx.doorbell, source.value())

    def special(self, source: Source) -> None:
        """Admin commands: any opcode with any body, or a valid one with a few bytes changed."""
        harness = self.harness
        if not harness.ram.mapped or not harness.memory.bus_master or not harness.driver.queue:
            return
        driver = harness.driver
        opcode = source.below(0x14)
        body = bytearray(56)
        rx, tx = harness.rx, harness.tx
        if opcode == 5 and tx is not None and source.number(1) & 3:
            body[: len(tx.command())] = tx.command()
        elif opcode == 6 and rx is not None and source.number(1) & 3:
            body[: len(rx.command())] = rx.command()
        for _ in range(source.below(6)):
            at, value = source.below(7), source.value(8, RAM + SIZE)
            body[8 * at : 8 * at + 8] = value.to_bytes(8, "big" if source.chance(2) else "little")
        number = 1 if source.number(1) & 7 else source.below(70)
        for step in range(number):
            driver.put(opcode, bytes(body), driver.executed + step)
        driver.executed = driver.executed + number & 0xFFFF_FFFF
        driver.write(0x14, driver.executed)


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class ServerTarget(Target):
    """The vfio-user server, with a client that sends anything: messages in any framing, with descriptors."""

    COMMANDS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10, 10, 11, 12, 13, 14, 15, 15, 16, 17)

    def fresh(self) -> None:
        """A new server, without a client."""
        self.close()
        connection.DMA_TIMEOUT = connection.SEND_TIMEOUT = 0.0  # this client does not answer
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._path = Path(self._folder.name) / "s"
        self._reactor = Reactor()
        self._slot = Slot(clock=self._reactor, events=EventLog(self._reactor.now))
        self._failed: list[Exception] = []
        self._reactor.failed = self._failed.append
        self._device = ExampleDevice(self._slot)
        self._device.restart(ResetCause.POWER_ON)
        self._server = Server(self._device, self._path, self._reactor)
        self._ram = os.memfd_create("ram")
        os.ftruncate(self._ram, 1 << 16)
        self._client: socket.socket | None = None
        self._message = 0
        self._opened = _open_files()

    def operate(self, source: Source) -> None:
        """Send a message, some of one, or anything."""
        client = self._client or self._connect(source)
        kind = source.below(8)
        fds = [self._ram] * (source.below(19) if source.chance(4) else 0)
        if kind == 0:
            self._send(client, source.bytes(200), fds)
            return
        command = source.pick(self.COMMANDS)
        payload = self._payload(source, command)
        if command == 2 and source.number(1) & 3:
            fds = [self._ram]
        size = 16 + len(payload) if source.number(1) & 15 else source.value()
        flags = 0x10 if source.chance(3) else 0 if source.number(1) & 7 else source.value()
        self._message = self._message + 1 & 0xFFFF
        data = struct.pack("<HHIII", self._message, command, size, flags, source.value()) + payload
        cut = source.below(len(data)) if source.chance(8) else len(data)
        for part in (data[:cut], data[cut:]):
            if part:
                self._send(client, part, fds)
                fds = []

    def _payload(self, source: Source, command: int) -> bytes:
        if command in (9, 10):
            count = source.pick((1, 2, 4, 4, 4, 8, 3, 64)) if source.number(1) & 7 else source.value() & 0xFFFF
            offset = source.below(64) * 4 if source.number(1) & 7 else source.value(8)
            if abs(offset - CRASH.offset) < 8:
                offset = 0
            head = struct.pack("<QII", offset, source.below(10), count)
            return head + (bytes(count) if command == 10 else b"")
        if command == 15:
            entries = [
                struct.pack(
                    "<QIIQ", source.below(6) * 4, source.below(10), source.pick((1, 2, 4, 8, 4, 4)), source.value(8)
                )
                for _ in range(source.below(20))
            ]
            return struct.pack("<Q", len(entries) if source.number(1) & 7 else source.value(8)) + b"".join(entries)
        if command == 2:
            size = 1 << 12 + source.below(5)
            fields = (32, source.number(1) & 3, source.below(4) << 12, source.below(64) << 12, size)
            return struct.pack("<IIQQQ", *fields) if source.number(1) & 7 else source.bytes(60)
        if command == 3:
            return struct.pack("<IIQQ", 24, source.below(3), source.below(64) << 12, 1 << 12 + source.below(5))
        if command == 8:
            return struct.pack(
                "<IIIII", 20, 1 << source.below(3) | 8 << source.below(3), *(source.below(6) for _ in "abc")
            )
        return source.bytes(80)

    def _connect(self, source: Source) -> socket.socket:
        client = self._client = socket.socket(socket.AF_UNIX)
        client.connect(str(self._path))
        client.setblocking(False)
        if source.number(1) & 15:
            capabilities = b'{"capabilities":{"max_msg_fds":8,"max_data_xfer_size":%d}}\0' % source.pick(
                (1 << 20, 4096, 64)
            )
            data = struct.pack("<HH", 0, 1) + capabilities
            self._send(client, struct.pack("<HHIII", 0, 1, 16 + len(data), 0, 0) + data, [])
        return client

    def _send(self, client: socket.socket, data: bytes, fds: Sequence[int]) -> None:
        try:
            if fds:
                socket.send_fds(client, [data], list(fds))
            else:
                client.send(data)
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()
        self._turn()
        if self._client is not None:
            try:
                while data := client.recv(1 << 16):
                    pass
            except BlockingIOError:
                return
            except OSError:
                pass
            self._hang_up()

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
            self._turn()

    def _turn(self) -> None:
        self.turns.run(lambda: self._reactor.turn(0.0))

    def settle(self) -> None:
        """See what failed. The example has one register that raises, which operations leave out."""
        self._turn()
        if self._failed:
            raise self._failed[0]
        if self._slot.failures.count:
            found = [each for each in self._slot.events.after() if each["event"] == "model.error"]
            self._slot.failures.count = 0
            if any("the example broke" not in each["reason"] for each in found):
                raise Broken(f"the model failed: {found}")

    def inspect(self) -> None:
        """See whether a client is still served, what is open, and how much there is of everything."""
        self._hang_up()
        for _ in range(3):
            self._turn()
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self._path))
        data = struct.pack("<HH", 0, 1) + b'{"capabilities":{}}\0'
        client.send(struct.pack("<HHIII", 0, 1, 16 + len(data), 0, 0) + data)
        client.send(struct.pack("<HHIIIQII", 9, 9, 32, 0, 0, 0, 0, 4))
        client.settimeout(0.0)
        received = b""
        for _ in range(8):
            self._turn()
            with contextlib.suppress(BlockingIOError):
                received += client.recv(1 << 16)
        client.close()
        self._turn()
        if struct.pack("<I", 0x70667431) not in received:
            raise Broken(f"expected that the next client is served; found {received!r}")
        opened = _open_files()
        if opened > self._opened + 2:
            raise Broken(f"expected {self._opened} open descriptors; found {opened}")
        found = elements(self._server, (RegisterFile,))
        if found > 32 * MOST_ELEMENTS:  # of which the connection's buffers are most
            raise Broken(f"expected at most {32 * MOST_ELEMENTS} elements in all containers; found {found}")

    def close(self) -> None:
        """Release everything."""
        if hasattr(self, "_server"):
            self._hang_up()
            self._server.close()
            self._reactor.close()
            os.close(self._ram)
            self._folder.cleanup()


TARGETS: dict[str, Callable[[], Target]] = {
    "ixgbe": IxgbeTarget,
    "gve": lambda: GveTarget("hds"),
    "gve-qpl": lambda: GveTarget("qpl"),
    "gve-gqi": lambda: GveTarget("gqi"),
    "xgbe": XgbeTarget,
    "server": ServerTarget,
}
