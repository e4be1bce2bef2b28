# SPDX-License-Identifier: MIT
"""The NIC models, a sub-package each, and their registry.

The environment variable NICMODELS_PATH names further folders with such packages, separated by colons.
"""

from __future__ import annotations

import os

__path__.extend(filter(None, os.environ.get("NICMODELS_PATH", "").split(os.pathsep)))
