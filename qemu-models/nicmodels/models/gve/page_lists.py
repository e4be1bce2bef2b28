# SPDX-License-Identifier: MIT
"""Queue page lists: the pages that the driver registers for a queue's buffers.

GQI descriptors hold offsets into the list, DQO descriptors the pages' DMA addresses.

Source: Linux, Documentation/networking/device_drivers/ethernet/google/gve.rst (addressing mode, GQI traffic queues);
drivers/net/ethernet/google/gve/gve_tx_dqo.c (gve_tx_buf_get_addr), gve_buffer_mgmt_dqo.c (gve_alloc_qpl_page_dqo).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nicmodels.models.gve.commands import CommandError, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nicmodels.vfio_user.memory import GuestMemory

RAW = 0xFFFF_FFFF
"""The id of raw addressing."""
PAGE = 4096
MOST_PAGES = 1 << 15
"""Of a list: four times as many as Linux registers for its largest receive ring."""


class PageList:
    """A page list.

    Args:
        pages: DMA addresses.

    Attributes:
        user: the queue that uses it, such as `rx 3`, or None.
    """

    def __init__(self, pages: tuple[int, ...]) -> None:
        self.pages = pages
        self.user: str | None = None
        self._registered = frozenset(pages)

    def holds(self, address: int, length: int) -> bool:
        """Whether a range of DMA addresses is entirely in pages of the list."""
        first, last = address & -PAGE, (address + max(length, 1) - 1) & -PAGE
        return all(page in self._registered for page in range(first, last + PAGE, PAGE))

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """The address and length of each piece of memory in a range of offsets.

        Raises:
            ValueError: the range is not in the list.
        """
        if offset < 0 or offset + length > len(self.pages) * PAGE:
            raise ValueError(f"expected offsets below {len(self.pages) * PAGE:#x}; found {offset:#x}+{length:#x}")
        while length > 0:
            number, within = divmod(offset, PAGE)
            size = min(length, PAGE - within)
            yield self.pages[number] + within, size
            offset += size
            length -= size


class PageLists:
    """All lists, by id.

    Args:
        memory: guest memory.
        limit: maximum number of registered pages in all lists.
    """

    def __init__(self, memory: GuestMemory, limit: int) -> None:
        self._memory = memory
        self._limit = limit
        self._lists: dict[int, PageList] = {}

    def __len__(self) -> int:
        return len(self._lists)

    def reset(self) -> None:
        """Remove all lists."""
        self._lists.clear()

    def register(self, fields: dict[str, int]) -> None:
        """The command register_page_list. A page size of 0 stands for the only one.

        Sources: gve_adminq_register_page_list of Linux (gve_adminq.c) and of FreeBSD (sys/dev/gve/gve_adminq.c) write the size of
        their pages, 4096 bytes; that of DPDK (drivers/net/gve/base/gve_adminq.c), which has pages of 4096 bytes, too, leaves it at 0.

        Raises:
            CommandError: the id is in use, there are too many pages, or their size is wrong.
            DmaError: the addresses are not in guest memory.
        """
        identity, number = fields["page_list"], fields["num_pages"]
        if not self._limit:
            raise CommandError(Status.UNIMPLEMENTED, "no page lists")
        if identity in self._lists:
            raise CommandError(Status.ALREADY_EXISTS, f"page list {identity}")
        if identity == RAW or not number or fields["page_size"] not in (0, PAGE):
            raise CommandError(
                Status.INVALID_ARGUMENT, f"page list {identity:#x} of {number} pages of {fields['page_size']} bytes"
            )
        if number > MOST_PAGES:
            raise CommandError(Status.RESOURCE_EXHAUSTED, f"{number} pages in a list, of at most {MOST_PAGES}")
        if number + sum(len(each.pages) for each in self._lists.values()) > self._limit:
            raise CommandError(Status.RESOURCE_EXHAUSTED, f"more than {self._limit} pages")
        data = self._memory.read(fields["address"], 8 * number)
        self._lists[identity] = PageList(struct.unpack(f">{number}Q", data))

    def unregister(self, identity: int) -> None:
        """The command unregister_page_list.

        Raises:
            CommandError: no such list, or a queue uses it.
        """
        found = self._lists.get(identity)
        if found is None:
            raise CommandError(Status.NOT_FOUND, f"page list {identity}")
        if found.user is not None:
            raise CommandError(Status.FAILED_PRECONDITION, f"page list {identity} is used by queue {found.user}")
        del self._lists[identity]

    def claim(self, identity: int, user: str) -> PageList:
        """Claim a list for a new queue.

        Raises:
            CommandError: no such list, or another queue uses it.
        """
        found = self._lists.get(identity)
        if found is None:
            raise CommandError(Status.NOT_FOUND, f"page list {identity}")
        if found.user is not None:
            raise CommandError(Status.FAILED_PRECONDITION, f"page list {identity} is used by queue {found.user}")
        found.user = user
        return found
