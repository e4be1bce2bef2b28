# SPDX-License-Identifier: GPL-2.0-or-later
"""BPF programs and maps. Methods ``bpf.*``.

Objects are loaded by bpftool, which follows the kernel's own loader; what a test does often, reading maps, is the bare
system call, because a process costs 100 ms in an emulated guest. Source: include/uapi/linux/bpf.h (union bpf_attr).
"""

from __future__ import annotations

import ctypes
import itertools
import os
import struct
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent import handle
from agent.methods import exposed
from agent.netlink.attributes import interface_index

SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
BPF_MAP_LOOKUP_ELEM = 1
BPF_MAP_UPDATE_ELEM = 2
BPF_PROG_LOAD = 5
BPF_OBJ_GET = 7
BPF_PROG_GET_NEXT_ID = 11
BPF_OBJ_GET_INFO_BY_FD = 15
BPF_LINK_CREATE = 28
BPF_PROG_TYPE_XDP = 6
ATTACH_TYPES = {"xdp": 37, "tcx_ingress": 46}
PER_CPU_TYPES = {5: "percpu_hash", 6: "percpu_array", 10: "lru_percpu_hash"}
FILE_SYSTEM = Path("/sys/fs/bpf")
FOLDER = "/usr/lib/plugfest/bpf"

_libc = ctypes.CDLL(None, use_errno=True)
_folders = itertools.count(1)


class LoadError(Exception):
    """bpftool did not load the object; the message is its output, with the verifier's."""


def call(command: int, attributes: bytes) -> int:
    """Make the bpf system call and return what it returned.

    Raises:
        OSError: with the kernel's errno.
    """
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result: int = _libc.syscall(SYSCALL[os.uname().machine], command, buffer, 128)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def information(fd: int, size: int = 256) -> bytes:
    """Return struct bpf_prog_info or bpf_map_info of a descriptor."""
    buffer = ctypes.create_string_buffer(size)
    call(BPF_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, size, ctypes.addressof(buffer)))
    return buffer.raw


def possible_cpus() -> int:
    """Return how many values a per-CPU element has: the CPUs that could ever be, not those that are on line."""
    ranges = Path("/sys/devices/system/cpu/possible").read_text().strip().split(",")
    return int(ranges[-1].rpartition("-")[2]) + 1


class Program:
    """A loaded program.

    Args:
        fd: its descriptor.
    """

    def __init__(self, fd: int) -> None:
        """Take the descriptor over."""
        self.fd = fd

    def close(self) -> None:
        """Drop our reference; an attached program stays attached."""
        os.close(self.fd)

    @property
    def id(self) -> int:
        """The kernel's id of the program."""
        return int(struct.unpack_from("=II", information(self.fd))[1])


class Attachment:
    """A BPF link: the program stays attached as long as this is open.

    Args:
        fd: its descriptor.
    """

    def __init__(self, fd: int) -> None:
        """Take the descriptor over."""
        self.fd = fd

    def close(self) -> None:
        """Detach."""
        os.close(self.fd)


class Map:
    """A map, its sizes asked from the kernel.

    Args:
        fd: its descriptor.
    """

    def __init__(self, fd: int) -> None:
        """Take over the descriptor."""
        self.fd = fd
        self.type, self.id, self.key_size, self.value_size, self.entries = struct.unpack_from("=5I", information(fd))
        self.copies = possible_cpus() if self.type in PER_CPU_TYPES else 1
        self.stride = (self.value_size + 7) & ~7 if self.type in PER_CPU_TYPES else self.value_size

    def close(self) -> None:
        """Drop our reference."""
        os.close(self.fd)

    def element(self, command: int, key: bytes, value: ctypes.Array[ctypes.c_char]) -> None:
        """Make an element call with pointers to `key` and `value`."""
        if len(key) != self.key_size:
            raise ValueError(f"key has {len(key)} bytes, the map's have {self.key_size}")
        key_buffer = ctypes.create_string_buffer(key, len(key))
        pointers = (ctypes.addressof(key_buffer), ctypes.addressof(value))
        call(command, struct.pack("=IIQQQ", self.fd, 0, *pointers, 0))

    def lookup(self, key: bytes) -> list[bytes]:
        """Return the value, one a CPU for per-CPU maps."""
        value = ctypes.create_string_buffer(self.stride * self.copies)
        self.element(BPF_MAP_LOOKUP_ELEM, key, value)
        return [value.raw[at : at + self.value_size] for at in range(0, self.stride * self.copies, self.stride)]

    def update(self, key: bytes, value: bytes) -> None:
        """Set the value, on every CPU for per-CPU maps."""
        if len(value) != self.value_size:
            raise ValueError(f"value has {len(value)} bytes, the map's have {self.value_size}")
        whole = value.ljust(self.stride, b"\0") * self.copies
        self.element(BPF_MAP_UPDATE_ELEM, key, ctypes.create_string_buffer(whole, len(whole)))


