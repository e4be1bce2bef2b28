# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver under test and its device: bound, unbound, loaded, unloaded.

Source: Documentation/driver-api/driver-model/binding.rst; Documentation/ABI/testing/sysfs-bus-pci.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from plugfest.machine.agent import AgentError, AgentTimeout

if TYPE_CHECKING:
    from plugfest.machine.machine import Machine


class Binding:
    """What binds the device under test to its driver.

    Attributes:
        device: its folder in sysfs; of a virtio device, the virtio bus's.
        driver: the driver's folder.
    """

    def __init__(self, machine: Machine) -> None:
        """Find out; the driver must be bound.

        Raises:
            DriverLoadError: the driver created no netdev.
        """
        if machine.load_error is not None:
            raise machine.load_error
        self._machine = machine
        self._agent = machine.agent
        self._hung: AgentTimeout | None = None
        link = f"/sys/class/net/{machine.ifname}/device"
        self.device: str = self._agent.call("files.resolve", path=link)
        self.driver: str = self._agent.call("files.resolve", path=f"{link}/driver")

    @property
    def name(self) -> str:
        """The device's name on its bus."""
        return PurePosixPath(self.device).name

    @property
    def bound(self) -> bool:
        """Whether the device has a driver."""
        return bool(self._agent.call("files.exists", path=f"{self.device}/driver"))

    def interfaces(self) -> list[str]:
        """Return the interfaces that belong to the device."""
        return [PurePosixPath(path).name for path in self._agent.call("files.glob", path=f"{self.device}/net/*")]

    def unbind(self) -> None:
        """Take the driver off the device.

        Raises:
            AssertionError: the kernel rejects it.
        """
        self._write(f"{self.driver}/unbind")

    def bind(self) -> None:
        """Bind the driver to the device, wait for its interface, give that its addresses.

        Raises:
            AssertionError: the driver rejects the device, or creates no interface.
        """
        self._write(f"{self.driver}/bind")
        self._machine.configure()

    def _write(self, path: str) -> None:
        try:
            self._agent.call("files.write", path=path, text=self.name)
        except AgentTimeout as error:
            self._hung = error
            raise
        except AgentError as error:
            raise AssertionError(f"`echo {self.name} > {path}`: {error.message}") from error

    def others(self) -> list[str]:
        """Return the names of the other devices that the driver has, as that by which a guest is reached: it cannot be unloaded."""
        paths = self._agent.call("files.glob", path=f"{self.driver}/*/driver")
        found = {PurePosixPath(path).parent.name for path in paths}
        return sorted(found - {self.name})

    def kept_loaded_by(self) -> str | None:
        """Return why the driver's module cannot be unloaded, whatever the driver does; None if it can be."""
        if not self.loaded:
            return f"{self._module} is built in"
        others = self.others()
        if others:
            return f"the driver has other devices, too: {', '.join(others)}"
        paths = self._agent.call("files.glob", path=f"/sys/module/{self._module}/holders/*")
        holders = sorted(PurePosixPath(path).name for path in paths)
        return f"other modules use {self._module}: {', '.join(holders)}" if holders else None

    def unload(self) -> None:
        """Unload the driver's module."""
        self._machine.unload_driver()

    def load(self) -> None:
        """Load the driver's module and set its interface up."""
        self._machine.load_driver()

    @property
    def loaded(self) -> bool:
        """Whether the driver's module is there; one that is built in is not."""
        return self._module in self._agent.call("system.modules")

    @property
    def _module(self) -> str:
        """The module's name as the kernel writes it, with underscores."""
        return self._machine.driver.module.replace("-", "_")

    def restore(self) -> None:
        """Have the driver loaded, bound and its interface set up, whatever came before.

        Raises:
            AgentTimeout: the kernel has not returned from binding or unbinding, and holds the device's lock: another write would hang, too.
        """
        if self._hung is not None:
            raise self._hung
        if not self.loaded and not self._agent.call("files.exists", path=self.driver):  # it may be built in
            self.load()
        elif not self.bound:
            self.bind()
        elif not self.interfaces():
            self.unbind()
            self.bind()
