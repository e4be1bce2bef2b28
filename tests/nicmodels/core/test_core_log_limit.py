# SPDX-License-Identifier: GPL-2.0-or-later
"""The limit on the lines of the log."""

from __future__ import annotations

import io
import logging

from nicmodels.registers import RW, Register, RegisterFile, RegisterMap
from nicmodels.server.log_limit import LINES, LogLimit


def test_a_message_has_a_limit_whatever_its_arguments() -> None:
    """A guest that reads every offset of a BAR adds some lines, and other messages are not affected."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(LogLimit())
    logger = logging.getLogger("nicmodels.registers.file")
    logger.addHandler(handler)
    try:
        file = RegisterFile(RegisterMap("test", (Register("ONLY", 0, RW),)))
        for offset in range(4, 40_000, 4):
            file.read(offset)
        logger.warning("another message")
    finally:
        logger.removeHandler(handler)
    lines = stream.getvalue().splitlines()
    assert len(lines) == LINES + 1
    assert lines[LINES - 1].endswith("(the last line of this kind)")
    assert lines[LINES] == "another message"
    assert sum(file.unknown.values()) == 9_999
