# SPDX-License-Identifier: MIT
"""Accounting of what the device owns: receive buffers by id, transmit packets by completion tag.

At any time, for each receive queue, posted = completed + held + returned; and for each transmit queue, packets =
completions + tags + abandoned. A driver that breaks the protocol commits a violation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nicmodels.violations import Violations

IDS = 1 << 16


@dataclass
class RxAccounting:
    """Buffers of a receive queue since the model started.

    Attributes:
        posted: posted by the driver.
        completed: returned with a completion.
        returned: returned without one, when the queue was destroyed or the device reset.
        held: owned by the device now.
    """

    posted: int = 0
    completed: int = 0
    returned: int = 0

    @property
    def held(self) -> int:
        """Buffers that the device owns now."""
        return self.posted - self.completed - self.returned


@dataclass
class TxAccounting:
    """Packets of a transmit queue since the model started.

    Attributes:
        packets: posted by the driver.
        completions: completed by the device.
        abandoned: not completed when the queue was destroyed or the device reset.
    """

    packets: int = 0
    completions: int = 0
    abandoned: int = 0

    @property
    def tags(self) -> int:
        """Packets that are outstanding now."""
        return self.packets - self.completions - self.abandoned


class Accounting:
    """The accounting of a device.

    Args:
        violations: of the device.
        rx, tx: number of queues.

    Attributes:
        rx, tx: the accounts, by queue.
    """

    def __init__(self, violations: Violations, rx: int, tx: int) -> None:
        self.rx = [RxAccounting() for _ in range(rx)]
        self.tx = [TxAccounting() for _ in range(tx)]
        self._violations = violations

    def violation(self, rule: str, **details: Any) -> None:
        """Count and record a violation by the driver; details must be JSON values."""
        self._violations.add(rule, **details)

    def describe(self) -> dict[str, Any]:
        """The result of the control method `model.accounting`."""
        return {
            "rx": [
                {"posted": each.posted, "completed": each.completed, "held": each.held, "returned": each.returned}
                for each in self.rx
            ],
            "tx": [
                {
                    "tags": each.tags,
                    "packets": each.packets,
                    "completions": each.completions,
                    "abandoned": each.abandoned,
                }
                for each in self.tx
            ],
            "violations": dict(self._violations.counts),
        }
