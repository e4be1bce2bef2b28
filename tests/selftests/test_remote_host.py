# SPDX-License-Identifier: GPL-2.0-or-later
"""The remote host, and one of upstream's tests through a real guest."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from plugfest import cli
from plugfest.errors import InfrastructureError
from plugfest.machine.tap import DUT_IPV4, IPV4
from plugfest.report import document
from plugfest.selftests.remote_host import RemoteHost, configuration


def test_the_configuration_is_that_of_the_readme() -> None:
    found = configuration("eth0")
    assert (found["NETIF"], found["LOCAL_V4"], found["REMOTE_V4"]) == ("eth0", DUT_IPV4, IPV4)
    assert not any(set(value) & set(" \"'") for value in found.values())


def test_a_remote_host_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(
        InfrastructureError, match="expected the tests' remote host to listen, found that it ended: no such root"
    ):
        RemoteHost(("sh", "-c", "echo no such root >&2"), tmp_path, tmp_path / "remote")


def test_ping_over_the_wire(provisioning, tmp_path: Path) -> None:
    arguments = [
        "selftests",
        "ixgbe",
        "--cache-dir",
        str(provisioning.cache),
        "--output",
        str(tmp_path / "out"),
        "--",
        "ping.py",
    ]
    done = CliRunner().invoke(cli.commands, arguments, standalone_mode=False)
    report = document.load(tmp_path / "out")
    verdicts = {each["test"]: each["verdict"] for each in report["results"]}
    assert verdicts["drivers/net/ping.py[test_default_v4]"] == "pass", done.output
