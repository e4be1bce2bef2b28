# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine of a run: QEMU, the guest in it, the NIC model, the tap and the channels to each."""
