# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures shared by the AF_XDP tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import pytest
from plugfest.dut.settings import Settings
from plugfest.frames.probe import Probe, burst, frames_of
from plugfest.traffic.traffic import FLOWS_PER_QUEUE, SIZES, check_same
from plugfest.xdp.af_xdp import CHUNKS, AfXdp, Mode, Received, Socket, enter_all, open_all, receive_frames
from plugfest.xdp.programs import Program, Xdp

if TYPE_CHECKING:
    from plugfest.deadline import Until
    from plugfest.traffic.traffic import SentFrames, Traffic

Result = TypeVar("Result")


@pytest.fixture(params=("copy", "zero-copy"))
def mode(request: pytest.FixtureRequest, native_redirect: Xdp, require: Callable[..., None]) -> Mode:  # noqa: ARG001 - native
    """Both modes of an AF_XDP socket; skips zero-copy where the driver does not advertise it."""
    chosen: Mode = request.param
    if chosen == "zero-copy":
        require("xdp-act:xsk-zerocopy")
    return chosen


@pytest.fixture
def check_every_socket_received(
    queues_reached_by_rss: set[int],
) -> Callable[[Sequence[Socket], Sequence[Received]], None]:
    """``check_every_socket_received(sockets, found)`` checks that every socket on a queue that test frames reach received some of them."""

    def check(sockets: Sequence[Socket], found: Sequence[Received]) -> None:
        receiving_queues = {each.queue for each in found}
        without = sorted({socket.queue for socket in sockets} & queues_reached_by_rss - receiving_queues)
        assert not without, (
            f"the sockets of queues {without} received no frame; all frames reached queues {sorted(receiving_queues)}"
        )

    return check


@pytest.fixture
def xsk_program(native_redirect: Xdp, queues_reached_by_rss: set[int]) -> Program:  # noqa: ARG001 - before a program is attached
    """A program, attached in native mode, that redirects test frames to the sockets in its map, or passes them to the stack."""
    return native_redirect.attach("xdp_redirect_xsk")


@pytest.fixture
def bind_sockets(
    af_xdp: AfXdp, xsk_program: Program, mode: Mode, traffic: Traffic, settings: Settings
) -> Callable[..., list[Socket]]:
    """``bind_sockets()`` binds a socket with its own umem to each receive queue, posts buffers and waits for the link."""

    def bind(
        *, fill: int = CHUNKS // 2, offset: int = 0, wakeup: bool = True, bind_flags: int = 0, **umem: int
    ) -> list[Socket]:
        umems = af_xdp.umems(traffic.queues(), xsk_program.maps["sockets"], **umem)
        sockets = open_all(dict(enumerate(umems)), mode, wakeup=wakeup, flags=bind_flags)
        enter_all(sockets, fill=fill, offset=offset)
        settings.ready()
        return sockets

    return bind


@pytest.fixture
def send_sentinels(traffic: Traffic) -> Callable[[], set[bytes]]:
    """``send_sentinels()`` sends a short test frame in each flow, to come behind all frames of a burst; returns these frames."""

    def send() -> set[bytes]:
        sentinels = traffic.probes(sizes=SIZES[:1])
        traffic.send(sentinels)
        return set(frames_of(sentinels))

    return send


@pytest.fixture
def check_receive(
    traffic: Traffic,
    check_every_socket_received: Callable[[Sequence[Socket], Sequence[Received]], None],
    send_sentinels: Callable[[], set[bytes]],
    until: Until,
) -> Callable[[Sequence[Socket]], list[Received]]:
    """``check_receive(sockets)`` checks that the sockets receive each test frame exactly once, unchanged; returns the buffers."""

    def check(sockets: Sequence[Socket]) -> list[Received]:
        probes = traffic.probes()
        traffic.send(probes)
        found = receive_frames(sockets, set(frames_of(probes)), until, send_sentinels)
        check_same([each.data for each in found], frames_of(probes), "frames that the sockets received")
        check_every_socket_received(sockets, found)
        assert all(each.options == 0 for each in found), "a descriptor has XDP_PKT_CONTD set"
        assert traffic.nothing_received(), "the stack received a frame as well as the sockets"
        return found

    return check


@pytest.fixture
def check_transmit(
    traffic: Traffic, check_on_wire: Callable[[SentFrames, Sequence[bytes]], None]
) -> Callable[[Sequence[Socket]], None]:
    """``check_transmit(sockets)`` checks that each frame that they send is on the wire exactly once, unchanged, and completed exactly once.

    Sockets on queues that exist for receive only are left out.
    """

    def check(sockets: Sequence[Socket]) -> None:
        sockets = [socket for socket in sockets if socket.queue < traffic.queues("tx")]
        sent: list[bytes] = []
        with traffic.capture_sent() as seen:
            for number, socket in enumerate(sockets):
                first = number * FLOWS_PER_QUEUE * 2 * len(SIZES)
                frames = frames_of(burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES, first=first))
                socket.send(frames)
                sent += frames
            check_on_wire(seen, sent)

    return check


@pytest.fixture
def send_and_check(
    traffic: Traffic, check_on_wire: Callable[[SentFrames, Sequence[bytes]], None]
) -> Callable[[Callable[[], Result], Sequence[bytes]], Result]:
    """``send_and_check(send, wanted)`` calls `send()` and checks that exactly `wanted` is on the wire; returns what `send()` returned."""

    def check(send: Callable[[], Result], wanted: Sequence[bytes]) -> Result:
        with traffic.capture_sent() as seen:
            result = send()
            check_on_wire(seen, wanted)
        return result

    return check


@pytest.fixture
def probes_by_version(traffic: Traffic) -> dict[int, list[Probe]]:
    """Probes from the DUT, of every size, by IP version."""
    return {
        version: burst(traffic.ends_back, flows=FLOWS_PER_QUEUE, sizes=SIZES, versions=(version,), first=100 * version)
        for version in (4, 6)
    }
