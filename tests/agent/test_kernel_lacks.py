# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel lacks is distinguished from what a driver refuses: on the families of this machine's kernel."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RECIPES = Path(__file__).parents[2] / "guest-images"


@pytest.fixture
def agent_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import a module of the agent by its name below `agent`."""
    monkeypatch.syspath_prepend(str(RECIPES))
    yield lambda name: importlib.import_module(f"agent.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "agent"]:
        del sys.modules[name]


@pytest.fixture
def lacks(agent_module: Any) -> type[Exception]:
    found: type[Exception] = agent_module("system.kernel").KernelLacksError
    return found


def test_family(agent_module: Any, lacks: type[Exception]) -> None:
    generic = agent_module("netlink.generic")
    with pytest.raises(lacks, match=r"the generic netlink family plugfest: CTRL_CMD_GETFAMILY returned No such file"):
        generic.Family("plugfest", {1: "get"}).call(1, b"", generic.FAMILY)


def test_operation(agent_module: Any, lacks: type[Exception]) -> None:
    generic = agent_module("netlink.generic")
    expected = r"burn of the generic netlink family nlctrl: the family has the operations \[3, 10\], not 99"
    with pytest.raises(lacks, match=expected):
        generic.Family("nlctrl", {99: "burn"}).call(99, b"", generic.FAMILY)


def test_attribute(agent_module: Any, lacks: type[Exception]) -> None:
    ethtool, attributes = agent_module("ethtool.ethtool"), agent_module("netlink.attributes")
    known = {"header": {"dev-name": "lo"}, "rx": 64}
    future = attributes.Attributes({**ethtool.RINGS.members, 200: ("rings-of-power", attributes.U32)})
    with pytest.raises(
        lacks, match=r"the attribute rings-of-power in rings-set of the generic netlink family ethtool: "
    ):
        ethtool.ETHTOOL.call(16, future.encode({**known, "rings-of-power": 9}), future)
    # The loopback interface has no rings: this is the driver's lack.
    with pytest.raises(OSError, match="Operation not supported") as refused:
        ethtool.ETHTOOL.call(16, ethtool.RINGS.encode(known), ethtool.RINGS)
    assert not isinstance(refused.value, lacks)


def test_attribute_in_a_nest_is_named(agent_module: Any) -> None:
    netdev = agent_module("netlink.netdev")
    request = {"ifindex": 1, "queues": [{"id": 7, "type": "rx"}, {"id": 8, "type": "rx"}], "fd": 3}
    data = netdev.DMABUF.encode(request)
    names = [netdev.DMABUF.name_at(data, offset) for offset in range(0, len(data), 4)]
    assert names == [
        "ifindex",
        "at byte 4",
        *("queues", "queues.id", "queues.at byte 4", "queues.type", "queues.at byte 12") * 2,
        "fd",
        "at byte 52",
    ]


def test_name_of_a_function(agent_module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = agent_module("system.kernel")
    monkeypatch.setattr(kernel, "BTF", tmp_path / "vmlinux")
    kernel.BTF.write_bytes(b"\x9f\xeb\0\0vfs_read\0vfs_write\0")
    assert kernel.has_name("vfs_read")
    assert kernel.has_name("vfs_write")
    assert not kernel.has_name("vfs")
    monkeypatch.setattr(kernel, "BTF", tmp_path / "none")
    assert kernel.has_name("none"), "a kernel without BTF is taken to have everything"


@pytest.mark.parametrize(
    ("names", "lacking"),
    [
        ("vfs_read vfs_write", None),
        ("vfs_read vfs_store", None),
        ("vfs_read", "vfs_write"),
        ("", "vfs_read and vfs_write"),
    ],
)
def test_functions_behind_an_operation(
    agent_module: Any,
    lacks: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: str,
    lacking: str | None,
) -> None:
    generic, kernel = agent_module("netlink.generic"), agent_module("system.kernel")
    monkeypatch.setattr(kernel, "BTF", tmp_path / "vmlinux")
    kernel.BTF.write_bytes(b"\x9f\xeb\0\0" + b"".join(name.encode() + b"\0" for name in names.split()))
    functions = {3: (("vfs_read",), ("vfs_write", "vfs_store"))}
    family = generic.Family("nlctrl", {3: "getfamily"}, functions)
    request = generic.FAMILY.encode({"family-name": "nlctrl"})
    if lacking is None:
        assert family.call(3, request, generic.FAMILY)[0]["family-name"] == "nlctrl"
        return
    with pytest.raises(lacks) as refused:
        family.call(3, request, generic.FAMILY)
    assert str(refused.value) == (
        f"{lacking}() behind getfamily of the generic netlink family nlctrl: the BTF has no such function"
    )


def test_the_function_behind_bind_rx_has_had_three_names(agent_module: Any) -> None:
    netdev = agent_module("netlink.netdev")
    assert {"netif_mp_open_rxq", "net_mp_open_rxq", "__net_mp_open_rxq"} in map(set, netdev.NETDEV.functions[13])
