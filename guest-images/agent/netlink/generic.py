# SPDX-License-Identifier: GPL-2.0-or-later
"""Generic netlink families, resolved by name.

Source: include/uapi/linux/genetlink.h; Documentation/netlink/specs/nlctrl.yaml.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Any

from agent.netlink.attributes import HEX, STRING, U16, U32, Attributes, walk
from agent.netlink.connection import NETLINK_GENERIC, NLMSG_HEADER, Netlink, NetlinkError, shared
from agent.system.kernel import KernelLacksError, has_name

if TYPE_CHECKING:
    from collections.abc import Mapping

GENL_ID_CTRL = 0x10
CTRL_CMD_GETFAMILY = 3

GENL_HEADER = 4
"""Bytes of struct genlmsghdr."""
UNKNOWN_ATTRIBUTE = "Unknown attribute type"
"""The extended acknowledgement for an attribute that the operation's policy does not have (lib/nlattr.c)."""

FAMILY = Attributes(
    {
        1: ("family-id", U16),
        2: ("family-name", STRING),
        3: ("version", U32),
        6: ("ops", HEX),
        7: ("mcast-groups", HEX),
    }
)
OPERATION = Attributes({1: ("id", U32), 2: ("flags", U32)})
GROUP = Attributes({1: ("name", STRING), 2: ("id", U32)})


class Family:
    """A generic netlink family, resolved at first use.

    Args:
        name: as ``netdev``.
        operations: names of the operations that are called, by number.
        functions: of the kernel, that an operation must have behind it, by its number: each by the names that it has had, the
            present one first. A kernel without one of them is not asked: what it makes of a request is not what the caller means.
    """

    def __init__(
        self,
        name: str,
        operations: Mapping[int, str],
        functions: Mapping[int, tuple[tuple[str, ...], ...]] | None = None,
    ) -> None:
        """Resolve nothing yet."""
        self.name = name
        self.operations = operations
        self.functions = functions or {}
        self.number = 0
        self.groups: dict[str, int] = {}
        self.present: set[int] = set()

    def resolve(self) -> int:
        """Return the number of the family (nlmsg_type).

        Afterwards `groups` has its multicast groups by name, and `present` the numbers of its operations.

        Raises:
            KernelLacksError: the kernel has no such family.
        """
        if not self.number:
            body = struct.pack("=BBxx", CTRL_CMD_GETFAMILY, 1) + FAMILY.encode({"family-name": self.name})
            try:
                answer = shared(NETLINK_GENERIC).request(GENL_ID_CTRL, body)[0]
            except NetlinkError as error:
                if error.errno != errno.ENOENT:
                    raise
                raise KernelLacksError(
                    f"the generic netlink family {self.name}: CTRL_CMD_GETFAMILY returned {error.strerror}"
                ) from error
            found = FAMILY.decode(answer.body[GENL_HEADER:])
            self.groups = {
                group["name"]: group["id"]
                for group in (GROUP.decode(data) for _, data in walk(bytes.fromhex(found.get("mcast-groups", ""))))
            }
            self.present = {OPERATION.decode(data)["id"] for _, data in walk(bytes.fromhex(found.get("ops", "")))}
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
        """Send a command, on the socket `through` or the shared one, and return the decoded replies.

        Args:
            command: number of the operation.
            attributes: of the request.
            reply: the set of the attributes, of the request as of the replies.
            dump: ask for all objects.
            through: another socket than the shared one.

        Raises:
            KernelLacksError: the kernel has no such family, operation, attribute or function.
            NetlinkError: the kernel or the driver refused.
        """
        number = self.resolve()
        operation = f"{self.operations[command]} of the generic netlink family {self.name}"
        if command not in self.present:
            raise KernelLacksError(f"{operation}: the family has the operations {sorted(self.present)}, not {command}")
        absent = [names[0] for names in self.functions.get(command, ()) if not any(map(has_name, names))]
        if absent:
            raise KernelLacksError(f"{' and '.join(absent)}() behind {operation}: the BTF has no such function")
        body = struct.pack("=BBxx", command, 1) + attributes
        try:
            answers = (through or shared(NETLINK_GENERIC)).request(number, body, dump=dump)
        except NetlinkError as error:
            if error.extack != UNKNOWN_ATTRIBUTE or error.offset is None:
                raise
            name = reply.name_at(attributes, error.offset - NLMSG_HEADER - GENL_HEADER)
            raise KernelLacksError(f"the attribute {name} in {operation}: {error.strerror}") from error
        return [reply.decode(answer.body[GENL_HEADER:]) for answer in answers]
