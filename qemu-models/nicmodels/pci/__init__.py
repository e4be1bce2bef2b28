# SPDX-License-Identifier: MIT
"""PCI: configuration space, one class per capability, BARs."""

from nicmodels.pci.bar import Bar, BarKind, MmapArea
from nicmodels.pci.capabilities import (
    Capability,
    Msi,
    MsiX,
    PciExpress,
    PowerManagement,
    VendorSpecific,
    VitalProductData,
)
from nicmodels.pci.config import ConfigSpace
from nicmodels.pci.extended import (
    AdvancedErrorReporting,
    AlternativeRoutingId,
    DeviceSerialNumber,
    ExtendedCapability,
)
from nicmodels.pci.reset import ResetCause

__all__ = [
    "AdvancedErrorReporting",
    "AlternativeRoutingId",
    "Bar",
    "BarKind",
    "Capability",
    "ConfigSpace",
    "DeviceSerialNumber",
    "ExtendedCapability",
    "MmapArea",
    "Msi",
    "MsiX",
    "PciExpress",
    "PowerManagement",
    "ResetCause",
    "VendorSpecific",
    "VitalProductData",
]
