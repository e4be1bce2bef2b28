# SPDX-License-Identifier: MIT
"""NIC models in Python, served to stock QEMU over the vfio-user protocol.

The layers, bottom up; a module imports only from its own layer and those below:

    clock, events              time, and what happened to a device
    pci                        configuration space, capabilities, BARs
    vfio_user                  messages, guest memory, interrupts; serves any PCI device
    registers, wire            register maps; taps, cables, captures
    rings, offload             descriptor rings; checksums, segmentation, RSS, coalescing
    faults                     where a model misbehaves on request
    phy                        backplane negotiation, training, link partners
    nic                        what all NIC models are made from
    models                     ixgbe, gve, xgbe, and their registry
    server                     the process that serves one model
    new_model, template        the package of a new model
"""
