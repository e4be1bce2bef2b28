# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run of a matrix is started by."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from plugfest.matrix import guarded

REPORT = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_run_can_be_interrupted_whoever_starts_it(handler: signal.Handlers) -> None:
    """A shell's background job ignores SIGINT, and so would all that it starts."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        command = [sys.executable, guarded.__file__, str(os.getpid()), sys.executable, "-c", REPORT]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.stdout == "True\n"
