# SPDX-License-Identifier: GPL-2.0-or-later
"""The reports of a run on a real machine: which it was, and nothing of QEMU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from history import History
from plugfest.findings import finding
from plugfest.report import kcidb, write

MACHINE = {
    "dut": "root@dut",
    "remote": "root@peer eth3",
    "ifname": "eth1",
    "driver": "ice",
    "driver-version": "6.12.1",
    "firmware": "4.40 0x8001c967",
    "bus-address": "0000:03:00.0",
    "pci-id": "8086:1592",
    "subsystem-id": "8086:0002",
    "out-of-tree": False,
}
SUITE = dict.fromkeys(("conformance", "plugfest", "nicmodels", "guest-images"), "ab" * 32)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run on a real machine with a failure, as its journal has it."""
    history = History()
    history.events[0] |= {
        "driver": "ice",
        "module": "ice",
        "subject": {
            "kind": "hardware",
            "name": "8086:1592",
            "profile": None,
            "text": "eth1 of the real machine root@dut",
        },
        "kernel": {"spec": "hardware", "release": "6.12.1-amd64"},
        "accel": {"name": "native", "reason": "a real machine"},
        "versions": {"plugfest": "0.1.0", "qemu": "none", "python": "3.11.2", "host": "6.1.0"},
        "guest": {"cpus": 64},
        "testbed": {"machine": MACHINE, "modules": {}, "suite": {"version": "0.1.0", **SUITE}},
    }
    history.boot()
    history.events[-1] |= {"model": None, "module": None}
    history.result(history.plan("XDP-BASIC-01"), "fail", "42")
    history.result(history.plan("LINK-CARRIER-01"), "skip", "needs the model: a link partner")
    history.end()
    (tmp_path / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in history.events))
    return tmp_path


def test_each_report_says_that_it_was_a_real_machine(run: Path) -> None:
    document = write.write_reports(run)
    assert document["run"]["testbed"]["machine"] == MACHINE
    page = (run / "report.html").read_text()
    for text in ("root@dut", "eth1 at 0000:03:00.0", "PCI 8086:1592", "firmware 4.40 0x8001c967", "root@peer eth3"):
        assert text in page
    exported = json.dumps(kcidb.render(document, origin="plugfest"))
    for shown in (page, (run / "report.tap").read_text(), exported):
        assert "QEMU" not in shown


def test_a_finding_says_how_to_run_it_again(run: Path) -> None:
    (found,) = finding.findings(write.write_reports(run), run)
    text = found.text()
    assert "Device:   eth1 of the real machine root@dut, firmware 4.40 0x8001c967" in text
    assert (
        "plugfest run --dut root@dut --ifname eth1 --remote root@peer --remote-ifname eth3 -- -k XDP-BASIC-01" in text
    )
    assert "QEMU" not in text
