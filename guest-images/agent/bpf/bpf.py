# SPDX-License-Identifier: GPL-2.0-or-later
"""BPF programs and maps. Methods ``bpf.*``.

bpftool loads the objects, with libbpf, as the kernel's developers do. Maps are read by the bare system call, because tests
do it often and a process takes 100 ms in an emulated guest.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any

from agent import handle
from agent.bpf import objects
from agent.bpf.objects import BPF_LINK_CREATE, BPF_PROG_LOAD, Link, Map, Program, call, pinned
from agent.methods import exposed
from agent.system.interface import interface_index
from agent.system.kernel import KernelLacksError, has_name

BPF_PROG_TYPE_XDP = 6
ATTACH_TYPES = {"xdp": 37, "tcx_ingress": 46}
CREATED_BY = {"tcx_ingress": "tcx_link_attach"}
"""The kernel's function behind a type of link that not every kernel has."""
ABSENT_KFUNC = re.compile(r"extern \(func ksym\) '(\w+)': not found in kernel or module BTFs")
"""What libbpf says of a kernel function that a program needs and the kernel's BTF does not have."""
FILE_SYSTEM = Path("/sys/fs/bpf")
FOLDER = "/usr/lib/plugfest/bpf"

_folders = itertools.count(1)


class LoadError(Exception):
    """bpftool did not load the object; the message has its output and the verifier's."""


def pin_folder() -> Path:
    """Return a new folder on the BPF file system; mount that first where it is not."""
    if not FILE_SYSTEM.is_mount():
        subprocess.run(["mount", "-t", "bpf", "bpf", str(FILE_SYSTEM)], check=True)
    folder = FILE_SYSTEM / f"plugfest-{os.getpid()}-{next(_folders)}"
    folder.mkdir()
    return folder


class Loaded:
    """A program and its maps, loaded once and lent to one test after another.

    Attributes:
        program: as it was loaded.
        maps: by name.
        lent: the handles that its last user got.
    """

    def __init__(self, program: Program, maps: dict[str, Map]) -> None:
        """Lend nothing yet."""
        self.program = program
        self.maps = maps
        self.lent: list[int] = []

    @property
    def free(self) -> bool:
        """Whether its last user has closed every handle."""
        return not any(handle.is_open(each) for each in self.lent)

    def lend(self) -> dict[str, Any]:
        """Return new handles of the program and of its maps, which are as after loading."""
        if self.lent:
            for each in self.maps.values():
                each.clear()
        maps = {name: handle.keep(each.same()) for name, each in self.maps.items()}
        program = handle.keep(self.program.same())
        self.lent = [program, *maps.values()]
        return {"program": program, "id": self.program.id, "maps": maps}

    def give(self) -> dict[str, Any]:
        """Return the same, and keep nothing: the last user of a handle frees the program."""
        given = self.lend()
        self.close()
        return given

    def close(self) -> None:
        """Drop the references of the agent's own."""
        self.program.close()
        for each in self.maps.values():
            each.close()


_loaded: dict[tuple[object, ...], list[Loaded]] = {}
_loading = threading.Lock()


@exposed
def load(
    object: str,  # noqa: A002
    type: str | None = "xdp",  # noqa: A002
    device: str | None = None,
    program: str | None = None,
    keep: bool = True,
) -> dict[str, Any]:
    """Return a program from a compiled object: its handle, its id, and the handles of its maps by name.

    The agent keeps what it loads: once the handles are closed, the next request for the same program gets it again, its maps
    cleared. Loading takes bpftool and the verifier half a second in an emulated guest. A program with a map that cannot be made
    as it was (a hash, a ring buffer, .data, .rodata) is not kept.

    Args:
        object: name of one of plugfest's objects (``xdp_pass``), or the path of any.
        type: the program's type as bpftool spells it, or null for the one that its section names.
        device: interface to bind the program to (XDP RX metadata), or null.
        program: name of the C function, where the object holds more than one.
        keep: false loads a program that the agent does not keep: the kernel frees it when its last user closes it.

    Returns:
        ``{"program": 3, "id": 17, "maps": {"count": 4}}``.

    Raises:
        KernelLacksError: the kernel has no such kfunc.
        LoadError: with bpftool's and the verifier's output.
    """
    if not keep:
        return _load(object, type, device, program).give()
    with _loading:
        alike = _loaded.setdefault((object, type, device and interface_index(device), program), [])
        chosen = next((each for each in alike if each.free), None)
        if chosen is None:
            chosen = _load(object, type, device, program)
            if not all(each.clearable for each in chosen.maps.values()):
                return chosen.give()
            alike.append(chosen)
        return chosen.lend()


