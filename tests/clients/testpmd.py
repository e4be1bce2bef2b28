# SPDX-License-Identifier: GPL-2.0-or-later
"""``dpdk-testpmd`` in a guest, by its prompt.

Source: DPDK 24.11, "Testpmd Application User Guide".
"""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from paramiko import Channel
from plugfest.machine.guest import Guest

PROMPT = "testpmd> "
_TERMINAL = "import pty, sys; pty.spawn(sys.argv[1:])"
"""It writes lines at once to a terminal only."""
_MEMORY = ("--legacy-mem", "--huge-unlink")
"""All pages at once, in the order of their addresses: a page list of gVNIC's is larger than one, and must be contiguous."""
_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_START, _COMMAND = 30.0, 10.0
"""Seconds, on a guest of speed 1."""


class TestpmdError(Exception):
    """It did not answer as its guide says; the message has what it printed."""

    __test__ = False


class Testpmd:
    """A running testpmd.

    Attributes:
        banner: what it printed before its first prompt.
    """

    __test__ = False

    def __init__(
        self, guest: Guest, device: str, *, eal: Sequence[str] = (), options: Sequence[str] = (), mbufs: int = 8192
    ) -> None:
        """Start it on one device, and wait for its prompt.

        Args:
            guest: where.
            device: PCI address.
            eal: more options of EAL.
            options: more options of testpmd's own.
            mbufs: how many buffers there are.

        Raises:
            TestpmdError: it ended, or shows no prompt.
        """
        self._guest = guest
        own = ["-i", f"--total-num-mbufs={mbufs}", *options]
        words = ["dpdk-testpmd", "-l", "0,1", *_MEMORY, "--no-telemetry", "-a", device, *eal, "--", *own]
        self._channel: Channel = guest.ssh.channel(f"exec python3 -S -c '{_TERMINAL}' {' '.join(words)}")
        self._text = ""
        self.banner = self._until_prompt(_START, " ".join(words))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def command(self, text: str, seconds: float = _COMMAND) -> str:
        """Type a command; return what it prints.

        Args:
            text: the command.
            seconds: until its prompt, on a guest of speed 1.

        Raises:
            TestpmdError: it does not know the command, has ended, or shows no prompt.
        """
        self._text = ""
        self._channel.sendall(f"{text}\n".encode())
        printed = self._until_prompt(seconds, text)
        _, _, answer = printed.partition("\n")  # the first line is the echo
        if re.search(r"^(Bad arguments|Command not found|Ambiguous command)", answer, re.MULTILINE):
            raise TestpmdError(f"{text}: {answer.strip()}")
        return answer

    def commands(self, *texts: str) -> str:
        """Type several; return what they print."""
        return "".join(self.command(text) for text in texts)

    def wait_for(self, text: str, wanted: Callable[[str], bool], seconds: float = 10.0) -> str:
        """Repeat a command until its output is as wanted; return that, or the last.

        Args:
            text: the command.
            wanted: of what it prints.
            seconds: on a guest of speed 1.
        """
        limit = self._guest.deadline(seconds)
        while True:
            answer = self.command(text)
            if wanted(answer) or limit.passed:
                return answer
            time.sleep(0.2)

    def printed(self, wanted: Callable[[str], bool], seconds: float = 10.0) -> str:
        """Return what it printed since the last prompt, as soon as that is as wanted, or after so many seconds."""
        limit = self._guest.deadline(seconds)
        while not wanted(self._text) and not limit.passed:
            self._read(0.2)
        return self._text

    def reconfigure(self, *texts: str) -> None:
        """Type commands while the port is stopped, and wait for its link when it is started again.

        Raises:
            TestpmdError: the link does not come up.
        """
        self.commands("port stop 0", *texts)
        started = self.command("port start 0", _START)
        if "Fail" in started:
            raise TestpmdError(f"port start 0: {started.strip()}")
        self.await_link(up=True)

    def await_link(self, *, up: bool) -> None:
        """Wait until the port's link is up, or down.

        Raises:
            TestpmdError: it is not.
        """
        wanted = f"Link status: {'up' if up else 'down'}"
        found = self.wait_for("show port info 0", lambda text: wanted in text)
        if wanted not in found:
            raise TestpmdError(f"expected {wanted.lower()}, found:\n{found}")

    @contextmanager
    def forwarding(self, mode: str) -> Iterator[None]:
        """Forward in a mode meanwhile."""
        self.commands(f"set fwd {mode}", "start")
        try:
            yield
        finally:
            self.command("stop")

    @contextmanager
    def showing(self) -> Iterator[Callable[[int], list[Packet]]]:
        """Receive and print packets meanwhile; yields what waits for so many and returns what there is."""

        def seen(count: int) -> list[Packet]:
            text = self.printed(lambda text: len(packets(text)) >= count)
            self._text = ""
            return packets(text)

        self.command("set verbose 1")
        try:
            with self.forwarding("rxonly"):
                yield seen
        finally:
            self.command("set verbose 0")

    def stats(self) -> dict[str, int]:
        """Return ``show port stats``, and ``show port xstats``, by name."""
        return counters(self.command("show port stats 0")) | counters(self.command("show port xstats 0"))

    def close(self) -> None:
        """End it. Idempotent."""
        if self._channel.closed:
            return
        try:
            self._channel.sendall(b"quit\n")
            limit = self._guest.deadline(_START)
            while not self._channel.exit_status_ready() and not limit.passed:
                self._read(0.2)
        except OSError:
            pass
        self._channel.close()

    def _until_prompt(self, seconds: float, what: str) -> str:
        limit = self._guest.deadline(seconds)
        while PROMPT not in self._text:  # events are printed behind it
            if limit.passed or (self._channel.exit_status_ready() and not self._channel.recv_ready()):
                why = "no prompt in time" if limit.passed else "it ended"
                raise TestpmdError(f"{what}: {why}; it printed:\n{self._text[-4000:]}")
            self._read(min(0.2, max(limit.remaining, 0.01)))
        text, _, self._text = self._text.partition(PROMPT)
        return text

    def _read(self, seconds: float) -> None:
        if select.select([self._channel], [], [], seconds)[0]:
            text = self._channel.recv(1 << 16).decode("utf-8", "replace")
            self._text = _ESCAPE.sub("", self._text + text).replace("\r", "")


