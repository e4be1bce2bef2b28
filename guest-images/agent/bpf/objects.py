# SPDX-License-Identifier: GPL-2.0-or-later
"""The bpf(2) system call and the kernel's objects behind file descriptors: programs, maps, links.

Source: include/uapi/linux/bpf.h (union bpf_attr).
"""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import suppress
from pathlib import Path

from agent.system.libc import checked, libc

SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
"""The number of bpf(2)."""
BPF_MAP_LOOKUP_ELEM = 1
BPF_MAP_UPDATE_ELEM = 2
BPF_MAP_DELETE_ELEM = 3
BPF_PROG_LOAD = 5
BPF_OBJ_GET = 7
BPF_PROG_GET_NEXT_ID = 11
BPF_OBJ_GET_INFO_BY_FD = 15
BPF_MAP_LOOKUP_BATCH, BPF_MAP_UPDATE_BATCH = 24, 26
BPF_LINK_CREATE = 28
ARRAY_TYPES = {2: "array", 6: "percpu_array"}
SLOT_TYPES = {14: "devmap", 16: "cpumap", 17: "xskmap"}
"""Maps of references, whose keys are 32-bit numbers below the number of entries and whose slots may be empty."""
BPF_F_RDONLY_PROG = 1 << 7
"""Flag of an array that its program only reads, as .rodata: libbpf wrote what is in it. The kernel sets it for each devmap."""
PER_CPU_TYPES = {5: "percpu_hash", 6: "percpu_array", 10: "lru_percpu_hash"}
ATTR_SIZE = 128
"""Bytes of union bpf_attr that are passed; the kernel takes zeros behind those that it knows."""


def system_call(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    """Call bpf(2), which may write to the attributes; return its result.

    Raises:
        OSError: with the kernel's errno.
    """
    return checked(libc.syscall(SYSCALL[os.uname().machine], command, attributes, len(attributes)))


def call(command: int, attributes: bytes) -> int:
    """Call bpf(2) with attributes that it only reads; return its result.

    Raises:
        OSError: with the kernel's errno.
    """
    return system_call(command, ctypes.create_string_buffer(attributes, ATTR_SIZE))


def information(fd: int, size: int = 256) -> bytes:
    """Return struct bpf_prog_info or bpf_map_info of a descriptor."""
    buffer = ctypes.create_string_buffer(size)
    call(BPF_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, size, ctypes.addressof(buffer)))
    return buffer.raw


def possible_cpus() -> int:
    """Return the number of values of a per-CPU element: one for each possible CPU, online or not."""
    ranges = Path("/sys/devices/system/cpu/possible").read_text().strip().split(",")
    return int(ranges[-1].rpartition("-")[2]) + 1


def pinned(path: Path) -> int:
    """Return a descriptor of the object that is pinned at `path`."""
    name = ctypes.create_string_buffer(str(path).encode())
    return call(BPF_OBJ_GET, struct.pack("=QII", ctypes.addressof(name), 0, 0))


def program_ids() -> list[int]:
    """Return the ids of all programs in the kernel."""
    found: list[int] = []
    attributes = ctypes.create_string_buffer(ATTR_SIZE)
    last = 0
    with suppress(FileNotFoundError):
        while True:
            struct.pack_into("=II", attributes, 0, last, 0)
            system_call(BPF_PROG_GET_NEXT_ID, attributes)
            last = struct.unpack_from("=I", attributes, 4)[0]
            found.append(last)
    return found


class Program:
    """A loaded program.

    Args:
        fd: its descriptor, which this object closes.
    """

    def __init__(self, fd: int) -> None:
        """Own the descriptor."""
        self.fd = fd

    def same(self) -> Program:
        """Return the same program behind a descriptor of its own."""
        return Program(os.dup(self.fd))

    def close(self) -> None:
        """Drop this reference; an attached program stays attached."""
        os.close(self.fd)

    @property
    def id(self) -> int:
        """The kernel's id of the program."""
        return int(struct.unpack_from("=II", information(self.fd))[1])


class Link:
    """A BPF link: the program is attached as long as this is open.

    Args:
        fd: its descriptor, which this object closes.
    """

    def __init__(self, fd: int) -> None:
        """Own the descriptor."""
        self.fd = fd

    def close(self) -> None:
        """Detach the program."""
        os.close(self.fd)


