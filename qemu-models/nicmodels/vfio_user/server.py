# SPDX-License-Identifier: MIT
"""The vfio-user server of one device: it listens at a unix socket, and serves one client after the other.

Source: QEMU, docs/interop/vfio-user.rst.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from typing import TYPE_CHECKING

from nicmodels.pci import Msi, MsiX, ResetCause
from nicmodels.vfio_user import protocol
from nicmodels.vfio_user.connection import Connection
from nicmodels.vfio_user.interrupts import IrqIndex
from nicmodels.vfio_user.listener import listen, remove
from nicmodels.vfio_user.memory import MappingExistsError, MappingMissingError
from nicmodels.vfio_user.protocol import Command, IrqAction, IrqData, IrqRequest, RequestError, invalid
from nicmodels.vfio_user.regions import Regions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nicmodels.vfio_user.connection import EventLoop
    from nicmodels.vfio_user.device import PciDevice

    Handler = Callable[[memoryview, list[int]], tuple[bytes, list[int]]]

NOTHING: tuple[bytes, list[int]] = (b"", [])


class Server:
    """Serves `device` at `path`.

    Args:
        device: already reset with POWER_ON.
        path: of the unix socket.
        loop: runs the server.

    Attributes:
        rejected: how many requests of each command number were answered with an error.

    Raises:
        OSError: cannot listen at the path.
    """

    def __init__(self, device: PciDevice, path: Path, loop: EventLoop) -> None:
        self.device = device
        self.loop = loop
        self.rejected: Counter[int] = Counter()
        self._path = path
        self._session: Session | None = None
        device.config.listener = device
        msi, msix = device.config.capability(Msi), device.config.capability(MsiX)
        device.host.interrupts.resize(
            msix=0 if msix is None else msix.vectors,
            msi=0 if msi is None else msi.vectors,
            intx=1 if device.config.interrupt_pin else 0,
        )
        device.host.interrupts.level_changed = device.config.show_interrupt
        device.command_changed()
        self._listener = listen(path)
        loop.add_reader(self._listener.fileno(), self._accept)

    @property
    def connected(self) -> bool:
        """Whether a client is connected."""
        return self._session is not None

    def close(self) -> None:
        """Disconnect the client and stop listening."""
        self.loop.remove_reader(self._listener.fileno())
        self._listener.close()
        if self._session is not None:
            self._session.connection.close("the server ends")
        remove(self._path)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        # A new QEMU may connect before the end of the old one is noticed.
        if self._session is not None and self._session.connection.hung_up:
            self._session.connection.close("closed by the client")
        if self._session is not None:
            self.device.host.events.add("client.refused", reason="another client is connected")
            sock.close()
            return
        self._session = Session(self, sock)
        self.device.host.events.add("client.connected")
        self._session.connection.start()

    def session_ended(self, reason: str) -> None:
        """The client disconnected: unmap its memory, close its eventfds, reset the device."""
        self._session = None
        host = self.device.host
        host.events.add("client.disconnected", reason=reason)
        host.memory.remote = None
        host.memory.clear()
        host.interrupts.clear()
        self.device.restart(ResetCause.DISCONNECT)


class Session:
    """One client's session: the handlers of all messages off the hot path."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server = server
        self._device = server.device
        self._host = server.device.host
        self._regions: Regions | None = None
        self.connection = Connection(sock, server.loop, self)
        self._handlers: dict[int, Handler] = {
            Command.VERSION: self._version,
            Command.DMA_MAP: self._dma_map,
            Command.DMA_UNMAP: self._dma_unmap,
            Command.GET_INFO: self._get_info,
            Command.GET_REGION_INFO: self._get_region_info,
            Command.GET_IRQ_INFO: self._get_irq_info,
            Command.SET_IRQS: self._set_irqs,
            Command.REGION_READ: self._region_read,
            Command.REGION_WRITE: self._region_write,
            Command.REGION_WRITE_MULTI: self._region_write_multi,
            Command.RESET: self._reset,
        }

    # What the connection calls

    def handle(self, command: int, payload: memoryview, fds: list[int]) -> tuple[bytes, list[int]]:
        """Handle a request; see `connection.Requests`."""
        handler = self._handlers.get(command)
        if self._regions is None and command != Command.VERSION:
            raise invalid(f"command {command} before VERSION")
        if handler is None:
            if command in (Command.DMA_READ, Command.DMA_WRITE):
                raise invalid(f"command {command} is the server's to send")
            if command == Command.FEATURE:
                raise RequestError(errno.ENOTTY, "no device feature is supported")
            raise RequestError(errno.ENOTSUP, f"command {command} is not supported")
        return handler(payload, fds)

    def rejected(self, command: int, reason: str) -> None:
        """Count and record a rejected request."""
        self._server.rejected[command] += 1
        self._host.events.add("client.error", command=command, reason=reason)

    def model_failed(self, error: Exception) -> None:
        """Count and record an exception of the model."""
        self._host.failures.add(error)

    def disconnected(self, reason: str) -> None:
        """The connection was closed."""
        self._server.session_ended(reason)

    # Handlers

    def _version(self, payload: memoryview, _fds: list[int]) -> tuple[bytes, list[int]]:
        if self._regions is not None:
            raise invalid("VERSION: the version is agreed already")
        proposal = protocol.Proposal.decode(payload)
        answer = proposal.answer()
        self._regions = Regions(self._device)
        limit = proposal.capabilities.get("max_data_xfer_size", protocol.MAX_TRANSFER)
        self.connection.negotiated(self._regions, max(limit, 1))
        self._host.memory.remote = self.connection
        return answer, []

    def _dma_map(self, payload: memoryview, fds: list[int]) -> tuple[bytes, list[int]]:
        argsz, flags, offset, address, size = protocol.unpack(protocol.DMA_MAP, payload, "DMA_MAP")
        if argsz < protocol.DMA_MAP.size:
            raise invalid(f"DMA_MAP: argsz {argsz}, expected at least {protocol.DMA_MAP.size}")
        if flags & ~(protocol.DMA_READABLE | protocol.DMA_WRITABLE):
            raise invalid(f"DMA_MAP: unknown flags {flags:#x}")
        if len(fds) > 1:
            raise invalid(f"DMA_MAP: {len(fds)} descriptors, expected one or none")
        try:
            self._host.memory.map(
                fds[0] if fds else None,
                offset,
                address,
                size,
                bool(flags & protocol.DMA_WRITABLE),
                readable=bool(flags & protocol.DMA_READABLE),
            )
        except MappingExistsError as error:
            raise RequestError(errno.EEXIST, f"DMA_MAP: {error}") from error
        except (ValueError, OverflowError) as error:
            raise invalid(f"DMA_MAP: {error}") from error
        except OSError as error:
            raise RequestError(error.errno or errno.EINVAL, f"DMA_MAP: {error}") from error
        return NOTHING

    def _dma_unmap(self, payload: memoryview, _fds: list[int]) -> tuple[bytes, list[int]]:
        argsz, flags, address, size = protocol.unpack(protocol.DMA_UNMAP, payload, "DMA_UNMAP")
        if argsz < protocol.DMA_UNMAP.size:
            raise invalid(f"DMA_UNMAP: argsz {argsz}, expected at least {protocol.DMA_UNMAP.size}")
        if flags == protocol.DMA_UNMAP_ALL and address == size == 0:
            self._host.memory.clear()
        elif flags:
            raise invalid(f"DMA_UNMAP: unknown flags {flags:#x}")
        else:
            try:
                self._host.memory.unmap(address, size)
            except MappingMissingError as error:
                raise RequestError(errno.ENOENT, f"DMA_UNMAP: {error}") from error
        return bytes(payload[: protocol.DMA_UNMAP.size]), []

    def _get_info(self, payload: memoryview, _fds: list[int]) -> tuple[bytes, list[int]]:
        argsz, *_ = protocol.unpack(protocol.DEVICE_INFO, payload, "GET_INFO")
        if argsz < protocol.DEVICE_INFO.size:
            raise invalid(f"GET_INFO: argsz {argsz}, expected at least {protocol.DEVICE_INFO.size}")
        flags = protocol.DEVICE_FLAG_RESET | protocol.DEVICE_FLAG_PCI
        info = protocol.DEVICE_INFO.pack(protocol.DEVICE_INFO.size, flags, protocol.REGION_COUNT, protocol.IRQ_COUNT)
        return info, []

    def _get_region_info(self, payload: memoryview, _fds: list[int]) -> tuple[bytes, list[int]]:
        argsz, _, index, *_ = protocol.unpack(protocol.REGION_INFO, payload, "GET_REGION_INFO")
        if argsz < protocol.REGION_INFO.size:
            raise invalid(f"GET_REGION_INFO: argsz {argsz}, expected at least {protocol.REGION_INFO.size}")
        if index >= protocol.REGION_COUNT:
            raise invalid(f"GET_REGION_INFO: region {index}, expected one below {protocol.REGION_COUNT}")
        bar = self._device.bars.get(index)
        areas = () if bar is None else tuple((area.offset, area.size) for area in bar.mmap_areas)
        size = self._checked_regions().sizes[index]
        info, complete = protocol.region_info(index, size, areas, argsz)
        fds = [bar.mmap_fd] if complete and areas and bar is not None and bar.mmap_fd is not None else []
        return info, fds

    def _get_irq_info(self, payload: memoryview, _fds: list[int]) -> tuple[bytes, list[int]]:
        argsz, _, index, _ = protocol.unpack(protocol.IRQ_INFO, payload, "GET_IRQ_INFO")
        if argsz < protocol.IRQ_INFO.size:
            raise invalid(f"GET_IRQ_INFO: argsz {argsz}, expected at least {protocol.IRQ_INFO.size}")
        kind = _irq_index(index)
        flags = protocol.IRQ_INFO_EVENTFD
        if kind is IrqIndex.INTX:
            flags |= protocol.IRQ_INFO_MASKABLE | protocol.IRQ_INFO_AUTOMASKED
        elif kind is IrqIndex.MSI:
            flags |= protocol.IRQ_INFO_MASKABLE | protocol.IRQ_INFO_NORESIZE
        elif kind is not IrqIndex.MSIX:
            flags |= protocol.IRQ_INFO_NORESIZE
        count = self._host.interrupts.types[kind].count
        return protocol.IRQ_INFO.pack(protocol.IRQ_INFO.size, flags, index, count), []

    def _set_irqs(self, payload: memoryview, fds: list[int]) -> tuple[bytes, list[int]]:
        request = IrqRequest.decode(payload)
        kind = _irq_index(request.index)
        interrupts = self._host.interrupts
        irq = interrupts.types[kind]
        if request.start + request.count > irq.count:
            raise invalid(f"SET_IRQS: {kind.name} has {irq.count} vectors, not {request.start}+{request.count}")
        if request.action is not IrqAction.TRIGGER and kind not in (IrqIndex.INTX, IrqIndex.MSI):
            raise invalid(f"SET_IRQS: {kind.name} cannot be masked")
        if request.data is not IrqData.EVENTFD and fds:
            raise invalid(f"SET_IRQS: {len(fds)} descriptors without DATA_EVENTFD")
        vectors = range(request.start, request.start + request.count)
        if request.data is IrqData.EVENTFD:
            if fds and len(fds) != request.count:
                raise invalid(f"SET_IRQS: {len(fds)} descriptors for {request.count} vectors")
            given: list[int | None] = [*fds] if fds else [None] * request.count
            fds.clear()  # the vectors own them now
            for vector, fd in zip(vectors, given, strict=True):
                interrupts.set_eventfd(kind, request.action, vector, fd)
        elif request.count == 0 and request.start == 0 and request.data is IrqData.NONE:
            irq.clear()
        else:
            chosen = [v for v in vectors if request.data is IrqData.NONE or request.booleans[v - request.start]]
            act = {
                IrqAction.TRIGGER: interrupts.trigger,
                IrqAction.MASK: interrupts.mask,
                IrqAction.UNMASK: interrupts.unmask,
            }[request.action]
            for vector in chosen:
                act(kind, vector)
        return NOTHING

    def _region_read(self, payload: memoryview, _fds: list[int]) -> tuple[bytes, list[int]]:
        offset, region, count = protocol.unpack(protocol.ACCESS, payload, "REGION_READ")
        if len(payload) != protocol.ACCESS.size:
            raise invalid(f"REGION_READ: {len(payload)} bytes of payload, expected {protocol.ACCESS.size}")
        regions = self._check_access("REGION_READ", region, offset, count)
        data = regions.read(region, offset, count)
        return protocol.ACCESS.pack(offset, region, count) + data, []

    def _region_write(self, payload: memoryview, _fds: list[int]) -> tuple[bytes, list[int]]:
        offset, region, count = protocol.unpack(protocol.ACCESS, payload, "REGION_WRITE")
        data = payload[protocol.ACCESS.size :]
        if len(data) != count:
            raise invalid(f"REGION_WRITE: {len(data)} bytes of data, but count is {count}")
        regions = self._check_access("REGION_WRITE", region, offset, count)
        regions.write(region, offset, data)
        return protocol.ACCESS.pack(offset, region, count), []

    def _region_write_multi(self, payload: memoryview, _fds: list[int]) -> tuple[bytes, list[int]]:
        (count,) = protocol.unpack(protocol.WRITE_COUNT, payload, "REGION_WRITE_MULTI")
        data = payload[protocol.WRITE_COUNT.size :]
        if len(data) != count * protocol.WRITE_ENTRY.size:
            raise invalid(f"REGION_WRITE_MULTI: {len(data)} bytes for {count} writes")
        entries = list(protocol.WRITE_ENTRY.iter_unpack(data))
        for offset, region, width, _, _ in entries:
            self._check_access("REGION_WRITE_MULTI", region, offset, width)
            if width > 8:
                raise invalid(f"REGION_WRITE_MULTI: a write of {width} bytes, expected at most 8")
        regions = self._checked_regions()
        for offset, region, width, low, high in entries:
            regions.write(region, offset, memoryview((low | high << 32).to_bytes(8, "little"))[:width])
        return protocol.WRITE_COUNT.pack(count), []

    def _reset(self, payload: memoryview, _fds: list[int]) -> tuple[bytes, list[int]]:
        if len(payload):
            raise invalid(f"DEVICE_RESET: {len(payload)} bytes of payload, expected none")
        self._device.restart(ResetCause.CLIENT)
        return NOTHING

    def _check_access(self, what: str, region: int, offset: int, count: int) -> Regions:
        regions = self._checked_regions()
        if region >= protocol.REGION_COUNT or not regions.sizes[region]:
            raise invalid(f"{what}: there is no region {region}")
        if not 0 < count <= protocol.MAX_TRANSFER:
            raise invalid(f"{what}: count {count}, expected 1 to {protocol.MAX_TRANSFER}")
        if offset + count > regions.sizes[region]:
            raise invalid(f"{what}: {offset:#x}+{count:#x} is beyond the {regions.sizes[region]:#x} of region {region}")
        return regions

    def _checked_regions(self) -> Regions:
        if self._regions is None:
            raise invalid("no VERSION yet")
        return self._regions


def _irq_index(index: int) -> IrqIndex:
    try:
        return IrqIndex(index)
    except ValueError:
        raise invalid(f"interrupt type {index}, expected one below {protocol.IRQ_COUNT}") from None
