# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames between the remote end and the device under test."""

from __future__ import annotations

from plugfest.falsify.falsification import always, answers, skips


def _damaged(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 0xFF])


ROWS = (
    always(
        "wire:frame.lost",
        "a frame that the remote end sends is lost on the way (match: number, from 0 in each send)",
        {"wire:send": skips()},
    ),
    always(
        "wire:frame.damaged",
        "the last byte of a frame that the remote end sends is inverted (match: number)",
        {"wire:send": answers(_damaged)},
    ),
    always(
        "wire:capture.unseen", "a frame of the device under test is left out of a capture", {"wire:capture": skips()}
    ),
    always(
        "wire:capture.damaged",
        "the last byte of a captured frame of the device under test is inverted",
        {"wire:capture": answers(_damaged)},
    ),
)
