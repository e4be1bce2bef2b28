# SPDX-License-Identifier: MIT
"""Receive offloads: checksum verification, VLAN stripping, header split, and their status in the descriptors.

Source: Agilex 5 HPS TRM (Intel 814346), 5.1.6.3.4 (receive descriptors), 5.1.6.3.6 (split headers), 5.1.6 (checksum
engine, VLAN stripping, pad and FCS stripping); Linux, drivers/net/ethernet/amd/xgbe/xgbe-dev.c (xgbe_dev_read).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from nicmodels.ethernet import ETH_HLEN
from nicmodels.models.xgbe import descriptors as d
from nicmodels.models.xgbe.registers import REGISTERS, mac
from nicmodels.offload.headers import TCP, UDP, Headers, ip_checksum_ok, l4_checksum_ok

if TYPE_CHECKING:
    from nicmodels.faults.points import FaultSet
    from nicmodels.models.xgbe.filters import Filters
    from nicmodels.models.xgbe.ptp import SystemTime
    from nicmodels.registers import RegisterFile

ACS, CST, IPC = 1 << 1, 1 << 2, 1 << 9
HEADER_SIZES = (64, 128, 256, 512, 1024, 1024, 1024, 1024)
EVLRXS = 1 << 24
LENGTH_LIMIT = 1536
S_TAG_HIGH = 0x88
ICMP, ICMP6 = 1, 58
_RCR = REGISTERS.offset(mac.RCR) >> 2


class RxStatus(NamedTuple):
    """The status of a frame in the write-back, apart from its length.

    Attributes:
        vlan: the tag that was stripped, or None.
        hash: the RSS hash, or None.
        status: error, type and L3/L4 type, as in the fourth doubleword.
        header: bytes of header for a split; 0 for none.
        time: seconds and nanoseconds for a context descriptor, or None.
    """

    vlan: int | None
    hash: int | None
    status: int
    header: int
    time: tuple[int, int] | None


class RxOffload:
    """Applies the offloads to a frame."""

    def __init__(self, file: RegisterFile, filters: Filters, time: SystemTime, faults: FaultSet) -> None:
        self._file = file
        self._values = file.values
        self._filters = filters
        self._time = time
        self._faults = faults

    def checks(self, frame: memoryview, headers: Headers, channel: int) -> int:
        """The checksum engine's error, as error and type in the fourth doubleword; 0 for none."""
        if not self._values[_RCR] & IPC:
            return 0
        error = 0
        verified = False
        if headers.version == 4:
            verified = True
            if not ip_checksum_ok(frame, headers):
                error = d.ERROR_IP
        if headers.l4 in (TCP, UDP):
            l4 = l4_checksum_ok(frame, headers)
            verified = verified or l4 is not None
            if l4 is False and not error:
                error = d.ERROR_PAYLOAD
        if verified:
            if error and self._faults.fires("rx.checksum.bad-as-good", queue=channel):
                error = 0
            elif not error and headers.l4 and self._faults.fires("rx.checksum.good-as-bad", queue=channel):
                error = d.ERROR_PAYLOAD
        return d.ERROR | error << d.TYPE_SHIFT if error else 0

    def report(
        self,
        frame: memoryview,
        headers: Headers,
        channel: int,
        *,
        tci: int | None,
        value: int | None,
        error: int,
        splits: bool,
    ) -> tuple[bytes, RxStatus]:
        """The frame as written to memory, and its status in the descriptors."""
        status = error
        if headers.version and self._values[_RCR] & IPC:
            status |= self._l34(headers) << d.L34_SHIFT
        vlan = None
        stripped = bytes(frame)
        removed = 0
        shown = bool(headers.vlans) and not error
        if tci is not None:
            strips = self._strips(tci)
            if strips and self._faults.fires("rx.vlan.not-stripped", queue=channel):
                strips = shown = False
            if strips:
                stripped = stripped[:12] + stripped[16:]
                removed = 4
            if shown and self._file[mac.VLANTR] & EVLRXS:
                vlan = tci
                if self._faults.fires("rx.vlan.wrong", queue=channel):
                    vlan = vlan & 0xF000 | (vlan + 1) & 0xFFF
        if shown:
            status |= self._tag_type(frame, headers) << d.TYPE_SHIFT
        if value is not None:
            if self._faults.fires("rx.rss.hash", queue=channel):
                value ^= 1
            if self._faults.fires("rx.rss.unreported", queue=channel):
                value = None
        stripped = self._trailer(stripped, headers)
        header = 0
        if splits and headers.version:
            header = (headers.payload_offset if headers.l4 in (TCP, UDP) else headers.l4_offset) - removed
            fits = header <= self.header_size() and header < len(stripped)
            if not fits or (self._faults.fires("rx.split.off", queue=channel)):
                header = 0
        return stripped, RxStatus(vlan, value, status, header, self._time.received(frame, headers))

    def _trailer(self, data: bytes, headers: Headers) -> bytes:
        """Strip padding and FCS: ACS strips both of frames with a length field, CST the FCS of others."""
        control = self._values[_RCR]
        if headers.ethertype < LENGTH_LIMIT:
            if control & ACS:
                return data[: max(len(data) - max(len(data) - ETH_HLEN - headers.ethertype, 0), ETH_HLEN)]
        elif control & CST:
            return data
        return data + struct.pack("<I", zlib.crc32(data))

    @staticmethod
    def _tag_type(frame: memoryview, headers: Headers) -> int:
        if frame[12] == S_TAG_HIGH:
            return d.TYPE_S_TAG
        return d.TYPE_TWO_TAGS if len(headers.vlans) > 1 else d.TYPE_C_TAG

    def _strips(self, tci: int) -> bool:
        """MAC_VLANTR.EVLS: strip never, if the VLAN filter matches, if it does not, or always."""
        mode = self._file[mac.VLANTR] >> 21 & 3
        return mode == 3 or (mode != 0 and (mode == 1) == self._filters.vlan_matches(tci))

    def _l34(self, headers: Headers) -> int:
        kind = {TCP: d.L34_TCP, UDP: d.L34_UDP, ICMP: d.L34_ICMP, ICMP6: d.L34_ICMP}.get(headers.protocol, d.L34_OTHER)
        if headers.later_fragment or (headers.protocol in (TCP, UDP) and not headers.l4):
            kind = d.L34_OTHER
        return kind | (d.L34_IPV6 if headers.version == 6 else 0)

    def header_size(self) -> int:
        """Bytes of a header buffer: MAC_RCR.HDSMS."""
        return HEADER_SIZES[self._values[_RCR] >> 12 & 7]
