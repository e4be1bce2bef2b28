# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent itself. Methods ``agent.*``."""

from __future__ import annotations

import os
from typing import Any

from agent import methods
from agent.methods import exposed


@exposed
def ping() -> dict[str, int]:
    """Return the agent's process id."""
    return {"pid": os.getpid()}


@exposed
def batch(calls: list[dict[str, Any]], timeout: float = 0, carry_on: bool = False) -> list[dict[str, Any]]:  # noqa: ARG001
    """Carry out calls, each a method and its params, in order; returns the reply of each, result or error.

    After an error the rest is carried out only with `carry_on`. Only the caller reads `timeout`: the sum of the calls' own.
    """
    replies = []
    for each in calls:
        replies.append(methods.carry_out(each["method"], each.get("params") or {}))
        if "error" in replies[-1] and not carry_on:
            break
    return replies


@exposed
def list_methods() -> list[dict[str, str]]:
    """Return all methods, sorted by name: method, parameters, and text (the first paragraph of the docstring)."""
    import inspect  # noqa: PLC0415 - with all that it imports, a quarter of a second in an emulated guest, for this call alone

    return [
        {
            "method": name,
            "parameters": str(inspect.signature(function)),
            "text": (inspect.getdoc(function) or "").partition("\n\n")[0],
        }
        for name, function in sorted(methods.load_all().items())
    ]
