# SPDX-License-Identifier: MIT
"""nicmodels: NIC models in Python, served to stock QEMU over the vfio-user protocol."""
