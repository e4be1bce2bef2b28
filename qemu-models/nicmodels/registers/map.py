# SPDX-License-Identifier: MIT
"""A register map: all registers of a BAR, found by offset or by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nicmodels.registers.declaration import Register


class RegisterMapError(ValueError):
    """Two registers have the same name or address, or an address is not a multiple of four."""


class RegisterMap:
    """The registers of one BAR.

    Args:
        name: of the chip or block.
        registers: their declarations.

    Attributes:
        places: for each dword (`offset >> 2`) the register and index there, or None.
        canonical: for each dword the dword that stores its value: itself, or the instance's own for an alias.

    Raises:
        RegisterMapError: names or addresses collide.
    """

    def __init__(self, name: str, registers: Iterable[Register]) -> None:
        self.name = name
        self._registers: dict[str, Register] = {}
        self._offsets: dict[Register, list[int]] = {}
        places: dict[int, tuple[Register, int]] = {}
        canonical: dict[int, int] = {}
        for register in registers:
            if register.name in self._registers:
                raise RegisterMapError(f"{name}: register {register.name} is declared twice")
            self._registers[register.name] = register
            own = dict(register.places())
            self._offsets[register] = [own[index] for index in range(len(own))]
            for index, offset in (*own.items(), *register.alias_places()):
                if offset % 4 or offset < 0:
                    raise RegisterMapError(f"{name}: {register.name}[{index}] at {offset:#x} is not a dword")
                if offset >> 2 in places:
                    other, at = places[offset >> 2]
                    raise RegisterMapError(
                        f"{name}: {register.name}[{index}] and {other.name}[{at}] are both at {offset:#x}"
                    )
                if index not in own:
                    raise RegisterMapError(f"{name}: {register.name} has an alias of [{index}], which does not exist")
                places[offset >> 2] = (register, index)
                canonical[offset >> 2] = own[index] >> 2
        length = max(places, default=-1) + 1
        self.places = [places.get(slot) for slot in range(length)]
        self.canonical = [canonical.get(slot, slot) for slot in range(length)]

    def __iter__(self) -> Iterator[Register]:
        return iter(self._registers.values())

    def __len__(self) -> int:
        return len(self._registers)

    def __getitem__(self, name: str) -> Register:
        """The register of that name.

        Raises:
            KeyError: no such register.
        """
        try:
            return self._registers[name]
        except KeyError:
            raise KeyError(f"{self.name} has no register {name!r}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._registers

    def offset(self, register: Register, index: int = 0) -> int:
        """The address of an instance.

        Raises:
            KeyError: the register is not in this map.
            IndexError: it has no such instance.
        """
        offsets = self._offsets[register]
        if not 0 <= index < len(offsets):
            raise IndexError(f"{register.name} has {len(offsets)} instances, none with index {index}")
        return offsets[index]

    def find(self, offset: int) -> tuple[Register, int] | None:
        """The register and index that hold the byte at `offset`."""
        slot = offset >> 2
        return self.places[slot] if 0 <= slot < len(self.places) else None

    def inherit(self, name: str, *registers: Register, without: Iterable[str] = ()) -> RegisterMap:
        """A variant of the map: `registers` are added or replace those of the same name; those in `without` are removed."""
        dropped = set(without)
        for each in dropped:
            self[each]  # raises KeyError for an unknown name
        merged = {key: value for key, value in self._registers.items() if key not in dropped}
        merged.update({register.name: register for register in registers})
        return RegisterMap(name, merged.values())
