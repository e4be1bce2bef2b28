# SPDX-License-Identifier: GPL-2.0-or-later
"""Journals of three made-up runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
KNOWN = {"reason": "ixgbe: zero-copy AF_XDP drops frames", "link": "https://example.org/1"}
CONFIG = b"CONFIG_IXGBE=m\n"


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
                "id": identity, "level": "MUST", "area": test["area"], "source": "a document",
                "sentence": f"It does {identity}.", "procedure": ["Do it"], "possible_problems": "", "falsified_by": ["a.b"],
                "falsified_as": "fail", "match": {}, "test": test["test"].rpartition("::")[2], "path": "area/test_it.py", "line": 1,
            }
            for identity, test in tests.items()
        ],
        "tests": list(tests.values()),
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
    for identity, verdict in verdicts.items():
        kept = {"console.txt": f"artifacts/{identity}/console.txt"} if verdict not in ("pass", "skip") else {}
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
        found.append({"event": "attempt", **tests[identity]})
        found.append(
            {
                "event": "result", **tests[identity], "verdict": verdict, "reason": f"reason of {identity}", "seconds": 1.0,
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


Repeated = Callable[..., Path]
"""The fixture that writes such runs."""
