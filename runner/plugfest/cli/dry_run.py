# SPDX-License-Identifier: GPL-2.0-or-later
"""``--dry-run``: the command lines of QEMU and the model, to run by hand."""

from __future__ import annotations

import json
import shlex

import click

from plugfest.machine import model, qemu, virtual
from plugfest.machine.tap import NAME as TAP
from plugfest.requirements import drivers as registry
from plugfest.requirements.drivers import ModelSubject, QemuSubject
from plugfest.run.plan import RunPlan


def print_commands(ready: RunPlan) -> None:
    """Print the commands that a run would start, quoted for a shell, and the QMP commands that plug the NIC after the boot."""
    subject = registry.find(ready.driver).subject
    command = virtual.qemu_command(ready)
    click.echo("# QEMU")
    click.echo(shlex.join(command.argv(channels=ready.scratch)))
    if isinstance(subject, ModelSubject):
        socket, control = ready.scratch / "model0.vfio-user", ready.scratch / "model0.control"
        click.echo("# the model")
        click.echo(
            shlex.join(
                model.command(
                    subject.model,
                    vfio_user=socket,
                    control=control,
                    files=ready.scratch / "model0.files",
                    tap=TAP,
                    mac=virtual.DUT_MAC,
                    profile=ready.profile,
                    options=virtual.model_options(ready),
                )
            )
        )
        click.echo("# QMP, after the boot")
        device = qemu.vfio_user_device("dut1", 0, socket)
    else:
        assert isinstance(subject, QemuSubject)
        click.echo("# QMP, after the boot")
        netdev = qemu.tap_netdev("networkdut1", TAP, subject.queues)
        click.echo(json.dumps({"execute": "netdev_add", "arguments": netdev}))
        device = qemu.emulated_device(
            subject.device, "dut1", 0, netdev="networkdut1", mac=virtual.DUT_MAC, properties=subject.properties
        )
    click.echo(json.dumps({"execute": "device_add", "arguments": dict(device)}))
