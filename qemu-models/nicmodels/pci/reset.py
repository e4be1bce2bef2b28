# SPDX-License-Identifier: MIT
"""The resets that a PCI function can be given."""

from __future__ import annotations

import enum


class ResetCause(enum.Enum):
    """Why a device is reset."""

    POWER_ON = "power-on"
    """The model has just been created."""
    CLIENT = "client"
    """vfio-user DEVICE_RESET: QEMU realizes the device, or the guest reboots."""
    FLR = "flr"
    """Function-level reset: Device Control bit 15 (PCIe base specification, 6.6.2)."""
    D3HOT = "d3hot"
    """Return from D3hot to D0, where the power management capability has no No_Soft_Reset."""
    DISCONNECT = "disconnect"
    """The client has disconnected; its memory and interrupts are already unmapped."""
