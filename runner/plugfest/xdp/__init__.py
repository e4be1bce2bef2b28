# SPDX-License-Identifier: GPL-2.0-or-later
"""XDP programs, AF_XDP sockets and metadata on the interface under test."""
