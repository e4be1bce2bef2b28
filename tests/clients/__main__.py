# SPDX-License-Identifier: GPL-2.0-or-later
"""``python tests/clients``: drivers of another origin than Linux on the models, each in a guest. What follows goes to pytest.

It fetches and builds what is missing, then runs pytest in namespaces of its own, as ``plugfest run`` does.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from client_plan import INSIDE, client_plan
from plugfest.errors import PlugfestError
from plugfest.run import sandbox


def main(arguments: list[str]) -> int:
    """Return pytest's exit status."""
    with tempfile.TemporaryDirectory(prefix="clients-") as folder:
        try:
            client_plan(Path(folder))
            return sandbox.enter(
                [sys.executable, "-m", "pytest", "-m", "clients", str(Path(__file__).parent), *arguments],
                folder=Path(folder) / "run",
                environment={**os.environ, INSIDE: str(Path(folder) / "run")},
            ).status
        except PlugfestError as error:
            sys.stderr.write(f"clients: {error}\n")
            return error.exit_status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
