# SPDX-License-Identifier: MIT
"""A network controller, as `model.*` tell of it: who it is, its own account of frames, its queues."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from nicmodels.nic.device import Device, Host, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from nicmodels.rings import DescriptorRing

DEFAULT_MAC = bytes.fromhex("027066000001")


class Account(Protocol):
    """What a device counts for itself, apart from its registers."""

    dma_errors: int

    def describe(self) -> dict[str, Any]:
        """Frames and bytes, by queue."""


def queue_state(ring: DescriptorRing, *, enabled: bool, head: int | None = None) -> dict[str, Any]:
    """A queue as `model.queues` shows it; `head` is the descriptor that it works on, if not the ring's."""
    return {
        "enabled": enabled,
        "size": ring.count,
        "head": ring.head if head is None else head,
        "tail": ring.tail,
    }


class Nic(Device):
    """A device with queues of frames.

    Args:
        variants: the profiles that there are.
        default: which it is where the options name none.

    Attributes:
        variant: the profile's name.
        mac: the station address.

    Raises:
        ValueError: the options ask for a profile or a MAC address that the device cannot have.
    """

    version: ClassVar[str] = "1"

    def __init__(self, host: Host, options: Options, variants: Collection[str], default: str) -> None:
        super().__init__(host)
        self.variant = options.profile or default
        if self.variant not in variants:
            raise ValueError(f"unknown profile {self.variant!r}; there are: {', '.join(variants)}")
        self.mac = options.mac or DEFAULT_MAC
        if len(self.mac) != 6 or self.mac[0] & 1:
            raise ValueError(f"MAC address {self.mac.hex(':')} is not 6 bytes of a unicast address")

    @property
    @abstractmethod
    def account(self) -> Account:
        """The device's own account."""

    @property
    @abstractmethod
    def raised(self) -> Sequence[int]:
        """How often each interrupt vector was signalled."""

    @abstractmethod
    def queues(self) -> dict[str, list[dict[str, Any]]]:
        """The receive ("rx") and transmit ("tx") queues, each as `queue_state` gives it."""

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
        }
