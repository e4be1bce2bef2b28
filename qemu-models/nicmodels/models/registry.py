# SPDX-License-Identifier: MIT
"""The registry of models: every sub-package of `nicmodels.models` with a `create(host, options) -> Device`.

A model package has `DESCRIPTION` (one line), `PROFILES` (name to one line, may be empty), `DEFAULT_PROFILE` (a name, if
there are profiles) and `create`; and a module `fault_points` whose `ALL` are its fault points, if it has any.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import nicmodels.models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nicmodels.faults.points import FaultPoint
    from nicmodels.nic.device import Device, Host, Options


class UnknownModelError(LookupError):
    """No sub-package of that name is a model."""


@dataclass(frozen=True)
class Model:
    """A model as its package declares it.

    Attributes:
        name: of the package.
        description: one line.
        profiles: variant name to one line.
        default_profile: the one used if the options name none; None without profiles.
        faults: its fault points.
        create: makes a device; raises ValueError for options that it does not support.
    """

    name: str
    description: str
    profiles: Mapping[str, str]
    default_profile: str | None
    faults: tuple[FaultPoint, ...]
    create: Callable[[Host, Options], Device]


def models() -> dict[str, Model]:
    """All models, by name."""
    found = {}
    for info in pkgutil.iter_modules(nicmodels.models.__path__):
        if info.ispkg:
            package = importlib.import_module(f"nicmodels.models.{info.name}")
            create = getattr(package, "create", None)
            if create is not None:
                found[info.name] = Model(
                    info.name,
                    getattr(package, "DESCRIPTION", ""),
                    getattr(package, "PROFILES", {}),
                    getattr(package, "DEFAULT_PROFILE", None),
                    _faults(package.__name__),
                    create,
                )
    return found


def _faults(package: str) -> tuple[FaultPoint, ...]:
    if importlib.util.find_spec(f"{package}.fault_points") is None:
        return ()
    points: tuple[FaultPoint, ...] = importlib.import_module(f"{package}.fault_points").ALL
    return points


def find(name: str) -> Model:
    """The model of that name.

    Raises:
        UnknownModelError: no model has this name.
    """
    known = models()
    if name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise UnknownModelError(f"unknown model {name!r}; known models: {names}")
    return known[name]