def counters(text: str) -> dict[str, int]:
    """Return the numbers of ``show port stats`` or ``show port xstats`` by name."""
    return {name: int(value) for name, value in re.findall(r"([A-Za-z][\w-]*):\s+(\d+)", text)}


@dataclass(frozen=True)
class Packet:
    """A received packet, as ``set verbose 1`` prints it.

    Attributes:
        source: hardware address of the sender.
        length: bytes, without what was stripped.
        queue: on which it came.
        hash: of RSS; None without one.
        tag: the tag control of a VLAN tag that the device stripped; None without one.
        kinds: the packet type that the device gives, as ``L3_IPV4``.
        flags: of the buffer, without their prefix, as ``RX_L4_CKSUM_GOOD``.
    """

    source: str
    length: int
    queue: int
    hash: int | None
    tag: int | None
    kinds: frozenset[str]
    flags: frozenset[str]


_PACKET = re.compile(r"^ +src=(?P<source>[0-9A-Fa-f:]{17}) - (?P<fields>.*)\n +ol_flags: (?P<flags>.*)\n", re.MULTILINE)


def packets(text: str) -> list[Packet]:
    """Return the packets of what testpmd printed."""
    found = []
    for match in _PACKET.finditer(text):
        fields = match["fields"]

        def number(pattern: str, fields: str = fields) -> int | None:
            value = re.search(pattern, fields)
            return None if value is None else int(value[1], 0)

        kinds = re.search(r"hw ptype: ([A-Z0-9_ ]+?) +-", fields)
        flags = (name.removeprefix("RTE_MBUF_F_") for name in match["flags"].split())
        found.append(
            Packet(
                match["source"].lower(),
                number(r"length=(\d+)") or 0,
                number(r"Receive queue=(0x[0-9a-f]+)") or 0,
                number(r"RSS hash=(0x[0-9a-f]+)"),
                number(r"VLAN tci=(0x[0-9a-f]+)"),
                frozenset(kinds[1].split() if kinds else ()),
                frozenset(flags),
            )
        )
    return found
