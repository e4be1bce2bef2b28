# SPDX-License-Identifier: GPL-2.0-or-later
"""Netlink: attributes, sockets and generic families; and the families rtnetlink (`link`) and netdev."""