class Map:
    """A map; its sizes come from the kernel.

    Args:
        fd: its descriptor, which this object closes.

    Attributes:
        clearable: whether `clear` makes it as it was after loading.
    """

    def __init__(self, fd: int) -> None:
        """Own the descriptor."""
        self.fd = fd
        found = struct.unpack_from("=6I16s", information(fd))
        self.type, self.id, self.key_size, self.value_size, self.entries, flags, name = found
        # libbpf names a section's map by the object's name and the section's.
        initial = flags & BPF_F_RDONLY_PROG or b".data" in name
        self.clearable = self.type in SLOT_TYPES or (self.type in ARRAY_TYPES and not initial)
        self.copies = possible_cpus() if self.type in PER_CPU_TYPES else 1
        self.stride = (self.value_size + 7) & ~7 if self.type in PER_CPU_TYPES else self.value_size

    def close(self) -> None:
        """Drop this reference."""
        os.close(self.fd)

    def same(self) -> Map:
        """Return the same map behind a descriptor of its own."""
        return Map(os.dup(self.fd))

    def element(self, command: int, key: bytes, value: ctypes.Array[ctypes.c_char] | None) -> None:
        """Call an element command with pointers to `key` and `value`."""
        if len(key) != self.key_size:
            raise ValueError(f"the key has {len(key)} bytes, keys of this map have {self.key_size}")
        key_buffer = ctypes.create_string_buffer(key, len(key))
        pointers = (ctypes.addressof(key_buffer), 0 if value is None else ctypes.addressof(value))
        call(command, struct.pack("=IIQQQ", self.fd, 0, *pointers, 0))

    def batch(self, command: int, keys: bytes, values: ctypes.Array[ctypes.c_char], count: int) -> None:
        """Call a command that takes or fills `count` elements of an array map at once, in the order of their keys."""
        key_buffer = ctypes.create_string_buffer(keys, count * self.key_size)
        last = ctypes.create_string_buffer(self.key_size)
        pointers = (0, *(ctypes.addressof(each) for each in (last, key_buffer, values)))
        attributes = struct.pack("=QQQQIIQQ", *pointers, count, self.fd, 0, 0)
        system_call(command, ctypes.create_string_buffer(attributes, ATTR_SIZE))

    def update(self, key: bytes, value: bytes) -> None:
        """Set the value, on every CPU for per-CPU maps."""
        if len(value) != self.value_size:
            raise ValueError(f"the value has {len(value)} bytes, values of this map have {self.value_size}")
        whole = value.ljust(self.stride, b"\0") * self.copies
        self.element(BPF_MAP_UPDATE_ELEM, key, ctypes.create_string_buffer(whole, len(whole)))

    def counters(self, count: int) -> list[list[int]]:
        """Return the first `count` elements of an array map whose values consist of 64-bit counters, summed over the CPUs.

        One system call reads them all: a call for each element takes an emulated guest a tenth of a second.
        """
        values = ctypes.create_string_buffer(count * self.stride * self.copies)
        self.batch(BPF_MAP_LOOKUP_BATCH, b"", values, count)
        numbers = struct.unpack(f"={len(values) // 8}Q", values.raw)
        words, element = self.stride // 8, self.stride // 8 * self.copies
        return [
            [sum(numbers[at + word : at + element : words]) for word in range(words)]
            for at in range(0, len(numbers), element)
        ]

    def clear(self) -> None:
        """Set every element of an array map to zero, on every CPU; empty a devmap, cpumap or xskmap.

        Raises:
            ValueError: the map is of another type, or has contents from its program's object.
        """
        if not self.clearable:
            raise ValueError(
                f"expected an array, a per-CPU array, a devmap, a cpumap or an xskmap that starts empty, found map {self.id} of "
                f"type {self.type}: load its program with keep=False"
            )
        keys = struct.pack(f"={self.entries}I", *range(self.entries))
        if self.type in ARRAY_TYPES:
            zeros = ctypes.create_string_buffer(self.entries * self.stride * self.copies)
            self.batch(BPF_MAP_UPDATE_BATCH, keys, zeros, self.entries)
            return
        for at in range(0, len(keys), self.key_size):
            self.element(BPF_MAP_DELETE_ELEM, keys[at : at + self.key_size], None)