def object_get(path: Path) -> int:
    """Return a descriptor of what is pinned at `path`."""
    name = ctypes.create_string_buffer(str(path).encode())
    return call(BPF_OBJ_GET, struct.pack("=QII", ctypes.addressof(name), 0, 0))


def pin_folder() -> Path:
    """Return a new folder on the BPF file system, which is mounted if it is not."""
    if not FILE_SYSTEM.is_mount():
        subprocess.run(["mount", "-t", "bpf", "bpf", str(FILE_SYSTEM)], check=True)
    folder = FILE_SYSTEM / f"plugfest-{os.getpid()}-{next(_folders)}"
    folder.mkdir()
    return folder


@exposed
def load(
    object: str,  # noqa: A002
    type: str | None = "xdp",  # noqa: A002
    device: str | None = None,
    program: str | None = None,
) -> dict[str, Any]:
    """Load a program out of a compiled object and return its handle, its id and the handles of its maps by name.

    Args:
        object: name of one of plugfest's objects (``xdp_pass``) or the path of any.
        type: the program's type as bpftool spells it, or null for the one that its section names.
        device: interface to bind the program to (XDP metadata), or null.
        program: name of the C function, where the object holds more than one.

    Returns:
        ``{"program": 3, "id": 17, "maps": {"count": 4}}``.

    Raises:
        LoadError: with bpftool's and the verifier's words.
    """
    path = Path(object) if "/" in object else Path(os.environ.get("PLUGFEST_BPF", FOLDER), f"{object}.o")
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
            raise LoadError(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
        loaded = Program(object_get(folder / "programs" / program if program else folder / "program"))
        maps = {pin.name: handle.keep(Map(object_get(pin))) for pin in sorted(maps_folder.iterdir())}
        return {"program": handle.keep(loaded), "id": loaded.id, "maps": maps}
    finally:
        for pin in sorted(folder.rglob("*"), key=lambda each: -len(each.parts)):
            pin.rmdir() if pin.is_dir() else pin.unlink()
        folder.rmdir()


@exposed
def load_return(verdict: int, device: str | None = None) -> dict[str, Any]:
    """Load the smallest XDP program, one that only returns `verdict`, without any file; returns its handle and id.

    Args:
        verdict: of enum xdp_action.
        device: interface whose device is to run it (offload), or null for the host.

    Raises:
        OSError: the kernel, or the device's driver, refused it.
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
    """Attach an XDP program, or a classifier (type ``tcx_ingress``), by a BPF link; closing the returned handle detaches it."""
    fd = handle.get(program, Program).fd
    index = interface_index(ifname)
    return handle.keep(Attachment(call(BPF_LINK_CREATE, struct.pack("=IIII", fd, index, ATTACH_TYPES[type], flags))))


@exposed
def map_counters(map: int, keys: int | None = None) -> list[list[int]]:  # noqa: A002
    """Return an array map whose values are 64-bit counters: one list of counters a key, summed over the CPUs.

    Args:
        map: the map's handle; its keys are 32-bit numbers from 0.
        keys: read only this many.
    """
    source = handle.get(map, Map)
    found = []
    for key in range(min(source.entries, keys or source.entries)):
        values = source.lookup(struct.pack("=I", key))
        words = [struct.unpack(f"={source.value_size // 8}Q", value) for value in values]
        found.append([sum(column) for column in zip(*words, strict=True)])
    return found


@exposed
def map_clear(map: int) -> None:  # noqa: A002
    """Set every element of an array map to zero, on every CPU."""
    target = handle.get(map, Map)
    for key in range(target.entries):
        target.update(struct.pack("=I", key), bytes(target.value_size))


@exposed
def map_update(map: int, key: str, value: str) -> None:  # noqa: A002
    """Set the value of `key`; both in hexadecimal digits."""
    handle.get(map, Map).update(bytes.fromhex(key), bytes.fromhex(value))


@exposed
def map_refer(map: int, key: str, value: str, program: int | None) -> None:  # noqa: A002
    """Set an entry of a CPU or device map: `value`, a 32-bit number, and the program that runs there, or null for none.

    Source: include/uapi/linux/bpf.h, struct bpf_cpumap_val and bpf_devmap_val.
    """
    fd = handle.get(program, Program).fd if program is not None else 0
    handle.get(map, Map).update(bytes.fromhex(key), bytes.fromhex(value) + struct.pack("=I", fd))


@exposed
def program_ids() -> list[int]:
    """Return the ids of all programs in the kernel, to see that none is left behind."""
    found: list[int] = []
    attributes = ctypes.create_string_buffer(128)
    identifier = 0
    with suppress(FileNotFoundError):
        while True:
            struct.pack_into("=II", attributes, 0, identifier, 0)
            if _libc.syscall(SYSCALL[os.uname().machine], BPF_PROG_GET_NEXT_ID, attributes, 128) < 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
            identifier = struct.unpack_from("=I", attributes, 4)[0]
            found.append(identifier)
    return found
