# SPDX-License-Identifier: GPL-2.0-or-later
"""Raw netlink: messages, attributes by declaration, acknowledgements with the kernel's extended error text.

Source: include/uapi/linux/netlink.h, genetlink.h; Documentation/userspace-api/netlink/intro.rst.

Attributes are declared as ``Attributes({number: ("name", type)})``: a type has `encode(value) -> bytes` and
`decode(bytes) -> value`. Unknown numbers decode to ``{"#number": hex}``, so that a newer kernel's answer is not lost.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NETLINK_ROUTE = 0
NETLINK_GENERIC = 16
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12

NLM_F_REQUEST = 0x1
NLM_F_MULTI = 0x2
NLM_F_ACK = 0x4
NLM_F_ACK_TLVS = 0x200
NLM_F_DUMP = 0x300
NLM_F_CREATE_EXCL = 0x600
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF
NLMSGERR_ATTR_MSG = 1
NLMSGERR_ATTR_OFFS = 2
NLMSG_HEADER = 16

GENL_ID_CTRL = 0x10
CTRL_CMD_GETFAMILY = 3


class NetlinkError(OSError):
    """The kernel refused a request.

    Attributes:
        errno: the positive error number.
        extack: the kernel's own words, empty where it gave none.
        offset: where in the request the attribute stands that it objects to, None where it named none.
    """

    def __init__(self, number: int, extack: str, offset: int | None = None) -> None:
        """Make the message of all."""
        where = "" if offset is None else f"attribute at octet {offset} of the request"
        super().__init__(number, ": ".join(filter(None, (os.strerror(number), extack, where))))
        self.extack = extack
        self.offset = offset


def interface_index(ifname: str) -> int:
    """Return the index of an interface.

    Raises:
        OSError: ENODEV, there is none of this name.
    """
    try:
        return socket.if_nametoindex(ifname)
    except OSError as error:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), ifname) from error


class AttributeType(Protocol):
    """How one attribute's payload is read and written."""

    def encode(self, value: Any) -> bytes:
        """Return the payload of `value`."""

    def decode(self, data: bytes) -> Any:
        """Return the value in the payload."""


class Scalar(NamedTuple):
    """An integer of 1, 2, 4 or 8 bytes in host order."""

    size: int
    signed: bool = False

    def encode(self, value: int) -> bytes:
        """Return `value` in host order."""
        return int(value).to_bytes(self.size, "little", signed=self.signed)

    def decode(self, data: bytes) -> int:
        """Return the integer, of whatever size came."""
        return int.from_bytes(data, "little", signed=self.signed)


class String:
    """A string with a final zero."""

    def encode(self, value: str) -> bytes:
        """Return the bytes with the zero."""
        return value.encode() + b"\0"

    def decode(self, data: bytes) -> str:
        """Return the string without the zero."""
        return data.rstrip(b"\0").decode(errors="replace")


class Hex:
    """Bytes, given and returned as hexadecimal digits."""

    def encode(self, value: str) -> bytes:
        """Return the bytes."""
        return bytes.fromhex(value)

    def decode(self, data: bytes) -> str:
        """Return two digits a byte."""
        return data.hex()


class Mac:
    """A hardware address, as ``02:70:66:00:00:01``."""

    def encode(self, value: str) -> bytes:
        """Return the bytes."""
        return bytes.fromhex(value.replace(":", ""))

    def decode(self, data: bytes) -> str:
        """Return the bytes with colons."""
        return data.hex(":")


class Flag:
    """An attribute whose presence is its value."""

    def encode(self, value: bool) -> bytes:  # noqa: ARG002 - presence says it all
        """Return nothing."""
        return b""

    def decode(self, data: bytes) -> bool:  # noqa: ARG002
        """Return True."""
        return True


class Array(NamedTuple):
    """Scalars one after another without headers."""

    item: Scalar

    def encode(self, value: list[int]) -> bytes:
        """Return the items' bytes."""
        return b"".join(self.item.encode(each) for each in value)

    def decode(self, data: bytes) -> list[int]:
        """Return the items."""
        size = self.item.size
        return [self.item.decode(data[at : at + size]) for at in range(0, len(data), size)]


