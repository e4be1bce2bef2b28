# SPDX-License-Identifier: GPL-2.0-or-later
"""The testbed of a run: versions and hashes of all that a verdict depends on, for the journal."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

from plugfest import __version__
from plugfest.errors import InfrastructureError
from plugfest.location import conformance_root, recipes_root
from plugfest.run.plan import HardwarePlan, RunPlan

_OF_DEVICE = (
    "ifname",
    "driver",
    "driver-version",
    "firmware",
    "bus-address",
    "pci-id",
    "subsystem-id",
    "out-of-tree",
)
"""What is written down of the device of a real machine; its hardware address is not."""

CONFIG = "kernel.config"
"""The file in a run's output folder with the configuration of its kernel."""


def describe(plan: RunPlan) -> dict[str, object]:
    """Return the versions and hashes (SHA-256) of the runner's side; what the guest has is in the journal's ``boot`` events.

    Args:
        plan: of the run.

    Raises:
        InfrastructureError: a file of the cache or of the installation is missing.
    """
    kernel = plan.kernel
    try:
        return {
            "qemu": {"version": plan.toolchain.version, "digest": plan.toolchain.digest},
            "kernel": {
                "sha256": file_sha256(kernel.image),
                "digest": kernel.digest,
                "config": None if kernel.config is None else file_sha256(kernel.config),
            },
            "root": {"digest": plan.root.digest, "packages": json.loads(plan.root.packages.read_text())},
            "modules": {path.name: file_sha256(path) for path in plan.extra_modules},
            "suite": _suite(),
        }
    except OSError as error:
        raise InfrastructureError(
            f"{error.filename}: expected a file of the testbed, found: {error.strerror}; reinstall plugfest, or run plugfest cache verify"
        ) from error


def of_hardware(plan: HardwarePlan) -> dict[str, object]:
    """Return the same of a run on a real machine; what its kernel's files are nobody here knows.

    Raises:
        InfrastructureError: a file of the installation is missing.
    """
    machine = {name: plan.device[name] for name in _OF_DEVICE}
    return {"machine": {**machine, "dut": plan.dut, "remote": plan.remote}, "modules": {}, "suite": _suite()}


def _suite() -> dict[str, str]:
    return {
        "version": __version__,
        "conformance": tree_sha256(conformance_root()),
        "plugfest": tree_sha256(_package("plugfest")),
        "nicmodels": tree_sha256(_package("nicmodels")),
        "guest-images": tree_sha256(recipes_root()),
    }


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_sha256(folder: Path) -> str:
    """Return one SHA-256 of a folder's files, but those that Python made or that are hidden.

    It is that of the lines which ``sha256sum`` prints for the files, in the order of their paths within the folder.
    """
    files = {
        str(path.relative_to(folder)): path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(folder).parts)
    }
    lines = (f"{file_sha256(files[name])}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _package(name: str) -> Path:
    """Return the folder of a package, which need not be imported: nicmodels must not."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise InfrastructureError(f"expected the package {name}, found none; reinstall plugfest")
    return Path(next(iter(found.submodule_search_locations)))
