# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the function that a request names."""

from __future__ import annotations

import importlib
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

MODULES = (
    "af_xdp",
    "agent_info",
    "bpf",
    "confinement",
    "devmem",
    "devmem_tx",
    "ethtool",
    "features",
    "files",
    "flow_rules",
    "handle",
    "link",
    "membership",
    "netdev",
    "packet",
    "phc",
    "process",
    "readers",
    "system",
    "tcp",
    "trace",
    "udmabuf",
    "udp",
    "worker",
    "xsk",
    "zcrx",
)
"""The modules whose exposed functions can be called; `agent_info` answers as ``agent``."""

Function = TypeVar("Function", bound="Callable[..., Any]")


class UnknownMethodError(LookupError):
    """The request names no method of this agent."""


def exposed(function: Function) -> Function:
    """Mark a function as callable from the host; its parameters are the method's."""
    function.exposed = True  # type: ignore[attr-defined]
    return function


def find(method: str) -> Callable[..., Any]:
    """Return the function behind ``module.function``.

    Raises:
        UnknownMethodError: there is none.
    """
    module_name, _, function_name = method.partition(".")
    if module_name == "agent":
        module_name = "agent_info"
    if module_name in MODULES:
        module = importlib.import_module(f"agent.{module_name}")
        function = getattr(module, function_name, None)
        if getattr(function, "exposed", False):
            return function  # type: ignore[no-any-return]
    raise UnknownMethodError(f"no method {method!r}; agent.list_methods lists what there is")


def every() -> dict[str, Callable[..., Any]]:
    """Return all methods by name; imports every module."""
    found: dict[str, Callable[..., Any]] = {}
    for module_name in MODULES:
        module = importlib.import_module(f"agent.{module_name}")
        prefix = "agent" if module_name == "agent_info" else module_name
        for name, function in vars(module).items():
            if isinstance(function, FunctionType) and getattr(function, "exposed", False):
                found[f"{prefix}.{name}"] = function
    return found
