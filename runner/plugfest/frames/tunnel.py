# SPDX-License-Identifier: GPL-2.0-or-later
"""Tunnels: VXLAN, Geneve, GRE and IP in IP; how a frame is put into one, taken out of one, and what is wrong with the outer headers.

Source: RFC 7348 (VXLAN), RFC 8926 (Geneve), RFC 2784 and 2890 (GRE), RFC 2003, 2473 and 4213 (IP in IP), RFC 6864 (identification),
RFC 6935 and 6936 (UDP without a checksum over IPv6).
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from plugfest.frames.dissect import IPV4, IPV6, UDP, Dissected, Malformed, dissect
from plugfest.frames.dissect import problems as frame_problems
from plugfest.frames.probe import DONT_FRAGMENT, ETHERTYPE, ethernet_header, internet_checksum, ip_header
from plugfest.frames.variant import DESTINATION_OPTIONS, off_by_one

GRE = 47
IP_IN_IP = {4: 4, 6: 41}
"""The protocol by which IP carries IP of a version."""
TRANSPARENT_ETHERNET = 0x6558
"""The EtherType of whole Ethernet frames."""
NO_ADDRESS = "00:00:00:00:00:00"
"""Hardware address of inner frames where the tunnel carries IP alone."""
SOURCE_PORT = 50000
"""UDP source port of the frames that `Tunnel.encapsulate` makes."""

_ETHERNET = 14
_VXLAN, _GENEVE = struct.Struct(">II"), struct.Struct(">BBHI")
_VNI_VALID = 0x08
_GRE_CHECKSUM, _GRE_KEY = 0x8000, 0x2000


@dataclass(frozen=True)
class Tunnel:
    """A kind of tunnel.

    Attributes:
        kind: of its interface, as ``ip link add … type`` names it.
        outer: version of IP that carries it.
        versions: of IP that it carries.
        port: UDP destination port; None where it has no UDP header.
        checksum: whether the outer UDP or GRE header has a checksum.
        key: VXLAN or Geneve network identifier, or GRE key; None for none.
        feature: of the driver (name of ``ethtool -k``) that has the device segment what it carries.
    """

    kind: str
    outer: int
    versions: tuple[int, ...] = (4, 6)
    port: int | None = None
    checksum: bool = False
    key: int | None = None
    feature: str = field(init=False)

    def __post_init__(self) -> None:
        """Find the feature."""
        checksum = "csum-" if self.checksum else ""
        ip = f"tx-ipxip{self.outer}-segmentation"
        name = {17: f"tx-udp_tnl-{checksum}segmentation", GRE: f"tx-gre-{checksum}segmentation"}.get(self.protocol, ip)
        object.__setattr__(self, "feature", name)

    def __str__(self) -> str:
        """Name it as in the id of a test."""
        parts = [self.kind, str(self.port or ""), f"ipv{self.outer}", "checksum" if self.checksum else ""]
        return "-".join(part for part in parts if part)

    @property
    def protocol(self) -> int:
        """The IP protocol of what follows the outer IP header; of IP in IP that of IPv4."""
        if self.port is not None:
            return UDP
        return GRE if "gre" in self.kind else IP_IN_IP[4]

    @property
    def ethernet(self) -> bool:
        """Whether it carries Ethernet frames; else it carries IP packets."""
        return self.port is not None or self.kind.endswith("gretap")

    def arguments(self, local: str, remote: str, ifname: str) -> list[str]:
        """Return the arguments of ``ip link add … type`` for an interface from `local` to `remote` through `ifname`."""
        made = [self.kind]
        if self.port is not None and self.key is not None:
            made += ["id", str(self.key), "dstport", str(self.port)]
        made += ["remote", remote]
        if self.kind != "geneve":  # which has neither
            made += ["local", local, "dev", ifname]
        if self.port is not None:
            no, zero = ("", "no") if self.checksum else ("no", "")
            made += [f"{no}udpcsum"] if self.outer == 4 else [f"{zero}udp6zerocsumtx", f"{zero}udp6zerocsumrx"]
        elif self.protocol == GRE:
            made += ["key", str(self.key)] if self.key is not None else []
            made += ["csum"] if self.checksum else []
        elif self.kind == "ip6tnl":
            made += ["mode", "any"]
        return made

    def encapsulate(
        self,
        inner: bytes,
        macs: tuple[str, str],
        addresses: tuple[str, str],
        *,
        identification: int = 1,
        bad: bool = False,
    ) -> bytes:
        """Return a frame that carries an inner one.

        Args:
            inner: an Ethernet frame; its Ethernet header is left out where the tunnel carries IP alone.
            macs: outer hardware addresses of receiver and sender.
            addresses: outer IP addresses of sender and receiver.
            identification: of the outer IPv4 header.
            bad: make the outer UDP or GRE checksum wrong by one.

        Raises:
            ValueError: it has none to make wrong.
        """
        if bad and not self.checksum:
            raise ValueError(f"expected a tunnel with a checksum, found {self}")
        packed = b"".join(ipaddress.ip_address(each).packed for each in addresses)
        protocol, body = self._carried(inner, packed, bad)
        head = ip_header(self.outer, packed, protocol, len(body), identification=identification, fragment=0)
        return ethernet_header(*macs, self.outer) + head + body

    def _carried(self, inner: bytes, addresses: bytes, bad: bool) -> tuple[int, bytes]:
        """Return the outer IP header's protocol, and what follows the header."""
        kind = int.from_bytes(inner[12:14], "big")
        if not self.ethernet:
            inner = inner[_ETHERNET:]
        if self.port is not None:
            shim = self._shim()
            length = 8 + len(shim) + len(inner)
            body = struct.pack(">HHHH", SOURCE_PORT, self.port, length, 0) + shim + inner
            if self.checksum:
                value = internet_checksum(addresses + struct.pack(">II", length, UDP) + body) or 0xFFFF
                body = body[:6] + (off_by_one(value) if bad else value).to_bytes(2, "big") + body[8:]
            return UDP, body
        if self.protocol == GRE:
            flags = (_GRE_CHECKSUM if self.checksum else 0) | (_GRE_KEY if self.key is not None else 0)
            body = struct.pack(">HH", flags, TRANSPARENT_ETHERNET if self.ethernet else kind)
            body += bytes(4) if self.checksum else b""
            body += b"" if self.key is None else self.key.to_bytes(4, "big")
            body += inner
            if self.checksum:
                value = internet_checksum(body)
                body = body[:4] + (off_by_one(value) if bad else value).to_bytes(2, "big") + body[6:]
            return GRE, body
        return IP_IN_IP[4 if kind == IPV4 else 6], inner

    def inner(self, frame: bytes) -> bytes | None:
        """Return the Ethernet frame that a frame carries in this tunnel; None if it carries none.

        Where the tunnel carries IP alone, the inner frame has an Ethernet header with `NO_ADDRESS` twice.
        """
        try:
            protocol, body = _payload(dissect(frame))
        except Malformed:
            return None
        if self.port is not None:
            shim = _GENEVE if self.kind == "geneve" else _VXLAN
            if protocol != UDP or len(body) < 8 + shim.size or int.from_bytes(body[2:4], "big") != self.port:
                return None
            options = (body[8] & 0x3F) * 4 if self.kind == "geneve" else 0
            return body[8 + shim.size + options :]
        if self.protocol == GRE:
            if protocol != GRE or len(body) < 4:
                return None
            flags, kind = struct.unpack_from(">HH", body)
            rest = body[4 + 4 * bool(flags & _GRE_CHECKSUM) + 4 * bool(flags & _GRE_KEY) :]
            if self.ethernet:
                return rest if kind == TRANSPARENT_ETHERNET else None
            return _framed(kind, rest) if kind in (IPV4, IPV6) else None
        version = next((version for version, number in IP_IN_IP.items() if number == protocol), None)
        return _framed(ETHERTYPE[version], body) if version in self.versions else None

    def problems(self, frame: bytes, addresses: tuple[str, str]) -> list[str]:
        """Return what is wrong with the outer headers of a frame that this tunnel's interface has sent; empty if nothing is.

        Args:
            frame: as captured, of which `inner` finds an inner frame.
            addresses: outer IP addresses of sender and receiver.
        """
        wrong = [f"outer: {text}" for text in frame_problems(frame, udp_checksum=self.checksum)]
        found = dissect(frame)
        if found.version != self.outer:
            return [*wrong, f"outer: IPv{found.version}, expected IPv{self.outer}"]
        wanted = tuple(ipaddress.ip_address(each).packed for each in addresses)
        if found.addresses != wanted:
            wrong.append(f"outer: addresses are {[each.hex() for each in found.addresses]}, expected {list(addresses)}")
        _, body = _payload(found)
        if self.port is not None:
            wrong += self._shim_problems(body[8:])
        elif self.protocol == GRE:
            wrong += self._gre_problems(body)
        return wrong

    def _shim(self) -> bytes:
        """Return the VXLAN or Geneve header."""
        vni = (self.key or 0) << 8
        return (
            _GENEVE.pack(0, 0, TRANSPARENT_ETHERNET, vni)
            if self.kind == "geneve"
            else _VXLAN.pack(_VNI_VALID << 24, vni)
        )

    def _shim_problems(self, shim: bytes) -> list[str]:
        wanted = self._shim()
        stands = shim[: len(wanted)]
        return [] if stands == wanted else [f"the {self.kind} header is {stands.hex()}, expected {wanted.hex()}"]

    def _gre_problems(self, body: bytes) -> list[str]:
        wrong = []
        flags = int.from_bytes(body[:2], "big")
        wanted = (_GRE_CHECKSUM if self.checksum else 0) | (_GRE_KEY if self.key is not None else 0)
        if flags != wanted:
            return [f"the GRE flags are {flags:#06x}, expected {wanted:#06x}"]
        if self.checksum and (rest := internet_checksum(body)):
            stands = int.from_bytes(body[4:6], "big")
            wrong.append(f"the GRE checksum is {stands:#06x}, and wrong: the sum is {rest:#06x}")
        at = 8 if self.checksum else 4
        if self.key is not None and int.from_bytes(body[at : at + 4], "big") != self.key:
            wrong.append(f"the GRE key is {body[at : at + 4].hex()}, expected {self.key}")
        return wrong


def repeated_identifications(frames: Sequence[bytes]) -> list[int]:
    """Return the identifications that several of the frames have in their outer IPv4 header, where it lets routers fragment.

    Fragments of two datagrams with one identification may be put together (RFC 6864, 4.3 and 5.2); of a datagram with DF it means nothing.
    """
    seen = Counter(
        found.identification
        for found in map(dissect, frames)
        if found.identification is not None and not found.fragment & DONT_FRAGMENT
    )
    return sorted(number for number, count in seen.items() if count > 1)


def _payload(found: Dissected) -> tuple[int, bytes]:
    """Return protocol and bytes of what follows the outer IP header and its destination options, which hold a tunnel's limit."""
    if found.version == 6 and found.protocol == DESTINATION_OPTIONS and len(found.transport) >= 8:
        return found.transport[0], found.transport[(found.transport[1] + 1) * 8 :]
    return found.protocol, found.transport


def _framed(kind: int, packet: bytes) -> bytes:
    return bytes(12) + kind.to_bytes(2, "big") + packet
