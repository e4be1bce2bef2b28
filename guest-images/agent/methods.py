# SPDX-License-Identifier: GPL-2.0-or-later
"""The registry of methods: which module answers a request.

The method ``link.get`` is the function `get` of the module `link`, in whatever folder that module is, if the function
carries the `exposed` decorator. Modules without an exposed function (`system.libc`, `netlink.attributes`) are not listed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

MODULES = (
    "agent",
    "handle",
    "system.files",
    "system.phc",
    "system.sysctl",
    "system.system",
    "system.trace",
    "bpf.bpf",
    "netlink.link",
    "netlink.netdev",
    "ethtool.ethtool",
    "ethtool.features",
    "ethtool.flow_rules",
    "sockets.af_xdp",
    "sockets.membership",
    "sockets.packet",
    "sockets.pieces",
    "sockets.tcp",
    "sockets.udp",
    "sockets.xsk",
    "memory.devmem",
    "memory.devmem_tx",
    "memory.udmabuf",
    "memory.zcrx",
    "process.confinement",
    "process.process",
    "process.readers",
    "process.worker",
)
"""The modules with methods, below the package `agent`; folders in the order in which they may import: lowest first."""

_PATHS = {path.rpartition(".")[2]: f"agent.{path}" for path in MODULES}

Function = TypeVar("Function", bound=Callable[..., Any])


class UnknownMethodError(LookupError):
    """The request names no method of this agent."""


def exposed(function: Function) -> Function:
    """Make a function callable from the host; its parameters are the method's."""
    function.exposed = True  # type: ignore[attr-defined]
    return function


def find(method: str) -> Callable[..., Any]:
    """Return the function behind ``module.function``.

    Raises:
        UnknownMethodError: there is none.
    """
    module_name, _, function_name = method.partition(".")
    if module_name in _PATHS:
        function = getattr(importlib.import_module(_PATHS[module_name]), function_name, None)
        if isinstance(function, FunctionType) and getattr(function, "exposed", False):
            return function
    raise UnknownMethodError(f"no method {method!r}; agent.list_methods lists the methods")


def carry_out(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Call a method; returns the reply without its id; never raises."""
    try:
        return {"result": find(method)(**params)}
    except Exception as error:
        return failure(error)


def failure(error: Exception) -> dict[str, Any]:
    """Return the reply that reports an error; one that is not the kernel's is logged, too."""
    if not isinstance(error, OSError):
        sys.excepthook(type(error), error, error.__traceback__)
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    name = getattr(error, "filename", None)
    return {
        "error": {
            "type": type(error).__name__,
            "message": f"{text}: {name}" if name else text,
            "errno": getattr(error, "errno", None),
        }
    }


def load_all() -> dict[str, Callable[..., Any]]:
    """Import every module with methods and return all methods by name."""
    found: dict[str, Callable[..., Any]] = {}
    for module_name, path in _PATHS.items():
        for name, function in vars(importlib.import_module(path)).items():
            if isinstance(function, FunctionType) and getattr(function, "exposed", False):
                found[f"{module_name}.{name}"] = function
    return found
