# SPDX-License-Identifier: GPL-2.0-or-later
"""``plugfest run --dut``: the suite on a real machine over SSH."""

from __future__ import annotations

import dataclasses
import os
import platform
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console

from plugfest import __version__
from plugfest.cli.execute import check_unused, default_output, execute, make_latest
from plugfest.cli.options import option, stacked
from plugfest.cli.prepare import options_of, settings
from plugfest.errors import UsageError
from plugfest.machine.lending import NETNS, Endpoints, Lending
from plugfest.provision.agent_archive import ensure_agent_archive
from plugfest.provision.progress import print_line
from plugfest.requirements import drivers as registry
from plugfest.run import sandbox, testbed
from plugfest.run.plan import HardwarePlan

NET_CONFIG = "net.config"
"""The file in which upstream's tests look for their variables (tools/testing/selftests/drivers/net/README.rst)."""
_NETIF, _TYPE, _ARGS = "NETIF", "REMOTE_TYPE", "REMOTE_ARGS"
_REMOTE_ADDRESSES, _LOCAL_ADDRESSES = ("REMOTE_V4", "REMOTE_V6"), ("LOCAL_V4", "LOCAL_V6")
VARIABLES = (_NETIF, _TYPE, _ARGS, *_LOCAL_ADDRESSES, *_REMOTE_ADDRESSES)
_TYPES = ("ssh", "netns")

OF_GUESTS = {
    "kernel": "--kernel",
    "accel": "--accel",
    "profile": "--profile",
    "modules": "--module",
    "cpus": "--cpus",
    "memory": "--memory",
    "fresh": "--fresh",
    "faults": "--fault",
    "dry_run": "--dry-run",
    "qemu": "--qemu",
    "guests": "--guests",
    "max_guests": "--max-guests",
    "falsify": "--falsify",
    "keep": "--keep",
    "count": "--repeat",
    "load": "--load",
    "patches": "--patch",
    "together": "--together",
    "build_seconds": "--build-seconds",
    "build_memory": "--build-memory",
}
"""By parameter, the options that say something of a guest or of a model, of which a run on a real machine has none."""
dut_options = stacked(
    option("--dut", metavar="root@HOST[:PORT]", help="Test a real machine, over SSH, and no guest."),
    option(
        "--ifname",
        metavar="NAME",
        help="With --dut: the interface to test.  [default: NETIF of --net-config or the environment]",
    ),
    option(
        "--remote",
        metavar="root@HOST|netns:NAME",
        help="With --dut: where the other end of its cable is: a host over SSH, or a network namespace of this host.  "
        "[default: REMOTE_TYPE and REMOTE_ARGS]",
    ),
    option(
        "--remote-ifname",
        metavar="NAME",
        help="With --dut: the interface there.  [default: the one that has REMOTE_V4 or REMOTE_V6]",
    ),
    option(
        "--net-config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="With --dut: a net.config as the kernel's selftests have it.  [default: net.config, if there is one here]",
    ),
    option(
        "--ssh-config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="With --dut: a configuration for ssh in place of yours.",
    ),
)
"""Options of a run on a real machine."""


@dataclass(frozen=True)
class DutOptions:
    """The options of `dut_options`."""

    dut: str | None
    ifname: str | None
    remote: str | None
    remote_ifname: str | None
    net_config: Path | None
    ssh_config: Path | None


RELATED = {
    field.name: f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(DutOptions) if field.name != "dut"
}
"""By parameter, the options that say something of a real machine."""


def check_options(context: click.Context, options: DutOptions) -> None:
    """Check that no option contradicts another.

    Raises:
        UsageError: one is for guests, with ``--dut``; or for a real machine, without.
    """
    if options.dut is None:
        given = next((name for key, name in RELATED.items() if _given(context, key)), None)
        if given is not None:
            raise UsageError(f"{given}: expected --dut with it, found none; add --dut root@HOST")
        return
    wrong = next((name for key, name in OF_GUESTS.items() if _given(context, key)), None)
    if wrong is not None:
        raise UsageError(
            f"{wrong} with --dut: expected one of them; a real machine has its own kernel and device, and is one; leave out {wrong}"
        )


