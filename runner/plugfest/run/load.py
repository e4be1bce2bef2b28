# SPDX-License-Identifier: GPL-2.0-or-later
"""``--load``: keeps the host's cores busy, as a compilation beside the run would."""

from __future__ import annotations

import subprocess
import sys

from plugfest.run.capacity import cores


class HostLoad:
    """One process a core that never waits, until it is closed. Started in the run's namespaces it ends with the run in any case."""

    def __init__(self) -> None:
        """Start them."""
        self._processes = [
            subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"], stdin=subprocess.DEVNULL)
            for _ in range(cores())
        ]

    def close(self) -> None:
        """End them. Idempotent."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
