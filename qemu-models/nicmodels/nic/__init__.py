# SPDX-License-Identifier: MIT
"""What all NIC models are made from: `Device` and its `Host`, `Nic`, its queues' work list, its accounts, flow control."""
