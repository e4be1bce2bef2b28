# SPDX-License-Identifier: GPL-2.0-or-later
"""XDP on the interface under test: what is advertised, attaching, and what a program has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugfest.machine.agent import AgentError, KernelLacksError
from plugfest.requirements import netdev_flags as xdp_flags
from plugfest.statistics.queue_counters import Account, total

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.machine.agent import AgentClient


XDP_FLAGS_DRV_MODE = 1 << 2
"""include/uapi/linux/if_link.h."""
COUNT_TIMEOUT = 1.0
"""Seconds for frames that are on the wire to be counted, on a guest of speed 1."""


@dataclass(frozen=True)
class Program:
    """A loaded program.

    Attributes:
        name: of its object.
        handle: in the agent.
        identifier: the kernel's.
        maps: handles of its maps by name.
    """

    name: str
    handle: int
    identifier: int
    maps: Mapping[str, int]

    @property
    def count(self) -> int:
        """Handle of its map of counters by receive queue."""
        return self.maps["count"]


class Xdp:
    """XDP on the interface under test."""

    def __init__(
        self,
        agent: AgentClient,
        ifname: str,
        *,
        defer: Callable[..., None],
        until: Until,
        advertises: Callable[[Iterable[str]], None],
        attaching: Callable[[], None] = lambda: None,
        remains: Callable[[str], None] | None = None,
    ) -> None:
        """Attach nothing yet.

        Args:
            agent: of the guest.
            ifname: of the interface.
            defer: registers an undo.
            until: waits for a condition.
            advertises: takes what the driver advertises.
            attaching: called once, before the first program is attached: in whatever mode, for the kernel turns LRO off for a generic
                program (net/core/dev.c, generic_xdp_install).
            remains: takes what the driver keeps of a program after the test; None where the interface goes, too.
        """
        self.agent = agent
        self.ifname = ifname
        self._defer = defer
        self._until = until
        self._advertises = advertises
        self._attaching = attaching
        self._remains = remains
        self._prepared = False
        self._passing: Program | None = None

    def advertised(self) -> frozenset[str]:
        """Which flags the driver advertises now (netdev dev-get), by their names in `plugfest.requirements.netdev_flags`."""
        found = self._flags()
        self._advertises(found)
        return found

    def _flags(self) -> frozenset[str]:
        return xdp_flags.advertised(self.agent.call("netdev.dev_get", ifname=self.ifname))

    def features(self) -> set[str]:
        """Which of them are actions (xdp-features), as ``basic``."""
        return xdp_flags.of("xdp-act", self.advertised())

    def max_segments(self) -> int:
        """How many buffers a zero-copy frame may have (xdp-zc-max-segs), 1 where the driver does not report it."""
        return int(self.agent.call("netdev.dev_get", ifname=self.ifname).get(xdp_flags.MAX_SEGS, 1))

    def state(self) -> dict[str, Any]:
        """What the kernel reports as attached."""
        found: dict[str, Any] = self.agent.call("link.xdp", ifname=self.ifname)
        return found

    def load(self, name: str, *, section: bool = False, bound: bool = False, keep: bool = True) -> Program:
        """Load an object of guest-images/bpf, or get it from the agent, which keeps it from test to test; its maps are empty.

        Args:
            name: of the object.
            section: take the program's type from its section, where it is not to be attached to an interface as an XDP program.
            bound: to the interface under test, and no other (BPF_F_XDP_DEV_BOUND_ONLY), as a program has to be that asks for metadata.
            keep: false loads a program of the test's own, which the kernel frees once its handle is closed and nothing uses it.
        """
        device = self.ifname if bound else None
        loaded = self.agent.call("bpf.load", object=name, type=None if section else "xdp", device=device, keep=keep)
        for handle in (loaded["program"], *loaded["maps"].values()):
            self._defer(self.agent.call, "handle.close", handle=handle)
        return Program(name, loaded["program"], loaded["id"], loaded["maps"])

    def load_for_device(self, verdict: int) -> Program:
        """Load a program that does no more than return `verdict`, to be run by the device (offload); it is unloaded when the test ends.

        Raises:
            AgentError: the kernel or the driver rejects it.
        """
        loaded = self.agent.call("bpf.load_return", verdict=verdict, device=self.ifname)
        self._defer(self.agent.call, "handle.close", handle=loaded["program"])
        return Program(f"return {verdict}", loaded["program"], loaded["id"], {})

    def attach(self, name: str, mode: str = "native") -> Program:
        """Load and attach; both are undone when the test ends.

        Raises:
            AgentError: the kernel or the driver rejects it.
        """
        program = self.load(name)
        self.attach_program(program, mode)
        return program

    def attach_program(
        self, program: Program, mode: str = "native", *, expected: Program | None = None, if_none: bool = False
    ) -> None:
        """Attach a loaded program; whatever is attached in this mode is detached when the test ends.

        Args:
            program: what to attach.
            mode: native, generic or offload.
            expected: what must be attached now (XDP_FLAGS_REPLACE).
            if_none: only where nothing is attached (XDP_FLAGS_UPDATE_IF_NOEXIST).

        Raises:
            AgentError: the kernel or the driver rejects it.
        """
        self._prepare()
        self.agent.call(
            "link.xdp_attach",
            ifname=self.ifname,
            program=program.handle,
            mode=mode,
            expected=expected.handle if expected else None,
            if_none=if_none,
        )
        self._defer(self.agent.call, "link.xdp_attach", ifname=self.ifname, program=None, mode=mode)

    def _prepare(self) -> None:
        if not self._prepared:
            self._prepared = True
            self._attaching()
            if self._remains is not None:
                with suppress(KernelLacksError):
                    self._defer(self._check_flags, self._flags(), self._remains)

    def _check_flags(self, before: frozenset[str], remains: Callable[[str], None]) -> None:
        """A driver that forgets its program may keep a redirect target's features: vmxnet3 does, once its rings were emptied."""
        changed = before ^ self._flags()
        if changed:
            remains(f"other netdev flags than it found: {', '.join(sorted(changed))}")

    def try_attach(self, name: str, mode: str = "native") -> AgentError | None:
        """Try to attach a program that the driver should reject; returns the error, None if it was attached."""
        return self.try_attach_program(self.load(name), mode)

    def try_attach_program(self, program: Program, mode: str = "native") -> AgentError | None:
        """Try to attach a loaded program; returns the error, None if it was attached."""
        try:
            self.attach_program(program, mode)
        except AgentError as error:
            return error
        return None

    def try_attach_and_detach(self, mode: str = "native") -> AgentError | None:
        """Attach a program that passes all, and detach it at once; returns the error, None if it was accepted."""
        program = self._passing = self._passing or self.load("xdp_pass")
        call = {"ifname": self.ifname, "mode": mode}
        self._prepare()
        try:
            self.agent.call("link.xdp_attach", program=program.handle, **call)
        except AgentError as error:
            return error
        self.agent.call("link.xdp_attach", program=None, **call)
        return None

    def detach(self, mode: str = "native") -> None:
        """Detach what is attached in this mode."""
        self.agent.call("link.xdp_attach", ifname=self.ifname, program=None, mode=mode)

    def link(self, program: Program) -> int:
        """Attach a loaded program by a BPF link, in native mode; returns its handle, which is closed when the test ends.

        Raises:
            AgentError: the kernel or the driver rejects it.
        """
        flags = {"flags": XDP_FLAGS_DRV_MODE}
        self._prepare()
        handle = int(self.agent.call("bpf.link_create", program=program.handle, ifname=self.ifname, **flags))
        self._defer(self.agent.call, "handle.close", handle=handle)
        return handle

    def unlink(self, handle: int) -> None:
        """Close a BPF link, which detaches."""
        self.agent.call("handle.close", handle=handle)

    def watch(self) -> int:
        """Record what is announced of devices from now on (netdev netlink, group mgmt); returns a handle."""
        handle = int(self.agent.call("netdev.monitor_open"))
        self._defer(self.agent.call, "handle.close", handle=handle)
        return handle

    def announced(self, handle: int) -> list[set[str]]:
        """Return the actions (xdp-features) in each announcement of this interface since the last call."""
        announced = self.agent.call("netdev.monitor_read", monitor=handle, ifname=self.ifname)
        return [set(each["xdp-features"]) for each in announced]

    def lro_active(self) -> bool:
        """Whether large receive offload is on."""
        return "rx-lro" in self.agent.call("ethtool.get", ifname=self.ifname, what="features")["active"]

    def seen(self, program: Program) -> dict[int, Account]:
        """What the program has counted, by receive queue, without the queues where nothing came."""
        counters = self.agent.call("bpf.map_counters", map=program.count)
        return {queue: Account(frames, size) for queue, (frames, size) in enumerate(counters) if frames}

    def clear(self, program: Program) -> None:
        """Reset a program's counters."""
        self.agent.call("bpf.map_clear", map=program.count)

    def wait(self, sent: Account, *programs: Program) -> None:
        """Wait until programs, together, have counted exactly what was sent.

        Raises:
            AssertionError: they did not in time; the message says what they have counted.
        """

        def counted() -> Account:
            return total(account for program in programs for account in self.seen(program).values())

        names = " and ".join(program.name for program in programs)
        try:
            self._until(lambda: counted() == sent, what=f"{names} has counted {sent}", timeout=COUNT_TIMEOUT)
        except AssertionError as error:
            raise AssertionError(f"{error}; it has counted {counted()}") from None
