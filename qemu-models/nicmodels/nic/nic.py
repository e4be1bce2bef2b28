# SPDX-License-Identifier: MIT
"""A network controller with the control methods `model.*`: its identity, its frame counts, its queues."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from nicmodels.nic.device import Device, Host, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from nicmodels.nic.account import FrameCounts
    from nicmodels.rings import DescriptorRing

DEFAULT_MAC = bytes.fromhex("027066000001")


def queue_state(ring: DescriptorRing, *, enabled: bool, head: int | None = None) -> dict[str, Any]:
    """A queue's entry in `model.queues`; `head` is the next descriptor to process, by default the ring's head."""
    return {
        "enabled": enabled,
        "size": ring.count,
        "head": ring.head if head is None else head,
        "tail": ring.tail,
    }


class Nic(Device):
    """A device with queues of frames.

    Args:
        variants: the names of the profiles.
        default: the profile if the options name none.

    Attributes:
        variant: the profile's name.
        mac: the station address.

    Raises:
        ValueError: an unknown profile, or an invalid MAC address.
    """

    version: ClassVar[str] = "1"

    def __init__(self, host: Host, options: Options, variants: Collection[str], default: str) -> None:
        super().__init__(host)
        self.variant = options.profile or default
        if self.variant not in variants:
            raise ValueError(f"unknown profile {self.variant!r}; known profiles: {', '.join(variants)}")
        self.mac = options.mac or DEFAULT_MAC
        if len(self.mac) != 6 or self.mac[0] & 1:
            raise ValueError(f"MAC address {self.mac.hex(':')} is not 6 bytes of a unicast address")

    @property
    @abstractmethod
    def account(self) -> FrameCounts:
        """The device's own counts."""

    @property
    @abstractmethod
    def raised(self) -> Sequence[int]:
        """How often each interrupt vector was signalled."""

    @abstractmethod
    def queues(self) -> dict[str, list[dict[str, Any]]]:
        """The receive ("rx") and transmit ("tx") queues, each as returned by `queue_state`."""

    def control_methods(self) -> Mapping[str, Callable[..., Any]]:
        """`model.*`."""
        return {"model.describe": self._describe, "model.counters": self._counters, "model.queues": self.queues}

    def _describe(self) -> dict[str, Any]:
        config = self.config
        return {
            "name": self.name,
            "version": self.version,
            "profile": self.variant,
            "mac": self.mac.hex(":"),
            "pci": {"vendor": config.vendor, "device": config.device, "revision": config.revision},
            "queues": {direction: len(queues) for direction, queues in self.queues().items()},
            "faults": [{"name": point.name, "text": point.text} for point in self.fault_points],
        }

    def _counters(self) -> dict[str, Any]:
        file = self.registers
        return {
            **self.account.describe(),
            "interrupts": list(self.raised),
            "resets": dict(self.resets),
            "unknown": {} if file is None else {f"{offset:#x}": count for offset, count in file.unknown.items()},
            "dma_errors": self.account.dma_errors,
            "violations": dict(self.host.violations.counts),
        }
