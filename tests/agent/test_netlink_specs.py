# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent's netlink tables against the kernel's own specifications: numbers, names and types."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from netlink_specs import SIZES, Spec, ensure_specs
from plugfest.provision.settings import ProvisionSettings

RECIPES = Path(__file__).parents[2] / "guest-images"
MODULES = ("netlink.generic", "netlink.link", "netlink.netdev", "ethtool.ethtool")
TABLES = {
    ("nlctrl", "ctrl-attrs"): "netlink.generic.FAMILY",
    ("nlctrl", "op-attrs"): "netlink.generic.OPERATION",
    ("nlctrl", "mcast-group-attrs"): "netlink.generic.GROUP",
    ("rt-link", "link-attrs"): "netlink.link.LINK",
    ("rt-link", "linkinfo-attrs"): "netlink.link.LINKINFO",
    ("rt-link", "linkinfo-vlan-attrs"): "netlink.link.VLAN_DATA",
    ("rt-link", "xdp-attrs"): "netlink.link.XDP",
    ("rt-addr", "addr-attrs"): "netlink.link.ADDRESS",
    ("netdev", "dev"): "netlink.netdev.DEV",
    ("netdev", "io-uring-provider-info"): "netlink.netdev.IO_URING",
    ("netdev", "queue-id"): "netlink.netdev.QUEUE_ID",
    ("netdev", "lease"): "netlink.netdev.LEASE",
    ("netdev", "dmabuf"): "netlink.netdev.DMABUF",
    ("netdev", "queue"): "netlink.netdev.QUEUE",
    ("netdev", "napi"): "netlink.netdev.NAPI",
    ("netdev", "page-pool"): "netlink.netdev.PAGE_POOL",
    ("netdev", "qstats"): "netlink.netdev.QSTATS",
    ("ethtool", "header"): "ethtool.ethtool.HEADER",
    ("ethtool", "bitset-bit"): "ethtool.ethtool.BIT",
    ("ethtool", "bitset-bits"): "ethtool.ethtool.BITS",
    ("ethtool", "bitset"): "ethtool.ethtool.BITSET",
    ("ethtool", "features"): "ethtool.ethtool.FEATURES",
    ("ethtool", "rings"): "ethtool.ethtool.RINGS",
    ("ethtool", "channels"): "ethtool.ethtool.CHANNELS",
    ("ethtool", "coalesce"): "ethtool.ethtool.COALESCE",
    ("ethtool", "pause"): "ethtool.ethtool.PAUSE",
    ("ethtool", "linkinfo"): "ethtool.ethtool.LINKINFO",
    ("ethtool", "linkmodes"): "ethtool.ethtool.LINKMODES",
    ("ethtool", "linkstate"): "ethtool.ethtool.LINKSTATE",
    ("ethtool", "privflags"): "ethtool.ethtool.PRIVFLAGS",
    ("ethtool", "rss"): "ethtool.ethtool.RSS",
    ("ethtool", "fec"): "ethtool.ethtool.FEC",
    ("ethtool", "eee"): "ethtool.ethtool.EEE",
    ("ethtool", "tsinfo"): "ethtool.ethtool.TSINFO",
}
"""The table of each attribute set that the agent uses."""
RENAMED = {
    # Driver and generic mode are the words of the suite, offload that of ip(8).
    ("xdp-attrs", "native-prog-id"): "drv-prog-id",
    ("xdp-attrs", "generic-prog-id"): "skb-prog-id",
    ("xdp-attrs", "offload-prog-id"): "hw-prog-id",
}
"""Names that the agent spells otherwise, and the specification's."""
UNDECODED = {("ctrl-attrs", "ops"), ("ctrl-attrs", "mcast-groups"), ("linkinfo-vlan-attrs", "protocol")}
"""Attributes that the agent leaves as hexadecimal digits although they have a structure: an array of nests, a big-endian number."""


@pytest.fixture(scope="module")
def specs(provisioning: ProvisionSettings) -> dict[str, Spec]:
    """The specification of each family."""
    folder = ensure_specs(provisioning)
    return {family: Spec(folder / f"{family}.yaml") for family, _ in TABLES}


@pytest.fixture
def agent_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The agent's modules with tables, by their names below `agent`."""
    monkeypatch.syspath_prepend(str(RECIPES))
    yield {name: importlib.import_module(f"agent.{name}") for name in MODULES}
    for name in [name for name in sys.modules if name.partition(".")[0] == "agent"]:
        monkeypatch.delitem(sys.modules, name)


