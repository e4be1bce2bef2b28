# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's specifications of its netlink families, Documentation/netlink/specs, out of Debian's kernel source.

Debian has no small package with them. linux-libc-dev (3 MB) has headers that the kernel generates from netdev.yaml and
ethtool.yaml, but these hold neither the types nor the names as netlink's documents spell them, and if_link.h is not
generated. linux-source has everything: 170 MB to fetch once, of which half a megabyte stays in the cache; only the test reads
them, so that a run of the suite never fetches it.

Source: Documentation/userspace-api/netlink/specs.rst, tools/net/ynl/pyynl/lib/nlspec.py.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml
from plugfest.provision.cache import Cache, digest
from plugfest.provision.debian import Packages, unpack
from plugfest.provision.settings import ProvisionSettings

SOURCE = Packages(("linux-source",), backports=True)
FORMAT = 1
"""Part of the cache's key: counted up when what is kept of the package changes."""
FOLDER = "/Documentation/netlink/specs/"
SIZES = {"u8": 1, "u16": 2, "u32": 4, "s32": 4, "u64": 8, "uint": 8}
"""Bytes of the scalar types; `uint` has 4 or 8, and the agent sends 8."""
_MIB = 1 << 20


def ensure_specs(settings: ProvisionSettings) -> Path:
    """The folder of the specifications, ``FAMILY.yaml``."""

    def build(target: Path) -> None:
        with tempfile.TemporaryDirectory(dir=target) as scratch:
            unpack(SOURCE, Path(scratch) / "root", settings)
            (archive,) = (Path(scratch) / "root/usr/src").glob("linux-source-*.tar.xz")
            extract(archive, target)

    return Cache(settings.cache).get(
        "specs",
        digest(str(FORMAT), SOURCE.recipe()),
        build,
        title="netlink specifications (Debian's kernel source)",
        size=_MIB,
        space=800 * _MIB,
    )


def extract(archive: Path, target: Path) -> None:
    """Copy the specifications from a kernel source; reads no further than them."""
    found = False
    with tarfile.open(archive, "r|xz") as source:
        for member in source:
            if FOLDER in member.name and member.name.endswith(".yaml"):
                found = True
                file = source.extractfile(member)
                assert file is not None
                (target / Path(member.name).name).write_bytes(file.read())
            elif found and FOLDER not in f"{member.name}/":
                return
    assert found, f"{archive} has no {FOLDER}"


class Spec:
    """The specification of a family.

    Args:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        self.yaml: dict[str, Any] = yaml.safe_load(path.read_text())
        self.definitions = {each["name"]: each for each in self.yaml["definitions"]}
        self.sets = {each["name"]: each for each in self.yaml["attribute-sets"]}

    def attributes(self, name: str) -> dict[str, dict[str, Any]]:
        """The attributes of a set by name, each with its number as ``value``."""
        declared = self.sets[name]
        if "subset-of" in declared:
            whole = self.attributes(declared["subset-of"])
            return {each["name"]: whole[each["name"]] for each in declared["attributes"]}
        found = {}
        number = 1
        for each in declared["attributes"]:
            number = each.get("value", number)
            found[each["name"]] = {**each, "value": number}
            number += 1
        return found

    def commands(self) -> dict[str, int]:
        """The number by which the kernel receives each command, or sends each notification."""
        directional = self.yaml["operations"].get("enum-model") == "directional"
        found = {}
        request = reply = 1
        for each in self.yaml["operations"]["list"]:
            if not directional:
                found[each["name"]] = each.get("value", request)
                request = found[each["name"]] + 1
            elif "notify" in each or "event" in each:
                found[each["name"]] = each.get("value", reply)
                reply = found[each["name"]] + 1
            else:
                mode = each.get("do") or each["dump"]
                found[each["name"]] = mode.get("request", {}).get("value", request)
                request = found[each["name"]] + 1
                reply = mode.get("reply", {}).get("value", reply) + ("reply" in mode)
        return found

    def names(self, definition: str) -> dict[int, str]:
        """The names of an enumeration by value, of flags by the number of the bit."""
        found = {}
        number = self.definitions[definition].get("value-start", 0)
        for each in self.definitions[definition]["entries"]:
            entry = each if isinstance(each, dict) else {"name": each}
            number = entry.get("value", number)
            found[number] = entry["name"]
            number += 1
        return found
