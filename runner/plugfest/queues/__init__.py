# SPDX-License-Identifier: GPL-2.0-or-later
"""The netdev queue API: queues, NAPI, memory providers, and what the driver asks of its device."""
