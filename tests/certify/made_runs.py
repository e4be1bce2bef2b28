# SPDX-License-Identifier: GPL-2.0-or-later
"""Journals of made-up runs, of the suite and of upstream's tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from made_run import run_event
from plugfest.certify.key import SigningKey
from plugfest.requirements import known_issues, quarantine
from plugfest.run import testbed

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
HASH = "ab" * 32
START = 1_790_000_000.0
VERDICTS = {"XDP-XSK-12": "xfail", "LINK-UP-01": "pass", "LINK-UP-02": "pass", "LINK-FEC-01": "skip"}
"""What each run of a test finds, by requirement, unless it says otherwise."""
_PLAIN = str.maketrans("/:[]", "----")
KNOWN = {"reason": "ixgbe: zero-copy AF_XDP drops frames", "link": "https://example.org/1"}
CONFIG = b"CONFIG_IXGBE=m\n"
SOURCE = "Debian's linux-source-7.3 7.3.4-1"
CASES = {
    "drivers/net/ping.py[v4]": "pass",
    "drivers/net/ping.py[v6]": "skip",
    "drivers/net/hw/irq.py[irqs]": "xfail",
    "drivers/net/hw/tso.py": "skip",
}
"""Likewise of upstream's tests, by case."""


def events(number: int, verdicts: Mapping[str, str], change: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the journal of a run: `change` replaces fields of its events, as ``run.options.seed`` and ``planned.lists``."""
    tests = {
        identity: {
            "test": f"area/test_it.py::test_{identity.lower().replace('-', '_')}",
            "requirement": identity,
            "area": identity.partition("-")[0].lower(),
            "level": "MUST",
            "fault": None,
        }
        for identity in verdicts
    }
    return _events(number, tests, verdicts, change)


def selftests_events(number: int, verdicts: Mapping[str, str], change: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the journal of a run of upstream's tests; `verdicts` by case."""
    cases = {
        case: {
            "test": case,
            "requirement": ":".join(case.partition("[")[0].rsplit("/", 1)),
            "area": case.rpartition("/")[0],
            "level": "SHOULD",
            "fault": None,
        }
        for case in verdicts
    }
    own = {
        "run.kind": "selftests",
        "run.source": SOURCE,
        "run.testbed.selftests": "ef" * 32,
        "run.testbed.root": {"digest": "s", "packages": {"bash": "5.2.37-2+b10", "iperf3": "3.18-2"}},
        "run.options.disruptive": True,
        "run.options.time_limit": 600.0,
        "run.options.seed": 70 + number,
    }
    return _events(number + 10, cases, verdicts, own | dict(change))


def _events(
    number: int, tests: Mapping[str, Mapping[str, Any]], verdicts: Mapping[str, str], change: Mapping[str, Any]
) -> list[dict[str, Any]]:
    options = {
        "strict_known": False, "confirm": True, "strict_waits": False,
        "guests": 1, "seed": 40 + number, "load": False, "areas": [], "slow": False,
    }  # fmt: skip
    bed = {
        "qemu": {"version": "11.1.3", "digest": "q"},
        "kernel": {"sha256": HASH, "digest": "k", "config": None},
        "root": {"digest": "r", "packages": {"bash": "5.2.37-2+b10"}},
        "modules": {},
        "suite": {
            "version": "0.1.0", "conformance": HASH, "nicmodels": HASH, "guest-images": HASH,
            "plugfest": testbed.tree_sha256(Path(testbed.__file__).parents[1]),
        },
    }  # fmt: skip
    run = run_event(options, testbed=bed)
    planned = {
        "event": "planned",
        "requirements": [
            {
                "id": identity, "level": test["level"], "area": test["area"], "source": "a document",
                "sentence": f"It does {identity}.", "procedure": ["Do it"], "possible_problems": "", "falsified_by": ["a.b"],
                "falsified_as": "fail", "match": {}, "path": "area/test_it.py", "line": 1,
                "test": test["test"].rpartition("::")[2].partition("[")[0],
            }
            for identity, test in {test["requirement"]: test for test in tests.values()}.items()
        ],
        "lists": {
            "known_issues": testbed.file_sha256(known_issues.DEFAULT),
            "quarantine": testbed.file_sha256(quarantine.DEFAULT),
        },
    }  # fmt: skip
    module = {"file": "ixgbe.ko", "sha256": "cd" * 32, "srcversion": "8A3", "version": None}
    boot = {
        "event": "boot", "seconds": 1.0, "how": "a snapshot", "reason": "the first one", "speed": 0.1,
        "driver": "7.3.4", "module": module, "model": {"name": "ixgbe", "version": "1"},
    }  # fmt: skip
    found = [run, planned, boot]
    cases: dict[str, list[Mapping[str, Any]]] = {}
    for test in tests.values():
        cases.setdefault(test["test"].partition("[")[0], []).append(test)
    found += [
        {"event": "cases", "test": test, "tests": each} for test, each in cases.items() if each[0]["test"] != test
    ]
    planned["tests"] = [{**each[0], "test": test} for test, each in cases.items()]
    for key, verdict in verdicts.items():
        identity = tests[key]["requirement"]
        kept = (
            {"console.txt": f"artifacts/{key.translate(_PLAIN)}/console.txt"} if verdict not in ("pass", "skip") else {}
        )
        expected = [
            {
                "title": KNOWN["reason"],
                "link": KNOWN["link"],
                "requirement": identity,
                "intermittent": False,
                "showed": True,
            }
        ]
        more = {"known_issue": KNOWN, "expected": expected} if verdict == "xfail" else {"known_issue": None}
        found.append({"event": "attempt", **tests[key]})
        found.append(
            {
                "event": "result", **tests[key], "verdict": verdict, "reason": f"reason of {identity}", "seconds": 1.0,
                "steps": [], "evidence": [], "problems": [], "falsification": None, "artifacts": kept, **more,
            }
        )  # fmt: skip
    found.append({"event": "end", "pytest_exit_status": 0})
    for place, value in change.items():
        kind, *keys = place.split(".")
        target: Any = next(event for event in found if event["event"] == kind)
        for key in keys[:-1]:
            target = target[key]
        target[keys[-1]] = value
    return [{**event, "time": START + 1000 * number + index} for index, event in enumerate(found)]


def write_runs(folder: Path, runs: Sequence[Mapping[str, Any]], selftests: Sequence[Mapping[str, Any]]) -> None:
    """Write the folder of repeated runs of the suite, and of upstream's tests; a dict a run, of verdicts and changes."""
    for where, each, usual, make in (
        (folder, runs, VERDICTS, events),
        (folder / "selftests", selftests, CASES, selftests_events),
    ):
        for number, given in enumerate(each, 1):
            verdicts = {key: value for key, value in given.items() if not _is_change(key)}
            lines = make(number, {**usual, **verdicts}, {key: value for key, value in given.items() if _is_change(key)})
            target = where / f"run-{number}"
            target.mkdir(parents=True)
            (target / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            (target / "plan.json").write_text('{"scratch": "/home/someone/.cache"}')
            for line in lines:
                for path in line.get("artifacts", {}).values():
                    (target / path).parent.mkdir(parents=True)
                    (target / path).write_text("a console\n")


def _is_change(key: str) -> bool:
    return "." in key and "/" not in key


Repeated = Callable[..., Path]
"""The fixture that writes such runs."""