class Bits(NamedTuple):
    """A flag word, returned as the sorted list of its bits' names."""

    names: tuple[str, ...]
    size: int = 8

    def encode(self, value: list[str]) -> bytes:
        """Return the word with the named bits set."""
        return sum(1 << self.names.index(name) for name in value).to_bytes(self.size, "little")

    def decode(self, data: bytes) -> list[str]:
        """Return the names of the bits that are set, an unknown one as ``bit9``."""
        word = int.from_bytes(data, "little")
        return [
            self.names[bit] if bit < len(self.names) else f"bit{bit}"
            for bit in range(word.bit_length())
            if word >> bit & 1
        ]


class Choice(NamedTuple):
    """A scalar that stands for a name."""

    names: tuple[str, ...]
    size: int = 4

    def encode(self, value: str) -> bytes:
        """Return the name's number."""
        return self.names.index(value).to_bytes(self.size, "little")

    def decode(self, data: bytes) -> str:
        """Return the name, or the number in digits when it has none."""
        number = int.from_bytes(data, "little")
        return self.names[number] if number < len(self.names) else str(number)


class Attributes:
    """A set of attributes by number; itself the type of a nest.

    Args:
        members: name and type by number.
        repeated: names whose values come as a list because the attribute may appear more than once.
    """

    def __init__(self, members: Mapping[int, tuple[str, AttributeType]], repeated: tuple[str, ...] = ()) -> None:
        """Keep the declaration."""
        self.members = members
        self.numbers = {name: number for number, (name, _) in members.items()}
        self.repeated = repeated

    def encode(self, value: Mapping[str, Any]) -> bytes:
        """Return the attributes named in `value`, in its order; None and False are left out.

        Raises:
            KeyError: a name is not a member.
        """
        out = bytearray()
        for name, each in value.items():
            if each is None or each is False:
                continue
            number = self.numbers[name]
            kind = self.members[number][1]
            nested = NLA_F_NESTED if isinstance(kind, Attributes) else 0
            for item in each if name in self.repeated else [each]:
                out += attribute(number | nested, kind.encode(item))
        return bytes(out)

    def decode(self, data: bytes) -> dict[str, Any]:
        """Return the values by name."""
        found: dict[str, Any] = {}
        for number, payload in walk(data):
            name, kind = self.members.get(number, (f"#{number}", Hex()))
            if name in self.repeated:
                found.setdefault(name, []).append(kind.decode(payload))
            elif name != "pad":
                found[name] = kind.decode(payload)
        return found


U8 = Scalar(1)
U16 = Scalar(2)
U32 = Scalar(4)
S32 = Scalar(4, signed=True)
U64 = Scalar(8)
UINT = U64
STRING = String()
HEX = Hex()
MAC = Mac()
FLAG = Flag()


def attribute(number: int, payload: bytes) -> bytes:
    """Return one attribute with header and padding."""
    padding = -len(payload) % 4
    return struct.pack("=HH", 4 + len(payload), number) + payload + bytes(padding)