def _given(context: click.Context, parameter: str) -> bool:
    """Whether the user has given an option on the command line: an environment variable may be meant for other runs."""
    return context.get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def read_config(path: Path) -> dict[str, str]:
    """Read a net.config: NAME=VALUE a line, # begins a comment, quotes may surround the value.

    Raises:
        UsageError: it cannot be read, or has a line of another form.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bytes that are no text"
        raise UsageError(f"{path}: expected a net.config, found: {reason}; correct --net-config") from error
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        name, equals, value = words.partition("=")
        if not equals or not name.strip().isidentifier():
            raise UsageError(f"{path}, line {number}: expected NAME=VALUE, found {words!r}; correct it")
        found[name.strip()] = value.strip().strip("\"'")
    return found


def ends(options: DutOptions, environment: Mapping[str, str]) -> Endpoints:
    """Return which two interfaces the user has named: by options, else in a net.config, else in the environment.

    Raises:
        UsageError: one is missing, or none can have such a name.
    """
    assert options.dut is not None
    path = options.net_config
    if path is None and Path(NET_CONFIG).is_file():
        path = Path(NET_CONFIG)
    # Upstream's tests let the file win over the environment, too.
    variables = {name: environment[name] for name in VARIABLES if environment.get(name)}
    variables |= {name: value for name, value in (read_config(path) if path else {}).items() if value}
    local = next((f"to {variables[name]}" for name in _LOCAL_ADDRESSES if name in variables), None)
    far = next((f"to {variables[name]}" for name in _REMOTE_ADDRESSES if name in variables), None)
    found = Endpoints(
        dut=options.dut,
        ifname=_needed(options.ifname or variables.get(_NETIF) or local, "--ifname", _NETIF),
        remote=_needed(options.remote or _remote(variables), "--remote", f"{_TYPE} and {_ARGS}"),
        remote_ifname=_needed(options.remote_ifname or far, "--remote-ifname", " or ".join(_REMOTE_ADDRESSES)),
        ssh_config=options.ssh_config,
    )
    found.check()
    return found


def _remote(variables: Mapping[str, str]) -> str | None:
    kind, arguments = variables.get(_TYPE), variables.get(_ARGS)
    if kind is None or arguments is None:
        return None
    if kind not in _TYPES:
        raise UsageError(
            f"{_TYPE}={kind}: expected one of {', '.join(_TYPES)}, found another; correct it, or name --remote"
        )
    return f"{NETNS}{arguments}" if kind == "netns" else arguments


def _needed(value: str | None, option: str, variable: str) -> str:
    if value is None:
        raise UsageError(f"--dut: expected {option} (or {variable}) with it, found none; add it")
    return value


def run_on_dut(
    options: DutOptions,
    driver: str | None,
    arguments: Sequence[str],
    user_arguments: Sequence[str],
    console: Console,
    *,
    output: Path | None,
    cache_dir: Path | None,
    mirror: str | None,
    fields: Mapping[str, Any],
) -> int:
    """Run the suite on a real machine, write the reports, and give its interface back.

    Args:
        options: which machine.
        driver: the name of the driver that it must have; None for any.
        arguments: all of pytest's.
        user_arguments: those that the user gave.
        console: for the summary.
        output: folder of the reports; None for one below ``results``.
        cache_dir: of everything fetched or built.
        mirror: Debian mirror.
        fields: of the plan (`plugfest.run.plan.Plan`).

    Raises:
        UsageError: the machine's driver is another one.
        InfrastructureError: the machine cannot be reached, or does not lend its interface.
    """
    wanted = ends(options, os.environ)
    provision = settings(cache_dir, mirror, None)
    sandbox.check_host()
    with _on_loan(wanted, lambda: ensure_agent_archive(provision)) as lending:
        ready = HardwarePlan(
            **fields,
            driver="",
            output=output or Path(),
            scratch=provision.cache / "run",
            dut=wanted.dut,
            remote=lending.remote,
            remote_mtu=lending.remote_mtu,
            sockets=lending.sockets,
            stream=lending.stream,
            kernel_release=lending.release,
            cpus=lending.cpus,
            device=lending.device,
        )
        ready = _with_driver(ready, driver, provision.cache)
        if output is None:
            ready = default_output(ready)
        console.print(f"{ready.driver} on {ready.subject}, Linux {ready.release}", soft_wrap=True)
        check_unused(ready.output)
        make_latest(ready.output)
        return execute(ready, console, arguments, user_arguments, lambda: provenance(ready, user_arguments)).status


def _with_driver(ready: HardwarePlan, driver: str | None, cache: Path) -> HardwarePlan:
    """Return the plan with the name of the driver that the machine has.

    Raises:
        UsageError: it is not the one that the user named.
    """
    found = registry.of_hardware(ready.device["driver"], ready.device["module"], ready.subject)
    if driver is not None and driver.replace("-", "_") not in {
        name.replace("-", "_") for name in (found.name, found.module)
    }:
        raise UsageError(
            f"{driver} with --dut: expected that {ready.subject} has this driver, found {found.name}; leave out {driver}"
        )
    durations = cache / "durations" / f"{found.name}-{ready.release}-hardware.json"
    return dataclasses.replace(ready, driver=found.name, durations=durations)


@contextmanager
def _on_loan(wanted: Endpoints, archive: Callable[[], Path]) -> Iterator[Lending]:
    lending = Lending(wanted)
    try:
        lending.take(archive)
        yield lending
    finally:
        with _uninterrupted(lambda: print_line(f"giving {wanted.ifname} of {wanted.dut} back; this takes a moment")):
            for line in lending.give_back():
                print_line(f"not restored: {line}")


@contextmanager
def _uninterrupted(note: Callable[[], None]) -> Iterator[None]:
    """Let no signal interrupt the body; one that comes has a note printed."""

    def handle(_number: int, _frame: object) -> None:
        note()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def provenance(plan: HardwarePlan, pytest_arguments: Sequence[str]) -> dict[str, object]:
    """Return the fields of the journal's ``run`` event."""
    return {
        "driver": plan.driver,
        "module": plan.tested.module,
        "subject": {
            "kind": "hardware",
            "name": plan.device["pci-id"] or plan.device["bus-address"],
            "profile": None,
            "text": str(plan.subject),
        },
        "kernel": {"spec": "hardware", "release": plan.release},
        "accel": {"name": "native", "reason": "a real machine"},
        "versions": {
            "plugfest": __version__,
            "qemu": "none",
            "python": platform.python_version(),
            "host": os.uname().release,
        },
        "guest": {"cpus": plan.cpus},
        "options": options_of(plan, pytest_arguments),
        "testbed": testbed.of_hardware(plan),
    }
