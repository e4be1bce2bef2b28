# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest shell``: a guest with its NIC, for interactive use."""

from __future__ import annotations

import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from plugfest.cli.dry_run import print_commands
from plugfest.cli.failure import catch_errors
from plugfest.cli.options import guest_options, option
from plugfest.cli.prepare import GuestOptions, plan
from plugfest.errors import UsageError
from plugfest.faults import is_models
from plugfest.machine import virtual
from plugfest.run import relay, sandbox
from plugfest.run.plan import RunPlan


@click.command()
@click.argument("driver")
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="SSH port on the host's 127.0.0.1; 0 for any free one.",
)
@guest_options
def shell(driver: str, port: int, **rest: Any) -> int:
    """Boot a guest with DRIVER's NIC, and keep it running until Ctrl-C.

    Prints the ssh command to log in with. The other end of the wire is the tap wire0 in the run's network namespace.
    """
    options = GuestOptions(**rest)
    for name in options.faults:
        if not is_models(name):
            raise UsageError(
                f"--fault {name}: expected a fault point of the model, found one of the suite; use it with plugfest run"
            )
    with tempfile.TemporaryDirectory(prefix="plugfest-shell-") as folder, relay.listen(port) as listener:
        ready = plan(driver, options, Path(folder))
        if options.dry_run:
            print_commands(ready)
            return 0
        outcome = sandbox.enter(
            lambda: catch_errors(lambda: _serve(ready, listener)), folder=ready.scratch, writable=ready.writable()
        )
    if outcome.signal is signal.SIGINT:
        return 0
    return outcome.status


_INSIDE = "nsenter --target $(pgrep -nf 'plugfest shell')"
"""Enters the run's namespaces: the newest process of this command is in all of them."""


def _ends(booted: virtual.VirtualMachine) -> Iterator[str]:
    """Yield how to reach what is not in the guest; both need root, and the second socat."""
    yield f"the other end of the wire, {booted.remote.ifname}: {_INSIDE} --net scapy"
    if booted.model is not None:
        yield f"the model's control socket: {_INSIDE} --mount socat - UNIX-CONNECT:{booted.model.path}"


def _serve(ready: RunPlan, listener: socket.socket) -> int:
    """Boot the guest inside the run's namespaces, print how to log in, wait for its end."""
    booted = virtual.boot(ready)
    try:
        booted.guest.authorize()
        key = ready.output / "key"
        booted.guest.key.write(key)
        relayed = relay.Relay(listener, ("127.0.0.1", virtual.qemu_command(ready).ssh_port))
        if booted.load_error is not None:
            click.echo(f"note: {booted.load_error}")
        click.echo(f"Linux {ready.kernel.release}, {booted.startup}; interface {booted.ifname or 'missing'}")
        click.echo(
            f"ssh -i {key} -p {relayed.port} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
            "-o LogLevel=ERROR root@127.0.0.1"
        )
        for line in _ends(booted):
            click.echo(line)
        click.echo("Press Ctrl-C to stop the guest.")
        while (gone := booted.guest.gone()) is None:
            time.sleep(1.0)
        click.echo(f"the guest ended: {gone}")
    except KeyboardInterrupt:
        click.echo("stopping the guest")
    finally:
        booted.close()
    return 0
