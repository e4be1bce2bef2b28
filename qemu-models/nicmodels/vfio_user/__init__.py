# SPDX-License-Identifier: MIT
"""The vfio-user server: messages, guest memory, interrupts. Knows no NIC."""