def table(modules: dict[str, Any], path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(modules[module], name)


def mismatch(modules: dict[str, Any], specs: dict[str, Spec], family: str, kind: Any, attribute: dict[str, Any]) -> str:
    """What the agent's type of an attribute has wrong, empty if nothing."""
    spec = specs[family]
    declared = attribute["type"]
    name = type(kind).__name__
    expected: Any = declared
    found: Any = name
    if name == "Attributes" and declared == "nest":
        path = TABLES.get((family, attribute["nested-attributes"]))
        if path is None:  # a nest whose presence is all that the agent reads
            found, expected = kind.members, {}
        else:
            found, expected = kind, table(modules, path)
    elif name == "Attributes" and declared == "sub-message":
        messages = {each["name"]: each["formats"] for each in spec.yaml["sub-messages"]}[attribute["sub-message"]]
        paths = [TABLES.get((family, each.get("attribute-set"))) for each in messages]
        found, expected = True, any(path and table(modules, path) is kind for path in paths)
    elif name == "Scalar":
        found, expected = (kind.size, kind.signed), (SIZES.get(declared), declared.startswith("s"))
    elif name in {"Choice", "Bits"}:
        found, expected = (kind.size, dict(enumerate(kind.names))), (SIZES.get(declared), dict(enumerate(kind.names)))
        if "enum" in attribute:
            assert name == "Bits" or spec.definitions[attribute["enum"]]["type"] == "enum"
            expected = (SIZES.get(declared), spec.names(attribute["enum"]))
    elif name == "Array":
        found, expected = ("binary", kind.item.size), (declared, SIZES.get(attribute.get("sub-type", "")))
    elif name == "Stats64":
        members = spec.definitions[attribute["struct"]]["members"]
        counters = list(modules["netlink.link"].STATS64)
        found, expected = counters, [each["name"].replace("-", "_") for each in members]
    else:
        found, expected = name, {"string": "String", "flag": "Flag", "binary": "Hex", "pad": "Hex"}.get(declared)
        if attribute.get("display-hint") == "mac":
            expected = "Mac"
    return "" if found == expected else f"expected {expected} ({declared}), found {found}"


@pytest.mark.parametrize(("family", "name"), TABLES, ids=lambda value: value)
def test_attributes_are_those_of_the_specification(
    agent_modules: dict[str, Any], specs: dict[str, Spec], family: str, name: str
) -> None:
    declared = specs[family].attributes(name)
    ours = table(agent_modules, TABLES[family, name])
    assert ours.members
    for number, (own_name, kind) in ours.members.items():
        attribute = declared.get(RENAMED.get((name, own_name), own_name))
        assert attribute is not None, f"{name} has no {own_name}"
        assert number == attribute["value"], own_name
        if (name, own_name) not in UNDECODED:
            wrong = mismatch(agent_modules, specs, family, kind, attribute)
            assert not wrong, f"{own_name}: {wrong}"
        assert (own_name in ours.repeated) == attribute.get("multi-attr", False), own_name


def test_every_table_of_the_agent_is_compared(agent_modules: dict[str, Any]) -> None:
    for module_name, module in agent_modules.items():
        for name, value in vars(module).items():
            if type(value).__name__ == "Attributes":
                assert any(table(agent_modules, path) is value for path in TABLES.values()), f"{module_name}.{name}"


def test_commands_of_netdev(agent_modules: dict[str, Any], specs: dict[str, Spec]) -> None:
    constants = {name: value for name, value in vars(agent_modules["netlink.netdev"]).items() if isinstance(value, int)}
    declared = {name.upper().replace("-", "_"): number for name, number in specs["netdev"].commands().items()}
    used = constants.keys() & declared.keys()
    assert {name: constants[name] for name in used} == {name: declared[name] for name in used}
    assert {"DEV_GET", "DEV_CHANGE_NTF", "QUEUE_GET", "QSTATS_GET", "BIND_RX", "BIND_TX", "QUEUE_CREATE"} <= used


def test_commands_of_ethtool(agent_modules: dict[str, Any], specs: dict[str, Spec]) -> None:
    module = agent_modules["ethtool.ethtool"]
    declared = specs["ethtool"].commands()
    for what, (number, attributes) in module.COMMANDS.items():
        assert number == declared[f"{what}-get"], what
        assert what in module.READ_ONLY or number + 1 == declared[f"{what}-set"], what
        assert attributes is table(agent_modules, TABLES["ethtool", what]), what


def test_commands_of_rtnetlink_and_of_the_controller(agent_modules: dict[str, Any], specs: dict[str, Spec]) -> None:
    declared = {**specs["rt-link"].commands(), **specs["rt-addr"].commands()}
    link = {name: value for name, value in vars(agent_modules["netlink.link"]).items() if name.startswith("RTM_")}
    assert len(link) == 6
    assert link == {name: declared[name.removeprefix("RTM_").lower()] for name in link}
    assert specs["nlctrl"].commands()["getfamily"] == agent_modules["netlink.generic"].CTRL_CMD_GETFAMILY


def test_flags_of_interfaces_and_addresses(agent_modules: dict[str, Any], specs: dict[str, Spec]) -> None:
    link = agent_modules["netlink.link"]
    # The names of iff-* as iproute2 spells them: the specification has more hyphens.
    declared = {bit: name.replace("-", "") for bit, name in specs["rt-link"].names("ifinfo-flags").items()}
    assert {bit: name.replace("-", "") for bit, name in enumerate(link.IFF_NAMES)} == declared
    bits = {name: 1 << bit for bit, name in specs["rt-addr"].names("ifa-flags").items()}
    assert (bits["nodad"], bits["tentative"]) == (link.IFA_F_NODAD, link.IFA_F_TENTATIVE)
