# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the guest's agent on this machine, in a network namespace of its own with a veth pair in it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from agent_connection import DEADLINE, Client

if TYPE_CHECKING:
    from collections.abc import Iterator

RECIPES = Path(__file__).parents[2] / "guest-images"
SETUP = (
    # Neither end sends by itself, so that counts are exact: there are no link-local addresses, and for those that a test adds
    # neither a repeated MLD report nor duplicate address detection, which would follow up to a second later.
    "ip link set lo up && (cd /proc/sys/net/ipv6/conf/default && echo 1 > addr_gen_mode && "
    "echo 0 > dad_transmits && echo 86400000 > mldv2_unsolicited_report_interval) && "
    "ip link add left type veth peer name right && ip link set left up && ip link set right up"
)


@pytest.fixture(scope="session")
def agent_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of an agent that runs in private network and mount namespaces."""
    if os.geteuid():
        pytest.skip("the agent's tests make network namespaces and load BPF programs: they need root")
    folder = tmp_path_factory.mktemp("agent")
    path = folder / "agent.sock"
    script = f"{SETUP} && exec {sys.executable} -m agent"
    process = subprocess.Popen(
        ["unshare", "--net", "--mount", "sh", "-c", script],
        env=os.environ | {"PYTHONPATH": str(RECIPES), "PLUGFEST_AGENT_SOCKET": str(path), "PLUGFEST_BPF": str(folder)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    end = time.monotonic() + DEADLINE
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "the agent did not come up"
        select.select([process.stderr], [], [], 0.02)
    yield path
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()


@pytest.fixture
def connect(agent_path: Path) -> Iterator[Any]:
    """Makes further connections."""
    clients: list[Client] = []

    def new() -> Client:
        clients.append(Client(agent_path))
        return clients[-1]

    yield new
    for client in clients:
        client.close()


@pytest.fixture
def agent(connect: Any) -> Client:
    """A connection to the agent."""
    client: Client = connect()
    return client
