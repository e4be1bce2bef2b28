# SPDX-License-Identifier: GPL-2.0-or-later
"""Puts this folder on the import path, so that all tests of models can import `vfio_client` and `served`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from served import ServedDevice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nicmodels.nic.device import Device, Host
    from nicmodels.wire import Wire

# The machine is shared: the time of an example shows its load.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServedDevice]]:
    """Serve a device during the test: `serve(create, wire=...)`, where `create(host)` returns the device."""
    running: list[ServedDevice] = []

    def start(create: Callable[[Host], Device], wire: Wire | None = None) -> ServedDevice:
        served = ServedDevice(create, tmp_path / f"device{len(running)}.sock", wire)
        running.append(served)
        return served

    yield start
    for served in running:
        served.close()
