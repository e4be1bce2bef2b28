# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory providers: dma-bufs bound to queues and TCP through them (devmem), and io_uring zero-copy receive (zcrx)."""
