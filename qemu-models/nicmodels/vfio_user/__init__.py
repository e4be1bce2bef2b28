# SPDX-License-Identifier: MIT
"""The vfio-user server: messages, guest memory, interrupts. It serves any PCI device."""
