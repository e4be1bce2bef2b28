# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures of the clients: a guest for each model and profile, and testpmd in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from client_machine import ClientMachine, Nic
from client_plan import INSIDE, client_plan
from plugfest.machine.virtual import qemu_command
from plugfest.provision.settings import ProvisionSettings
from plugfest.run.plan import RunPlan
from testpmd import Testpmd


@pytest.fixture(scope="session")
def plan(provisioning: ProvisionSettings, tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """The guest's plan; skip outside of a run's namespaces."""
    if INSIDE not in os.environ:
        pytest.skip("needs namespaces of its own: tox -e clients")
    return client_plan(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module")
def machine(request: pytest.FixtureRequest, plan: RunPlan) -> Iterator[ClientMachine]:
    """A guest with the NIC that the module's parameter names."""
    nic: Nic = request.param
    folder = Path(os.environ[INSIDE]) / f"{nic.model}-{nic.profile}"
    folder.mkdir()
    machine = ClientMachine(
        replace(qemu_command(plan), cpu=nic.cpu),
        nic,
        folder=folder,
        log=plan.output / folder.name,
        snapshots=plan.snapshots,
    )
    try:
        yield machine
    finally:
        machine.close()


@pytest.fixture(scope="module")
def running(machine: ClientMachine) -> Iterator[Testpmd]:
    """The module's testpmd: it takes a minute to start on a busy host."""
    with Testpmd(machine.guest, machine.device, options=machine.nic.options) as found:
        yield found


@pytest.fixture
def testpmd(machine: ClientMachine, running: Testpmd) -> Iterator[Testpmd]:
    """Testpmd, its statistics cleared; the model must note no error meanwhile."""
    before = machine.faulty()
    running.await_link(up=True)
    running.commands("clear port stats all", "clear port xstats all")
    yield running
    assert machine.faulty() == before, "the model has noted errors"
