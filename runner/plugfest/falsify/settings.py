# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings, features and link modes of the interface under test, its driver, its device and its link partner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugfest.falsify.falsification import (
    AfterChange,
    Falsification,
    Handlers,
    Later,
    Request,
    Reverted,
    accepts,
    always,
    answers,
    asks,
    each,
    skips,
)

SETTERS = ("agent:link.set", "agent:ethtool.set", "agent:ethtool.restart_negotiation")
ANOTHER_MODE = "40000baseKR4/Full"
NO_REGISTER = "0x1fffc"
DONE = {"exit_status": 0, "stdout": "", "stderr": ""}


def _only_on(params: Mapping[str, Any]) -> dict[str, Any]:
    return {"wanted": {name: on for name, on in params["wanted"].items() if on}}


def _spread_evenly(rss: dict[str, Any]) -> dict[str, Any]:
    return {**rss, "indir": [at % rss["rings"] for at in range(len(rss["indir"]))]}


def _table_lost(request: Request) -> Any:
    truth = request.answer()
    # Fires also where the driver has lost the table itself: what the test gets is the default in either case.
    request.fired = bool(truth["indir"])
    return _spread_evenly(truth)


def _spread_over_one_more(rss: dict[str, Any]) -> dict[str, Any]:
    return {**rss, "indir": [at % (rss["rings"] + 1) for at in range(len(rss["indir"]))]}


def _table_kept() -> Handlers:
    change = AfterChange()
    return {**change.watch(["agent:ethtool.set"]), "agent:ethtool.rss": change.answers(_spread_over_one_more)}


def _addressed(link: dict[str, Any]) -> dict[str, Any]:
    return {name: link[name] for name in ("mtu", "address") if name in link}


def _shows_settings(params: Mapping[str, Any]) -> bool:
    command = params["command"]
    return bool(command[0] == "ethtool" and (command[1] == "--show-priv-flags" or len(command) == 2))


def _reverted() -> Handlers:
    reverted = Reverted()
    whole = (
        "agent:ethtool.get",
        "agent:features.get",
        "agent:ethtool.rss",
        "agent:ethtool.hash_fields",
        "agent:files.read",
    )
    return {
        "agent:system.log_write": reverted.mark(),
        **each(whole, reverted.answers()),
        "agent:link.get": reverted.answers(_addressed, lambda link, part: {**link, **part}),
        "agent:process.run": reverted.answers(when=_shows_settings),
    }


def _swapped(modes: dict[str, Any]) -> dict[str, Any]:
    return {**modes, "supported": [*(name for name in modes["supported"] if "base" not in name), ANOTHER_MODE]}


def _without_carrier(link: dict[str, Any]) -> dict[str, Any]:
    return {**link, "carrier": 0, "operstate": "down"}


def _stray(counters: dict[str, Any]) -> dict[str, Any]:
    return {**counters, "unknown": {**counters["unknown"], NO_REGISTER: 1}}


ROWS = (
    always(
        "program:settings.not-set",
        "a change of settings is not made, but reported as made",
        {**each(SETTERS, skips()), "agent:features.set": skips({"refused": []})},
    ),
    always(
        "program:settings.not-turned-off",
        "a feature is not turned off, but reported as turned off",
        {"agent:features.set": asks(_only_on)},
    ),
    always(
        "program:settings.error-lost",
        "a setting that the driver rejected is reported as accepted",
        each(SETTERS, accepts()),
    ),
    Falsification(
        "program:settings.reverted",
        "after an operation that the guest's log names, settings are reported as they were before the test",
        _reverted,
    ),
    always(
        "program:rss.table-lost",
        "the indirection table is reported as the default, spread evenly",
        {"agent:ethtool.rss": _table_lost},
    ),
    Falsification(
        "program:rss.table-kept",
        "after a change of settings the indirection table is reported as the default of one queue more",
        _table_kept,
    ),
    always(
        "program:link.carrier-lost",
        "the carrier is reported as off",
        each(("agent:link.get", "agent:link.wait"), answers(_without_carrier)),
    ),
    always(
        "program:driver.netdev-lost",
        "the device is reported to have no netdev",
        {"agent:files.glob": answers(lambda _: [], when=lambda params: params["path"].endswith("/net/*"))},
    ),
    always(
        "program:driver.unbind-lost",
        "the driver is not unbound, but reported as unbound",
        {"agent:files.write": skips(when=lambda params: params["path"].endswith("/unbind"))},
    ),
    always(
        "program:driver.unload-lost",
        "the module is not unloaded, but reported as unloaded",
        {"agent:process.run": skips(DONE, when=lambda params: params["command"][:2] == ["modprobe", "-r"])},
    ),
    always(
        "program:link.modes-swapped",
        "the link modes are reported as those of another device",
        {"agent:ethtool.get": answers(_swapped, when=lambda params: params["what"] == "linkmodes")},
    ),
    always(
        "program:backplane.not-set",
        "a change of the link partner is not made, but reported as made",
        {"model:link.set": skips({})},
    ),
    Falsification(
        "program:registers.stray",
        "the second reading of the device's counters shows an access to an offset without a register",
        lambda: {"model:model.counters": Later().answers(_stray)},
    ),
)
