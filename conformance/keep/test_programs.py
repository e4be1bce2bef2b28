# SPDX-License-Identifier: GPL-2.0-or-later
"""XDP programs and AF_XDP sockets over each operation."""

from __future__ import annotations

from plugfest.requirements.requirement import requirement

ATTACH = "include/uapi/linux/if_link.h, XDP_FLAGS_MODES: a program stays attached until it is detached"
SOCKET = "Documentation/networking/af_xdp.rst; include/uapi/linux/if_xdp.h, XDP_ZEROCOPY"


@requirement(
    "KEEP-XDP-01",
    level="MUST",
    source=ATTACH,
    falsified_by="rx.frame.dropped",
    keeps="XDP program",
    fault_from_step=2,
)
def test_native_program(trial, operation, step):
    """After each operation a native XDP program runs for each frame."""
    with step("Attach a program that passes all: it sees each frame, and each reaches the stack"):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("It is attached, it sees each frame, and each reaches the stack"):
        trial.check()


@requirement(
    "KEEP-XDPFRAGS-01",
    level="MUST",
    source=ATTACH,
    falsified_by="rx.frame.dropped",
    keeps="XDP program with fragments",
    fault_from_step=2,
)
def test_fragments_program(trial, operation, step):
    """After each operation a native XDP program runs for each frame, also those in several buffers."""
    with step(
        "Raise the MTU to 9000, and attach a program that passes all: it sees each frame, and each reaches the stack"
    ):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("It is attached, it sees each frame, and each reaches the stack"):
        trial.check()


@requirement(
    "KEEP-XSK-01",
    level="MUST",
    source=SOCKET,
    falsified_by=("rx.frame.dropped", "tx.frame.dropped"),
    keeps="AF_XDP socket",
    fault_from_step=2,
)
def test_zero_copy_sockets(trial, operation, step):
    """After each operation zero-copy AF_XDP sockets receive and send."""
    with step(
        "Bind a zero-copy socket to each receive queue: they receive the frames that a program redirects, and send"
    ):
        trial.set()
    with step(f"Perform the operation: {operation}"):
        trial.perform()
    with step("The sockets are bound in the same mode, and receive and send as before"):
        trial.check()
