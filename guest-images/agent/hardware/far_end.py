# SPDX-License-Identifier: GPL-2.0-or-later
"""The far end of the wire: passes each frame of an interface to the runner, and puts on the wire what the runner sends.

``python3 -m agent.hardware.far_end IFNAME lent|here``, over SSH or in a network namespace of the runner's host. ``lent``: the interface
of a NIC, taken into a namespace of its own meanwhile. ``here``: any interface of the namespace in which this runs; it stays there.

Both directions of its standard input and output carry messages: `HEADER` (kind and length), then the contents. At the end of the
input it puts the interface's settings back. The interface sees frames whole: it does not merge them on receipt, takes those of any
length and address, and sends nothing of its own.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from agent.ethtool import features
from agent.hardware import kernel_log, record
from agent.hardware.device import RefusedError
from agent.hardware.loan import Loan, LoanError, named, remove_folder
from agent.hardware.namespace import InsideError
from agent.netlink import link
from agent.system.interface import interface_index

HEADER = struct.Struct(">BI")
FRAME, SYNC, EVENT = 0, 1, 2
"""Kinds: a frame; a number that comes back behind all frames that were on the wire by then, with how many were lost; JSON."""
LONGEST = 1 << 17
MTUS = (16_000, 9702, 9216, 9000)
"""To try, beside the interface's own largest: the suite sends frames up to the largest MTU of the interface under test."""
MERGING = ("rx-gro", "rx-gro-hw", "rx-gro-list", "rx-lro", "rx-udp-gro-forwarding")
"""Features by which several frames become one before a packet socket sees them."""
QUEUE = 10_000
BUFFER = 256 << 20
BURST = 256
MOST_WAITING = 8 << 20
"""Bytes for the runner above which frames wait in the packet socket."""
SILENCE = 300.0
"""Seconds without a message after which the runner is gone, though its stream seems to stand: it sends `SYNC` every few seconds."""
SEND_TIMEOUT = 5.0
"""Seconds for a device to take a frame: one without a carrier may never."""
ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_STATISTICS, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 1, 6, 8, 23
PACKET_MR_PROMISC = 1
AUXDATA = struct.Struct("=IIIHHHH")
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32


