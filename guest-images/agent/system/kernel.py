# SPDX-License-Identifier: GPL-2.0-or-later
"""What the running kernel lacks, whatever the driver.

Source: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

BTF = Path("/sys/kernel/btf/vmlinux")


class KernelLacksError(Exception):
    """The kernel has no such interface; the message says what it lacks and, after a colon, how it shows."""


@cache
def has_name(name: str) -> bool:
    """Return whether a function or type of the kernel has this name, by its BTF; True where the kernel was built without BTF.

    The BTF's strings end with NUL, and each begins behind another's.
    """
    wanted = b"\0" + name.encode() + b"\0"
    try:
        with BTF.open("rb") as file:
            return wanted in file.read()
    except FileNotFoundError:
        return True
