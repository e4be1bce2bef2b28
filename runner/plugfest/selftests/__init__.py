# SPDX-License-Identifier: GPL-2.0-or-later
"""Upstream's tests of NIC drivers, unmodified: ``tools/testing/selftests/drivers/net`` and ``drivers/net/hw``."""
