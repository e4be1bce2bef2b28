# SPDX-License-Identifier: GPL-2.0-or-later
"""An interface on loan to a run: taken into a namespace of its own, brought back into it whenever its driver makes it anew, given back."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.ethtool import ethtool
from agent.hardware import device, record
from agent.hardware.namespace import InsideError, Namespace, in_a_process, outlive_shortage
from agent.netlink import link, routes
from agent.netlink.connection import NETLINK_ROUTE, Monitor

PROBE_TIMEOUT = 60.0
"""Seconds for a driver to make its interface, on any machine: some load firmware first."""
BIND_TIMEOUT = 120.0
"""Seconds for the kernel to return from binding or unbinding."""
FOLDER = re.compile(r"plugfest-[0-9a-f]{8}")
"""Name of a run's folder on a machine."""


class LoanError(Exception):
    """The interface could not be taken, or be brought back; the message says what was expected and found."""


class Loan:
    """The interface.

    Attributes:
        ifname: its name.
        described: its device, as `device.describe` returns it.
        monitor: the kernel's notifications of interfaces of the machine's own namespace, after which `adopt` is due.
    """

    def __init__(self, ifname: str, connection: str) -> None:
        """See that the run may have it, and read its settings; nothing is changed yet.

        Args:
            ifname: its name, or ``to ADDRESS`` for that with this address.
            connection: SSH_CONNECTION.

        Raises:
            RefusedError: the run may not have it.
        """
        self.ifname = named(ifname)
        device.check(self.ifname, connection, routes.default_interfaces())
        self.described: dict[str, Any] = device.describe(self.ifname, ethtool.driver_info(self.ifname))
        self._device = Path(self.described["device"])
        # Of a virtio device on PCI, the driver is the virtio bus's.
        self._bound = (device.CLASS / self.ifname / "device").resolve()
        self._driver = (self._bound / "driver").resolve()
        self._settings = record.read(self.ifname)
        self._namespace: Namespace | None = None
        self.monitor = Monitor(NETLINK_ROUTE, link.RTNLGRP_LINK)

    @property
    def namespace(self) -> Namespace:
        """Where the interface is."""
        assert self._namespace is not None
        return self._namespace

    def take(self, work: Callable[[], Any]) -> None:
        """Move the interface into a namespace of its own, held by a process that does `work`.

        Raises:
            LoanError: the kernel refuses it.
        """
        outlive_shortage(True)
        self._namespace = Namespace(work)
        if not self.adopt():
            raise LoanError(f"expected to move {self.ifname} to a namespace of its own, found it still outside")

    def adopt(self) -> bool:
        """Move the interface inside if it is outside: its driver has made it anew, or a namespace that it was in has ended.

        Returns:
            Whether it is inside now.

        Raises:
            LoanError: the kernel refuses it.
        """
        self.wait(0)
        for name in device.interfaces_of(self._device):
            try:
                link.set(name, up=False)
                # In one request: inside nobody sees it by another name, as a driver or the kernel gives it.
                link.set(name, netns_pid=self.namespace.pid, name=self.ifname if name != self.ifname else None)
            except OSError as error:
                if name not in link.list_all():
                    continue  # it went away meanwhile, or was renamed: a notification follows
                raise LoanError(
                    f"expected to move {name} to a namespace of its own, found: {error.strerror}"
                ) from error
        return self.is_inside()

    def is_inside(self) -> bool:
        """Whether the interface is in its namespace."""
        return bool(self.namespace.do(lambda: self.ifname in link.list_all()))

    def rebind(self) -> None:
        """Unbind the driver from the device, bind it, and take the interface in: the driver begins anew.

        Raises:
            LoanError: the kernel does not return, or the driver makes no interface.
        """
        if (self._bound / "driver").exists():
            self._write("unbind", self._driver, self._bound.name)
        self.bind()

    def bind(self) -> None:
        """Bind the driver if the device has none, and take the interface in.

        Raises:
            LoanError: the kernel does not return, or the driver makes no interface.
        """
        if not (self._bound / "driver").exists():
            self._write("bind", self._driver, self._bound.name)
        end = time.monotonic() + PROBE_TIMEOUT
        while not self.adopt():
            if time.monotonic() > end:
                raise LoanError(
                    f"expected the driver {self._driver.name} to make an interface of {self._bound.name} within "
                    f"{PROBE_TIMEOUT:.0f} s, found none"
                )
            self.wait(0.2)

    def _write(self, verb: str, folder: Path, name: str) -> None:
        try:
            in_a_process(lambda: (folder / verb).write_text(name), BIND_TIMEOUT)
        except InsideError as error:
            raise LoanError(f"`echo {name} > {folder}/{verb}`: {error}") from error

    def give_back(self) -> list[str]:
        """Have the driver bound, move the interface out, put its settings back; returns a line for each that could not be.

        Never raises: what fails is among the lines.
        """
        failures: list[str] = []
        for step in (self._move_out, self._wait_outside, self._restore):
            try:
                failures += step()
            except Exception as error:  # whatever it is, the other steps are due
                failures.append(str(error) or type(error).__name__)
        return failures

    def _move_out(self) -> list[str]:
        """End the namespace: what is still inside then comes out by itself."""
        if self._namespace is None:
            return []
        try:
            if not self.is_inside():
                self._load()
                self.bind()
            self.namespace.do(self._leave)
        finally:
            self.namespace.close()
            self._namespace = None
        return []

    def _wait_outside(self) -> list[str]:
        """Wait for the interface in the machine's own namespace, and give it its name."""
        end = time.monotonic() + PROBE_TIMEOUT
        while not self._is_outside():
            # The kernel renames one whose name is taken, or nobody has renamed it yet.
            names = device.interfaces_of(self._device)
            for name in names:
                with suppress(OSError):
                    link.set(name, up=False)
                    link.set(name, name=self.ifname)
            if time.monotonic() > end:
                taken = f", and another device has the name {self.ifname}" if self.ifname in link.list_all() else ""
                return [f"{self.ifname} is gone: {self._bound.name} has {', '.join(names) or 'no interface'}{taken}"]
            self.wait(0.2)
        return []

    def _restore(self) -> list[str]:
        return record.restore(self.ifname, self._settings) if self._is_outside() else []

    def _is_outside(self) -> bool:
        """Whether the interface is in the machine's own namespace under its name, which another may have got meanwhile."""
        return self.ifname in link.list_all() and device.bus_device(self.ifname) == self._device

    def wait(self, seconds: float) -> bool:
        """Wait for a change of the machine's interfaces; returns whether there may have been one."""
        try:
            return bool(self.monitor.read(seconds))
        except OSError:  # notifications were lost: what counts is what is there
            return True

    def _load(self) -> None:
        """Load the driver's module if it is not there."""
        if not self._driver.exists():
            in_a_process(lambda: _modprobe(self.described["module"]), BIND_TIMEOUT)

    def _leave(self) -> None:
        """Inside: detach programs, and move the interface to the namespace of this process's parent."""
        for mode in ("native", "generic"):
            with suppress(OSError):
                link.xdp_attach(self.ifname, None, mode=mode)
        link.set(self.ifname, up=False)
        link.set(self.ifname, netns_pid=os.getppid())


def _modprobe(module: str) -> None:
    subprocess.run(["modprobe", module], check=True)


def named(ifname: str) -> str:
    """Return an interface's name; ``to ADDRESS`` is that with this address.

    Raises:
        RefusedError: no interface has it.
    """
    address = ifname.removeprefix("to ")
    if address == ifname:
        return ifname
    for name in link.list_all():
        if any(each["address"].partition("/")[0] == address for each in link.addresses(name)):
            return name
    raise device.RefusedError(f"expected an interface with the address {address}, found none; name the interface")


def unix_listener(path: str) -> socket.socket:
    """Return a socket that listens at a path; its folder is root's alone."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(32)
    return listener


def remove_folder(folder: Path) -> None:
    """Remove a run's folder, and no other."""
    if FOLDER.fullmatch(folder.name):
        shutil.rmtree(folder, ignore_errors=True)
