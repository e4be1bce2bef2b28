# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink sockets: requests with acknowledgements and the kernel's extended error text, and notifications.

Source: include/uapi/linux/netlink.h; Documentation/userspace-api/netlink/intro.rst.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import struct
import threading
from typing import TYPE_CHECKING, NamedTuple

from agent.netlink.attributes import U32, String, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

NETLINK_ROUTE = 0
NETLINK_GENERIC = 16
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_ACK_TLVS = 0x200
NLM_F_DUMP = 0x300
NLM_F_CREATE_EXCL = 0x600
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLMSGERR_ATTR_MSG = 1
NLMSGERR_ATTR_OFFS = 2
NLMSG_HEADER = 16
"""Bytes of struct nlmsghdr."""


class NetlinkError(OSError):
    """The kernel refused a request.

    Attributes:
        errno: the positive error number.
        extack: the text of the extended acknowledgement, empty where there is none.
        offset: of the offending attribute in the request, in bytes; None where the kernel named none.
    """

    def __init__(self, number: int, extack: str, offset: int | None = None) -> None:
        """Compose the message."""
        where = "" if offset is None else f"attribute at byte {offset} of the request"
        super().__init__(number, ": ".join(filter(None, (os.strerror(number), extack, where))))
        self.extack = extack
        self.offset = offset


class Message(NamedTuple):
    """A message.

    Attributes:
        type: nlmsg_type.
        flags: nlmsg_flags.
        sequence: nlmsg_seq.
        body: the payload after the header.
    """

    type: int
    flags: int
    sequence: int
    body: bytes


def messages(datagram: bytes) -> Iterator[Message]:
    """Yield the messages of a datagram."""
    at = 0
    while at + NLMSG_HEADER <= len(datagram):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", datagram, at)
        if length < NLMSG_HEADER:
            return
        yield Message(kind, flags, sequence, datagram[at + NLMSG_HEADER : at + length])
        at += length + 3 & ~3


def extended_ack(message: Message) -> dict[int, bytes]:
    """Return the extended acknowledgement in an NLMSG_ERROR or NLMSG_DONE by NLMSGERR_ATTR_*; empty where there is none."""
    if not message.flags & NLM_F_ACK_TLVS:
        return {}
    # With NETLINK_CAP_ACK the kernel returns only the header of the request, after the error number.
    at = 4 if message.type == NLMSG_DONE else 4 + NLMSG_HEADER
    return dict(walk(message.body[at:]))


def error_of(number: int, message: Message) -> NetlinkError:
    """Return the error that an NLMSG_ERROR or NLMSG_DONE reports, with its positive error number."""
    extack = extended_ack(message)
    offset = extack.get(NLMSGERR_ATTR_OFFS)
    text = String().decode(extack.get(NLMSGERR_ATTR_MSG, b""))
    return NetlinkError(number, text, None if offset is None else U32.decode(offset))


class Netlink:
    """A netlink socket; requests from several threads are serialized.

    Args:
        family: NETLINK_ROUTE or NETLINK_GENERIC.
    """

    def __init__(self, family: int) -> None:
        """Open the socket, with extended acknowledgements."""
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
        """Send a request and return the replies; with `create` the object must not exist yet.

        Raises:
            NetlinkError: the kernel refused the request or aborted the dump.
        """
        flags = NLM_F_REQUEST | (NLM_F_DUMP if dump else NLM_F_ACK) | (NLM_F_CREATE_EXCL if create else 0)
        with self.lock:
            sequence = next(self.sequence)
            self.socket.send(struct.pack("=IHHII", NLMSG_HEADER + len(body), kind, flags, sequence, 0) + body)
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
                        raise error_of(-number, message)
                    return answers


class Monitor:
    """A socket in a multicast group; the kernel queues notifications until they are read.

    Args:
        family: NETLINK_ROUTE or NETLINK_GENERIC.
        group: number of the group.
    """

    def __init__(self, family: int, group: int) -> None:
        """Join the group."""
        self.netlink = Netlink(family)
        self.netlink.socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    def close(self) -> None:
        """Leave the group."""
        self.netlink.close()

    def read(self, timeout: float) -> list[Message]:
        """Return the notifications since the last call; where there are none, wait up to `timeout` seconds for the first.

        Raises:
            OSError: ENOBUFS, notifications were lost.
        """
        source = self.netlink.socket
        found: list[Message] = []
        while select.select([source], [], [], 0 if found else timeout)[0]:
            found.extend(messages(source.recv(1 << 17)))
        return found


_shared: dict[int, Netlink] = {}
_shared_lock = threading.Lock()


def shared(family: int) -> Netlink:
    """Return the socket of `family` that all requests share; open it first where it is not."""
    with _shared_lock:
        if family not in _shared:
            _shared[family] = Netlink(family)
        return _shared[family]


def forget() -> None:
    """Close the sockets that requests share: they belong to the network namespace in which they were opened."""
    with _shared_lock:
        for each in _shared.values():
            each.close()
        _shared.clear()
