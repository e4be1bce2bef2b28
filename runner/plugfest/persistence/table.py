# SPDX-License-Identifier: GPL-2.0-or-later
"""Every setting, and with which operations it is paired."""

from __future__ import annotations

from collections.abc import Iterator

from plugfest.persistence import addresses, offloads, programs, sizes, spreading
from plugfest.persistence.operation import OPERATIONS, Operation
from plugfest.persistence.setting import Setting

SETTINGS: dict[str, type[Setting]] = {
    row.name: row
    for row in (
        addresses.VlanFilter,
        addresses.UnicastList,
        addresses.MulticastList,
        addresses.Promiscuous,
        addresses.AllMulticast,
        addresses.HardwareAddress,
        offloads.VlanStripping,
        offloads.VlanInsertion,
        sizes.Mtu,
        spreading.RssTable,
        spreading.RssKey,
        spreading.HashFields,
        spreading.NtupleRule,
        offloads.ReceiveChecksum,
        offloads.Segmentation,
        offloads.Coalescing,
        sizes.RingSizes,
        spreading.Channels,
        spreading.Xps,
        sizes.InterruptDelay,
        sizes.PauseFrames,
        sizes.PrivateFlag,
        sizes.WakeOnLan,
        offloads.TimestampFilter,
        programs.NativeProgram,
        programs.FragmentsProgram,
        programs.ZeroCopySockets,
    )
}
"""By name."""


def pairs(setting: str) -> Iterator[tuple[Operation, bool]]:
    """Yield the operations that a setting is tried with, and whether the pair is for ``--slow`` alone."""
    for operation in OPERATIONS.values():
        if operation.name not in SETTINGS[setting].own:
            yield operation, operation.by_default is not None and setting not in operation.by_default
