# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the suite and the guest's recipes are: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from plugfest.errors import InfrastructureError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent


def conformance_root() -> Path:
    """Return the folder of the suite.

    Raises:
        InfrastructureError: the installation is incomplete.
    """
    return _find("conformance")


def recipes_root() -> Path:
    """Return the folder of the guest's recipes: init, agent, BPF programs, package lists.

    Raises:
        InfrastructureError: the installation is incomplete.
    """
    return _find("guest-images")


def _find(name: str) -> Path:
    # The checkout comes first only where this file lies in one: a stray folder of that name above site-packages is not ours.
    candidates = [_PACKAGE / name]
    if (_CHECKOUT / "pyproject.toml").is_file() and _PACKAGE.parent.name == "runner":
        candidates.insert(0, _CHECKOUT / name)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise InfrastructureError(f"expected {name}/ at {candidates[0]}, found nothing; reinstall plugfest")