def walk(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number (without the flag bits) and payload of each attribute."""
    at = 0
    while at + 4 <= len(data):
        length, number = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield number & NLA_TYPE_MASK, bytes(data[at + 4 : at + length])
        at += length + 3 & ~3


class Message(NamedTuple):
    """One message out of a datagram.

    Attributes:
        type: nlmsg_type.
        flags: nlmsg_flags.
        sequence: nlmsg_seq.
        body: what follows the header.
    """

    type: int
    flags: int
    sequence: int
    body: bytes


def messages(datagram: bytes) -> Iterator[Message]:
    """Yield the messages of one datagram."""
    at = 0
    while at + 16 <= len(datagram):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", datagram, at)
        if length < 16:
            return
        yield Message(kind, flags, sequence, datagram[at + 16 : at + length])
        at += length + 3 & ~3


def extended(message: Message) -> dict[int, bytes]:
    """Return the extended acknowledgement of an NLMSG_ERROR or NLMSG_DONE body by NLMSGERR_ATTR_*, empty without."""
    if not message.flags & NLM_F_ACK_TLVS:
        return {}
    # With NETLINK_CAP_ACK only the request's header comes back after the error number.
    at = 4 if message.type == NLMSG_DONE else 4 + NLMSG_HEADER
    return dict(walk(message.body[at:]))


def refusal(number: int, message: Message) -> NetlinkError:
    """Return the error that an NLMSG_ERROR or NLMSG_DONE with a number other than 0 tells."""
    said = extended(message)
    offset = said.get(NLMSGERR_ATTR_OFFS)
    text = String().decode(said.get(NLMSGERR_ATTR_MSG, b""))
    return NetlinkError(number, text, None if offset is None else U32.decode(offset))


class Netlink:
    """One netlink socket; requests from several threads take turns.

    Args:
        family: NETLINK_ROUTE or NETLINK_GENERIC.
    """

    def __init__(self, family: int) -> None:
        """Open the socket, with extended error texts."""
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
        self.socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self.socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self.socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((0, 0))
        self.sequence = itertools.count(1)
        self.lock = threading.Lock()

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def request(self, kind: int, body: bytes, *, dump: bool = False, create: bool = False) -> list[Message]:
        """Send one request and return the messages that answer it; `create` makes it an error if the thing exists.

        Raises:
            NetlinkError: the kernel refused, or broke off a dump.
        """
        flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else NLM_F_ACK) | (NLM_F_CREATE_EXCL if create else 0)
        with self.lock:
            sequence = next(self.sequence)
            self.socket.send(struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body)
            answers: list[Message] = []
            while True:
                for message in messages(self.socket.recv(1 << 17)):
                    if message.sequence != sequence:
                        continue
                    if message.type not in {NLMSG_ERROR, NLMSG_DONE}:
                        answers.append(message)
                        continue
                    number = struct.unpack_from("=i", message.body)[0] if len(message.body) >= 4 else 0
                    if number:
                        raise refusal(-number, message)
                    return answers


class Monitor:
    """A socket in a notification group; the kernel queues what it tells until it is read.

    Args:
        family: NETLINK_ROUTE or NETLINK_GENERIC.
        group: the group's number.
    """

    def __init__(self, family: int, group: int) -> None:
        """Join the group."""
        self.netlink = Netlink(family)
        self.netlink.socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    def close(self) -> None:
        """Leave the group."""
        self.netlink.close()

    def read(self, timeout: float) -> list[Message]:
        """Return what came since the last call; if that is nothing, wait up to `timeout` seconds.

        Raises:
            OSError: ENOBUFS, some were lost.
        """
        source = self.netlink.socket
        found: list[Message] = []
        while select.select([source], [], [], 0 if found else timeout)[0]:
            found.extend(messages(source.recv(1 << 17)))
        return found


_shared: dict[int, Netlink] = {}
_shared_lock = threading.Lock()


def shared(family: int) -> Netlink:
    """Return the agent's own socket of `family`, opened once."""
    with _shared_lock:
        if family not in _shared:
            _shared[family] = Netlink(family)
        return _shared[family]


class Family:
    """A generic netlink family, looked up by name at first use.

    Args:
        name: as ``netdev``.
    """

    def __init__(self, name: str) -> None:
        """Name it; the kernel is asked later."""
        self.name = name
        self.number = 0
        self.groups: dict[str, int] = {}

    def resolve(self) -> int:
        """Return the family's number.

        Raises:
            NetlinkError: ENOENT, this kernel has no such family.
        """
        if not self.number:
            body = struct.pack("=BBxx", CTRL_CMD_GETFAMILY, 1) + FAMILY.encode({"family-name": self.name})
            answer = shared(NETLINK_GENERIC).request(GENL_ID_CTRL, body)[0]
            found = FAMILY.decode(answer.body[4:])
            self.groups = {
                group["name"]: group["id"]
                for group in (GROUP.decode(data) for _, data in walk(bytes.fromhex(found.get("groups", ""))))
            }
            self.number = found["family-id"]
        return self.number

    def call(
        self,
        command: int,
        attributes: bytes,
        reply: Attributes,
        *,
        dump: bool = False,
        through: Netlink | None = None,
    ) -> list[dict[str, Any]]:
        """Send `command`, on the socket `through` or the agent's own, and return the decoded answers.

        Raises:
            NetlinkError: the kernel refused.
        """
        body = struct.pack("=BBxx", command, 1) + attributes
        answers = (through or shared(NETLINK_GENERIC)).request(self.resolve(), body, dump=dump)
        return [reply.decode(answer.body[4:]) for answer in answers]


FAMILY = Attributes({1: ("family-id", U16), 2: ("family-name", STRING), 3: ("version", U32), 7: ("groups", HEX)})
GROUP = Attributes({1: ("name", STRING), 2: ("id", U32)})