def _load(name: str, type: str | None, device: str | None, program: str | None) -> Loaded:  # noqa: A002
    path = Path(name) if "/" in name else Path(os.environ.get("PLUGFEST_BPF", FOLDER), f"{name}.o")
    folder = pin_folder()
    maps_folder = folder / "maps"
    maps_folder.mkdir()
    command = ["bpftool", "prog", "loadall" if program else "load", str(path)]
    command += [str(folder / "programs" if program else folder / "program")]
    command += ["type", type] if type else []
    command += ["xdpmeta_dev", device] if device else []
    command += ["pinmaps", str(maps_folder)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            absent = ABSENT_KFUNC.search(result.stderr)
            if absent:
                raise KernelLacksError(f"the kfunc {absent[1]}: {absent[0]}")
            raise LoadError(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
        loaded = Program(pinned(folder / "programs" / program if program else folder / "program"))
        return Loaded(loaded, {pin.name: Map(pinned(pin)) for pin in sorted(maps_folder.iterdir())})
    finally:
        for pin in sorted(folder.rglob("*"), key=lambda each: -len(each.parts)):
            pin.rmdir() if pin.is_dir() else pin.unlink()
        folder.rmdir()


@exposed
def load_return(verdict: int, device: str | None = None) -> dict[str, Any]:
    """Load the smallest XDP program, which only returns `verdict`, without an object file; returns its handle and id.

    Args:
        verdict: of enum xdp_action.
        device: interface whose device runs the program (offload), or null for the host.

    Raises:
        OSError: the kernel or the device's driver refused.
    """
    # mov32 r0, verdict; exit
    instructions = struct.pack("=BBhi", 0xB4, 0, 0, verdict) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"GPL")
    fd = call(
        BPF_PROG_LOAD,
        struct.pack("=IIQQ", BPF_PROG_TYPE_XDP, 2, ctypes.addressof(code), ctypes.addressof(licence))
        + struct.pack("=IIQII16xI", 0, 0, 0, 0, 0, interface_index(device) if device else 0),
    )
    loaded = Program(fd)
    return {"program": handle.keep(loaded), "id": loaded.id}


@exposed
def link_create(program: int, ifname: str, flags: int = 0, type: str = "xdp") -> int:  # noqa: A002
    """Attach an XDP program, or a classifier (type ``tcx_ingress``), by a BPF link; closing the returned handle detaches it.

    Raises:
        KernelLacksError: the kernel has no links of this type.
        OSError: the kernel or the driver refused.
    """
    fd = handle.get(program, Program).fd
    request = struct.pack("=IIII", fd, interface_index(ifname), ATTACH_TYPES[type], flags)
    try:
        return handle.keep(Link(call(BPF_LINK_CREATE, request)))
    except OSError as error:
        function = CREATED_BY.get(type)
        if function is None or has_name(function):
            raise
        raise KernelLacksError(
            f"BPF links of type {type}: BPF_LINK_CREATE returned {error.strerror}, the BTF has no {function}()"
        ) from error


@exposed
def map_counters(map: int, keys: int | None = None) -> list[list[int]]:  # noqa: A002
    """Return an array map whose values consist of 64-bit counters: one list of counters per key, summed over the CPUs.

    Args:
        map: handle of the map; its keys are 32-bit numbers from 0.
        keys: number of keys to read, null for all.
    """
    source = handle.get(map, Map)
    return source.counters(min(source.entries, keys or source.entries))


@exposed
def map_clear(map: int) -> None:  # noqa: A002
    """Set every element of an array map to zero, on every CPU; empty a devmap, cpumap or xskmap."""
    handle.get(map, Map).clear()


@exposed
def map_update(map: int, key: str, value: str) -> None:  # noqa: A002
    """Set the value of `key`; both in hexadecimal digits."""
    handle.get(map, Map).update(bytes.fromhex(key), bytes.fromhex(value))


@exposed
def map_set_program(map: int, key: str, value: str, program: int | None) -> None:  # noqa: A002
    """Set an entry of a CPU or device map: a 32-bit value in hexadecimal digits, and the program that runs there, or null.

    Source: include/uapi/linux/bpf.h, struct bpf_cpumap_val and bpf_devmap_val.
    """
    fd = handle.get(program, Program).fd if program is not None else 0
    handle.get(map, Map).update(bytes.fromhex(key), bytes.fromhex(value) + struct.pack("=I", fd))


@exposed
def program_ids() -> list[int]:
    """Return the ids of all programs in the kernel, so that a test sees whether one was left behind."""
    return objects.program_ids()
