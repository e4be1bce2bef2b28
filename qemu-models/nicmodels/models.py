# SPDX-License-Identifier: MIT
"""The registry of models: every sub-package of `nicmodels` with a `create(host, options) -> Device`.

A model package has `DESCRIPTION` (one line), `PROFILES` (name to one line, may be empty) and `create`.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import nicmodels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nicmodels.device import Device, Host, Options


class UnknownModelError(LookupError):
    """No sub-package of that name is a model."""


@dataclass(frozen=True)
class Model:
    """A model as its package declares it.

    Attributes:
        name: of the package.
        description: one line.
        profiles: variant name to one line.
        create: makes a device; raises ValueError for options it cannot do.
    """

    name: str
    description: str
    profiles: Mapping[str, str]
    create: Callable[[Host, Options], Device]


def models() -> dict[str, Model]:
    """All models, by name."""
    found = {}
    for info in pkgutil.iter_modules(nicmodels.__path__):
        if info.ispkg:
            package = importlib.import_module(f"nicmodels.{info.name}")
            create = getattr(package, "create", None)
            if create is not None:
                description = getattr(package, "DESCRIPTION", "")
                found[info.name] = Model(info.name, description, getattr(package, "PROFILES", {}), create)
    return found


def find(name: str) -> Model:
    """The model of that name.

    Raises:
        UnknownModelError: there is none.
    """
    known = models()
    if name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise UnknownModelError(f"unknown model {name!r}; there are: {names}")
    return known[name]
