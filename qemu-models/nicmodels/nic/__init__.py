# SPDX-License-Identifier: MIT
"""The parts that all NIC models share: `Device` and its `Host`, `Nic`, the queue engine, frame counts, flow control."""
