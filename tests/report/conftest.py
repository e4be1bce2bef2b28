# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from history import HOSTILE, History
from plugfest.requirements.verdict import Verdict


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture
def full(tmp_path: Path) -> tuple[History, Path]:
    """A run with every verdict, hostile texts and artifacts."""
    history = History()
    tests = {
        verdict: history.plan(
            f"{'LINK' if number % 2 else 'SMOKE'}-{verdict.upper()}-{number:02}", f"test_{verdict}[a-b]"
        )
        for number, verdict in enumerate(Verdict, 1)
    }
    history.boot()
    folder = tmp_path / "results"
    artifacts = folder / "artifacts" / "fail"
    artifacts.mkdir(parents=True)
    (artifacts / "console.txt").write_text("[   12.0] ixgbe 0000:01:00.0: Detected Tx Unit Hang\n" * 4 + HOSTILE)
    (artifacts / "trace.txt").write_text(
        "".join(f"{n / 1000:12.6f} R RDH[{n % 16}]: RDH 0x{n:08x}\n" for n in range(60))
    )
    (artifacts / "wire.pcap").write_bytes(bytes(range(256)))
    kept = {path.name: f"artifacts/fail/{path.name}" for path in sorted(artifacts.iterdir())}
    history.result(tests[Verdict.PASS], "pass")
    history.result(
        tests[Verdict.FAIL],
        "fail",
        f"expected that the carrier comes up within 2.0 s; it did not (step: Bring the partner up) {HOSTILE}",
        artifacts=kept,
        evidence=[{"name": "ethtool", "text": f"$ ethtool eth0\nSpeed: 10000Mb/s\n{HOSTILE}"}],
    )
    history.result(
        tests[Verdict.SKIP],
        "skip",
        "not supported: zero-copy AF_XDP",
        evidence=[{"name": "not supported: zero-copy AF_XDP", "text": "xdp-features: basic redirect"}],
    )
    history.result(
        tests[Verdict.XFAIL],
        "xfail",
        "off by one, https://example.org/1 (found: fail: 41)",
        known_issue={"reason": "off by one", "link": "https://example.org/1"},
    )
    history.result(tests[Verdict.ERROR], "error", "call: KeyError: 'queue'")
    history.result(
        tests[Verdict.CRASH],
        "crash",
        "BUG: kernel NULL pointer dereference, address: 0000000000000010",
        problems=["[   12.0] BUG: kernel NULL pointer dereference\n[   12.0] RIP: 0010:ixgbe_poll+0x10/0x20 [ixgbe]"],
    )
    history.result(tests[Verdict.TIMEOUT], "timeout", "call took more than its 240 s")
    history.tried_twice(tests[Verdict.UNSTABLE], "unstable", "first fail: 41; then, in a fresh guest, pass")
    history.tried_twice(
        tests[Verdict.QUARANTINED], "quarantined", "It hangs on the host's speed. (found: first fail: 41)"
    )
    history.block(tests[Verdict.BLOCKED], tests[Verdict.FAIL]["requirement"])
    history.stop("interrupted", 130)
    history.end()
    history.write(folder)
    return history, folder
