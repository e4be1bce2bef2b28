# SPDX-License-Identifier: MIT
"""Declarative register maps, and the register file that holds a device's values."""

from nicmodels.registers.declaration import RC, RO, RW, RWS, W1C, W1S, WO, Access, Decoded, Field, Register
from nicmodels.registers.file import RegisterFile, TraceEntry
from nicmodels.registers.map import RegisterMap, RegisterMapError

__all__ = [
    "RC",
    "RO",
    "RW",
    "RWS",
    "W1C",
    "W1S",
    "WO",
    "Access",
    "Decoded",
    "Field",
    "Register",
    "RegisterFile",
    "RegisterMap",
    "RegisterMapError",
    "TraceEntry",
]
