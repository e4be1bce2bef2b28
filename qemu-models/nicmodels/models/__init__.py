# SPDX-License-Identifier: MIT
"""The NIC models, a sub-package each, and their registry."""
