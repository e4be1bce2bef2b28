# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that the agent keeps from one user to the next, and their maps, in this machine's kernel."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPES = Path(__file__).parents[2] / "guest-images"
BPF_MAP_CREATE, BPF_MAP_LOOKUP_ELEM = 0, 1
HASH, ARRAY, PERCPU_ARRAY, DEVMAP = 1, 2, 6, 14
RDONLY_PROG = 1 << 7
ENTRIES, PAIR, ADJUSTMENT = 128, 16, 528
"""Entries of the maps; bytes of their values: two counters, and a struct of more than those."""
SPOILT = {
    "hash": struct.pack("=5I", HASH, 4, 8, ENTRIES, 0),
    "rodata": struct.pack("=5I8x16s", ARRAY, 4, 8, 1, RDONLY_PROG, b"xdp_pass.rodata"),
    "data": struct.pack("=5I8x16s", ARRAY, 4, 8, 1, 0, b"xdp_pass.data"),
}
"""Maps that clearing would not make as they were, by the name of an object that has one of them more."""


@pytest.fixture
def bpf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The agent's module, in this process; it loads a program with a map of each type."""
    if os.geteuid():
        pytest.skip("loading BPF programs needs root")
    monkeypatch.syspath_prepend(str(RECIPES))
    from agent import handle
    from agent.bpf import bpf as module
    from agent.bpf import objects

    def load(name: str, *_: object) -> Any:
        if name == "absent":
            raise module.LoadError("no such object")
        number = module.load_return(2)["program"]
        program = handle.get(number, objects.Program).same()
        handle.close(number)
        types = {"count": (PERCPU_ARRAY, PAIR), "adjustment": (ARRAY, ADJUSTMENT), "target": (DEVMAP, 8)}
        maps = {
            name: objects.Map(objects.call(BPF_MAP_CREATE, struct.pack("=IIII", kind, 4, size, ENTRIES)))
            for name, (kind, size) in types.items()
        }
        if name in SPOILT:
            maps[name] = objects.Map(objects.call(BPF_MAP_CREATE, SPOILT[name]))
        return module.Loaded(program, maps)

    monkeypatch.setattr(module, "_load", load)
    yield module
    handle.close_owned()
    for each in [each for alike in module._loaded.values() for each in alike]:
        each.close()
    for name in [name for name in sys.modules if name.partition(".")[0] == "agent"]:
        del sys.modules[name]


def value(bpf: Any, number: int, key: int) -> bytes:
    """The value of an element, on every CPU, by the call for a single one."""
    found = bpf.handle.get(number, bpf.Map)
    buffer = ctypes.create_string_buffer(found.stride * found.copies)
    found.element(BPF_MAP_LOOKUP_ELEM, struct.pack("=I", key), buffer)
    return buffer.raw


def close(bpf: Any, loaded: dict[str, Any]) -> None:
    for each in (loaded["program"], *loaded["maps"].values()):
        bpf.handle.close(each)


def test_a_program_is_lent_again_once_all_its_handles_are_closed(bpf: Any) -> None:
    first = bpf.load("xdp_pass")
    second = bpf.load("xdp_pass")
    assert second["id"] != first["id"], "two users at once share no program"
    bpf.handle.close(first["program"])
    assert bpf.load("xdp_pass")["id"] not in (first["id"], second["id"]), "a map of the first is still open"
    close(bpf, second)
    assert bpf.load("xdp_pass")["id"] == second["id"]


def test_programs_differ_by_object_type_device_and_function(bpf: Any) -> None:
    wanted: list[dict[str, Any]] = [
        {"object": "xdp_pass"},
        {"object": "xdp_drop"},
        {"object": "xdp_pass", "type": None},
        {"object": "xdp_pass", "device": "lo"},
        {"object": "xdp_pass", "program": "other"},
    ]
    found = []
    for each in wanted:
        loaded = bpf.load(**each)
        found.append(loaded["id"])
        close(bpf, loaded)
    assert len(set(found)) == len(wanted)
    assert bpf.load(**wanted[0])["id"] == found[0]


def test_a_lent_program_s_maps_are_empty(bpf: Any) -> None:
    loaded = bpf.load("xdp_pass")
    index = struct.pack("=I", 1)
    for key in (0, ENTRIES - 1):
        number = struct.pack("=I", key).hex()
        bpf.map_update(loaded["maps"]["count"], number, struct.pack("=QQ", 5, 300).hex())
        bpf.map_update(loaded["maps"]["adjustment"], number, b"\xff".hex() * ADJUSTMENT)
        bpf.map_set_program(loaded["maps"]["target"], number, index.hex(), None)
    close(bpf, loaded)
    again = bpf.load("xdp_pass")
    assert again["id"] == loaded["id"]
    for key in (0, ENTRIES - 1):
        assert not any(value(bpf, again["maps"]["count"], key))
        assert not any(value(bpf, again["maps"]["adjustment"], key))
        with pytest.raises(FileNotFoundError):
            value(bpf, again["maps"]["target"], key)


@pytest.mark.parametrize("name", SPOILT)
def test_a_program_is_not_kept_whose_maps_cannot_be_cleared(bpf: Any, name: str) -> None:
    loaded = bpf.load(name)
    with pytest.raises(
        ValueError, match=r"that starts empty, found map \d+ of type [12]: load its program with keep=False"
    ):
        bpf.map_clear(loaded["maps"][name])
    bpf.map_clear(loaded["maps"]["count"])
    close(bpf, loaded)
    assert bpf.load(name)["id"] != loaded["id"]


def test_counters_are_read_as_written_and_summed_over_the_cpus(bpf: Any) -> None:
    count = bpf.load("xdp_pass")["maps"]["count"]
    bpf.map_update(count, struct.pack("=I", 3).hex(), struct.pack("=QQ", 5, 300).hex())
    cpus = len(value(bpf, count, 3)) // PAIR
    assert bpf.map_counters(count, keys=4) == [[0, 0]] * 3 + [[5 * cpus, 300 * cpus]]
    assert bpf.map_counters(count) == [[0, 0]] * 3 + [[5 * cpus, 300 * cpus]] + [[0, 0]] * (ENTRIES - 4)
    bpf.map_clear(count)
    assert bpf.map_counters(count) == [[0, 0]] * ENTRIES


def test_a_program_that_is_not_kept_is_freed(bpf: Any) -> None:
    loaded = bpf.load("xdp_pass", keep=False)
    close(bpf, loaded)
    for _ in range(2000):  # the kernel frees a program after a grace period
        if loaded["id"] not in bpf.program_ids():
            return
    pytest.fail(f"program {loaded['id']} is still there")


def test_an_object_that_does_not_load_leaves_no_handle(bpf: Any) -> None:
    before = bpf.handle.count()
    for _ in range(2):
        with pytest.raises(bpf.LoadError):
            bpf.load("absent")
    assert bpf.handle.count() == before