class Relay:
    """Passes frames between an interface and a stream.

    Attributes:
        terminated: whether the host wants this program to end.
    """

    terminated = False

    def __init__(self, ifname: str, reading: int, writing: int) -> None:
        """Bind to the interface; what is on the wire from now on is passed on.

        Args:
            ifname: the interface.
            reading: descriptor of the stream from the runner.
            writing: descriptor of the stream to the runner.
        """
        self._reading, self._writing = reading, writing
        self._lost = 0
        self._stuck = False
        self._incoming, self._outgoing = bytearray(), bytearray()
        os.set_blocking(writing, False)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        for option, fallback in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER)
            except OSError:
                self._socket.setsockopt(socket.SOL_SOCKET, fallback, BUFFER)
        self._socket.bind((ifname, ETH_P_ALL))
        membership = struct.pack("=iHH8s", interface_index(ifname), PACKET_MR_PROMISC, 0, b"")
        self._socket.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
        self._socket.setblocking(False)

    def run(self) -> None:
        """Pass frames on until the stream ends, or nothing has come by it for `SILENCE`.

        It never waits to write to the stream: the runner may wait for this end to read.
        """
        received = time.monotonic()
        while time.monotonic() - received < SILENCE and not self.terminated:
            poll = select.poll()
            poll.register(self._reading, select.POLLIN)
            if self._outgoing:
                poll.register(self._writing, select.POLLOUT)
            if len(self._outgoing) < MOST_WAITING:
                poll.register(self._socket, select.POLLIN)
            ready = {fd for fd, _ in poll.poll(1000)}
            if self._socket.fileno() in ready:
                self._pass_on()
            if self._reading in ready:
                data = os.read(self._reading, 1 << 18)
                if not data:
                    return
                received = time.monotonic()
                self._incoming += data
                self._take()
            if self._outgoing:
                with suppress(BlockingIOError):
                    del self._outgoing[: os.write(self._writing, self._outgoing)]

    def finish(self) -> None:
        """Write what is left for the runner, so that an event can follow, unless it reads nothing for `SEND_TIMEOUT`."""
        poll = select.poll()
        poll.register(self._writing, select.POLLOUT)
        while self._outgoing and poll.poll(SEND_TIMEOUT * 1000):
            with suppress(BlockingIOError):
                del self._outgoing[: os.write(self._writing, self._outgoing)]

    def _pass_on(self) -> bool:
        """Take a burst of frames for the runner; returns whether there may be more."""
        for _ in range(BURST):
            try:
                data, ancillary, _, _ = self._socket.recvmsg(LONGEST, socket.CMSG_SPACE(AUXDATA.size))
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno != errno.ENETDOWN:  # reported once; frames go on when it is up again
                    raise
                continue
            for level, kind, value in ancillary:
                if level == SOL_PACKET and kind == PACKET_AUXDATA:
                    data = with_tag(data, value)
            self._outgoing += HEADER.pack(FRAME, len(data)) + data
        return True

    def _take(self) -> None:
        """Carry out the whole messages of the runner that have come."""
        at = 0
        while at + HEADER.size <= len(self._incoming):
            kind, length = HEADER.unpack_from(self._incoming, at)
            end = at + HEADER.size + length
            if end > len(self._incoming):
                break
            contents = bytes(self._incoming[at + HEADER.size : end])
            at = end
            if kind == FRAME:
                self._send(contents)
            elif kind == SYNC:
                while self._pass_on():
                    pass
                self._lost += struct.unpack("=II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
                self._outgoing += HEADER.pack(SYNC, len(contents) + 4) + contents + struct.pack(">I", self._lost)
        del self._incoming[:at]

    def _send(self, frame: bytes) -> None:
        """Put a frame on the wire; one that the device has no room for within `SEND_TIMEOUT` is lost, and those after it at once."""
        end = time.monotonic() + (0 if self._stuck else SEND_TIMEOUT)
        while True:
            try:
                self._socket.send(frame)
            except OSError as error:
                if error.errno in (errno.ENETDOWN, errno.EMSGSIZE, errno.EINVAL):
                    return  # not on the wire, as with a cable that is unplugged
                # Its queue is full; or the device is slower than the runner.
                if error.errno not in (errno.EAGAIN, errno.ENOBUFS):
                    raise
                if time.monotonic() >= end or self._is_left(0.001 if error.errno == errno.ENOBUFS else 0.01):
                    self._stuck = True
                    self._lost += 1
                    return
            else:
                self._stuck = False
                return

    def _is_left(self, seconds: float) -> bool:
        """Wait; returns whether the runner has ended its stream, or this program is to end."""
        poll = select.poll()
        poll.register(self._reading, select.POLLRDHUP)
        return bool(poll.poll(seconds * 1000)) or self.terminated


def write_all(fd: int, data: bytes | bytearray) -> None:
    """Write all of the data to a descriptor."""
    os.set_blocking(fd, True)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def with_tag(data: bytes, auxdata: bytes) -> bytes:
    """Put the VLAN tag back that the kernel took off."""
    status, _, _, _, _, tci, tpid = AUXDATA.unpack(auxdata[: AUXDATA.size])
    if not status & TP_STATUS_VLAN_VALID:
        return data
    kind = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
    return data[:12] + struct.pack("!HH", kind, tci) + data[12:]


def prepare(ifname: str) -> int:
    """Have an interface show frames as they are on the wire, and send nothing unasked; returns its MTU.

    Raises:
        OSError: the kernel refuses it.
    """
    with suppress(OSError):  # a kernel without IPv6
        Path(f"/proc/sys/net/ipv6/conf/{ifname}/disable_ipv6").write_text("1")
    found = features.get(ifname)
    on = {*found["hw"]} & {*MERGING} & {*found["wanted"]}
    if on:
        features.set(ifname, dict.fromkeys(sorted(on), False))
    mtu = int(link.get(ifname)["mtu"])
    largest = int(link.get(ifname).get("max-mtu") or 0)
    for size in sorted({largest, *MTUS}, reverse=True):
        if mtu < size <= MTUS[0]:
            with suppress(OSError):
                link.set(ifname, mtu=size)
                break
    link.set(ifname, txqlen=max(QUEUE, int(link.get(ifname)["txqlen"])), up=True)
    return int(link.get(ifname)["mtu"])


def event(writing: int, name: str, **fields: Any) -> None:
    """Write an event to the runner, if it is still there."""
    with suppress(OSError):
        data = json.dumps({"event": name, **fields}).encode()
        write_all(writing, HEADER.pack(EVENT, len(data)) + data)


def serve_here(ifname: str, writing: int) -> int:
    """Serve with an interface that stays where it is."""
    try:
        ifname = named(ifname)
        if ifname not in link.list_all():
            others = [name for name in link.list_all() if name != "lo"]
            raise RefusedError(
                f"expected the interface {ifname}, found {', '.join(others) or 'none'}; correct its name"
            )
        before = record.read(ifname)
    except (RefusedError, OSError) as error:
        event(writing, "refused", reason=str(error))
        return 1
    failures = _relay(ifname, writing)
    _return(ifname, writing, failures + record.restore(ifname, before))
    return 0


def serve_lent(ifname: str, writing: int) -> int:
    """Serve with the interface of a NIC, taken into a namespace of its own meanwhile."""
    try:
        loan = Loan(ifname, os.environ.get("SSH_CONNECTION", ""))
    except (RefusedError, OSError) as error:
        event(writing, "refused", reason=str(error))
        return 1
    failures: list[str] = []
    try:
        loan.take(_pause)
    except Exception as error:  # whatever it is, the interface is given back
        event(writing, "refused", reason=str(error) or type(error).__name__)
    else:
        try:
            failures += _relay_inside(loan, writing)
        except Exception as error:
            failures.append(f"its relay failed: {error}")
    _return(loan.ifname, writing, failures + loan.give_back())
    return 0


def _return(ifname: str, writing: int, failures: list[str]) -> None:
    kernel_log.write(f"{ifname} was given back" + "".join(f"; {each}" for each in failures))
    event(writing, "returned", failures=failures)


def _relay_inside(loan: Loan, writing: int) -> list[str]:
    """Pass frames in a process inside the namespace, and take the interface in whenever it comes outside; returns what failed."""
    reading, problems = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            loan.namespace.enter()
            os.write(problems, "\n".join(_relay(loan.ifname, writing)).encode())
        finally:
            os._exit(0)
    os.close(problems)
    try:
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if Relay.terminated:
                os.kill(child, signal.SIGTERM)
            if loan.wait(0.5):
                with suppress(LoanError, InsideError, OSError):
                    loan.adopt()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    with os.fdopen(reading) as file:
        return file.read().splitlines()


def _terminate(*_: object) -> None:
    Relay.terminated = True


def _pause() -> None:
    while True:
        signal.pause()


def _relay(ifname: str, writing: int) -> list[str]:
    """Prepare the interface and pass frames until the runner's stream ends; returns what failed once it was ready."""
    try:
        mtu = prepare(ifname)
        relay = Relay(ifname, sys.stdin.fileno(), writing)
    except Exception as error:
        event(writing, "refused", reason=f"{ifname}: {error}")
        return []
    event(writing, "ready", ifname=ifname, mtu=mtu)
    try:
        relay.run()
        relay.finish()
    except Exception as error:
        return [f"its relay failed: {error}"]
    return []


def main(ifname: str, how: str) -> int:
    """Serve until the runner's stream ends."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)
    writing = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if how == "here":
        return serve_here(ifname, writing)
    try:
        return serve_lent(ifname, writing)
    finally:
        remove_folder(Path(__file__).parents[2])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
