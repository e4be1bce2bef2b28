# SPDX-License-Identifier: MIT
"""The account of what the driver lends the device: receive buffers by id, transmit packets by completion tag.

At each moment, for each receive queue, posted = completed + held + returned; and packets = completions + tags +
abandoned for each transmit queue. What does not fit is a violation: counted, and recorded as an event.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nicmodels.events import EventLog

IDS = 1 << 16


@dataclass
class RxAccounting:
    """Buffers of a receive queue since the model started.

    Attributes:
        posted: lent by the driver.
        completed: given back with a completion.
        returned: went back with the queue, when it was destroyed or the device reset.
        held: lent and not given back, of the queue as it is now.
    """

    posted: int = 0
    completed: int = 0
    returned: int = 0

    @property
    def held(self) -> int:
        """What the device has now."""
        return self.posted - self.completed - self.returned


@dataclass
class TxAccounting:
    """Packets of a transmit queue since the model started.

    Attributes:
        packets: handed over by the driver.
        completions: told as done.
        abandoned: went with the queue, when it was destroyed or the device reset.
    """

    packets: int = 0
    completions: int = 0
    abandoned: int = 0

    @property
    def tags(self) -> int:
        """What is outstanding now."""
        return self.packets - self.completions - self.abandoned


class Accounting:
    """The account of a device.

    Args:
        events: gets the violations.
        rx, tx: how many queues there are.

    Attributes:
        rx, tx: the accounts, by queue.
        violations: how often each rule was broken.
    """

    def __init__(self, events: EventLog, rx: int, tx: int) -> None:
        self.rx = [RxAccounting() for _ in range(rx)]
        self.tx = [TxAccounting() for _ in range(tx)]
        self.violations: Counter[str] = Counter()
        self._events = events

    def violation(self, rule: str, **details: Any) -> None:
        """The driver broke a rule; details must be JSON values."""
        self.violations[rule] += 1
        self._events.add("violation", rule=rule, **details)

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
            "violations": dict(self.violations),
        }
