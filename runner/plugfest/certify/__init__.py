# SPDX-License-Identifier: GPL-2.0-or-later
"""Self-certification: the bundle that a vendor signs, and its verification."""
