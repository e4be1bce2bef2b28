# SPDX-License-Identifier: GPL-2.0-or-later
"""The matrix of settings and operations: a test of a requirement that names a setting runs once for each operation."""

from __future__ import annotations

import pytest
from plugfest.persistence.instruments import Instruments
from plugfest.persistence.operation import OPERATIONS
from plugfest.persistence.table import SETTINGS, pairs
from plugfest.persistence.trial import Trial
from plugfest.requirements.requirement import requirements_of
from plugfest.traffic.reception import ReceptionProbe


def pytest_generate_tests(metafunc):
    """Pair the setting that a test's requirement names with each operation."""
    if "operation" not in metafunc.fixturenames:
        return
    (found,) = requirements_of(metafunc.function)
    made = []
    for operation, slow in pairs(found.keeps):
        marks = [pytest.mark.slow] if slow else []
        marks += [pytest.mark.provokes(operation.provokes)] if operation.provokes else []
        marks += [pytest.mark.budget(operation.budget)] if operation.budget else []
        made.append(pytest.param(operation.name, marks=marks))
    metafunc.parametrize("operation", made)


@pytest.fixture
def instruments(
    request,
    guest,
    dut,
    remote,
    settings,
    steering,
    operations,
    traffic,
    peer,
    trace_skbs,
    xdp,
    af_xdp,
    link_partner,
    until,
    defer,
    run,
):
    """What settings and operations need; what not every device can do is set up by the pair that does it."""

    def later(name):
        def call():
            return request.getfixturevalue(name)()

        return call

    return Instruments(
        guest=guest,
        dut=dut,
        remote=remote,
        settings=settings,
        steering=steering,
        operations=operations,
        traffic=traffic,
        reception=ReceptionProbe(guest, dut, remote, until, defer),
        peer=peer,
        trace_skbs=trace_skbs,
        xdp=xdp,
        af_xdp=af_xdp,
        partner=link_partner,
        until=until,
        defer=defer,
        run=run,
        native_xdp=lambda: request.getfixturevalue("native"),
        self_test=later("self_test"),
        reset_by_watchdog=later("reset_by_watchdog"),
    )


@pytest.fixture
def trial(request, instruments, operation, evidence, skip_unsupported):
    """``trial.set()``, ``trial.perform()``, ``trial.check()``: the setting of the test's requirement over one operation."""
    (found,) = requirements_of(request.function)
    setting = SETTINGS[found.keeps](instruments)
    return Trial(instruments, setting, OPERATIONS[operation], evidence=evidence, skip=skip_unsupported)
