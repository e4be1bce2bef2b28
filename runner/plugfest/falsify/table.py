# SPDX-License-Identifier: GPL-2.0-or-later
"""Every falsification there is, by its name."""

from __future__ import annotations

from plugfest.falsify import af_xdp, clocks, counters, queues, settings, wire, xdp
from plugfest.falsify.falsification import Falsification

TABLE: dict[str, Falsification] = {
    row.name: row
    for rows in (
        settings.ROWS,
        counters.ROWS,
        clocks.ROWS,
        queues.ROWS,
        xdp.ROWS,
        af_xdp.ROWS,
        wire.ROWS,
    )
    for row in rows
}
