# SPDX-License-Identifier: GPL-2.0-or-later
"""Generic netlink families, resolved by name.

Source: include/uapi/linux/genetlink.h; Documentation/netlink/specs/nlctrl.yaml.
"""

from __future__ import annotations

import struct
from typing import Any

from agent.netlink.attributes import HEX, STRING, U16, U32, Attributes, walk
from agent.netlink.connection import NETLINK_GENERIC, Netlink, shared

GENL_ID_CTRL = 0x10
CTRL_CMD_GETFAMILY = 3

FAMILY = Attributes({1: ("family-id", U16), 2: ("family-name", STRING), 3: ("version", U32), 7: ("mcast-groups", HEX)})
GROUP = Attributes({1: ("name", STRING), 2: ("id", U32)})


class Family:
    """A generic netlink family, resolved at first use.

    Args:
        name: as ``netdev``.
    """

    def __init__(self, name: str) -> None:
        """Resolve nothing yet."""
        self.name = name
        self.number = 0
        self.groups: dict[str, int] = {}

    def resolve(self) -> int:
        """Return the number of the family (nlmsg_type); afterwards `groups` has its multicast groups by name.

        Raises:
            NetlinkError: ENOENT, the kernel has no such family.
        """
        if not self.number:
            body = struct.pack("=BBxx", CTRL_CMD_GETFAMILY, 1) + FAMILY.encode({"family-name": self.name})
            answer = shared(NETLINK_GENERIC).request(GENL_ID_CTRL, body)[0]
            found = FAMILY.decode(answer.body[4:])
            self.groups = {
                group["name"]: group["id"]
                for group in (GROUP.decode(data) for _, data in walk(bytes.fromhex(found.get("mcast-groups", ""))))
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
        """Send a command, on the socket `through` or the shared one, and return the decoded replies.

        Raises:
            NetlinkError: the kernel refused.
        """
        body = struct.pack("=BBxx", command, 1) + attributes
        answers = (through or shared(NETLINK_GENERIC)).request(self.resolve(), body, dump=dump)
        return [reply.decode(answer.body[4:]) for answer in answers]
