# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable

import pytest
from plugfest.provision import progress
from rich.console import Console

Shown = Callable[..., io.StringIO]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """``shown(terminal=…)``: what is printed from now on."""

    def replace(*, terminal: bool) -> io.StringIO:
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal, force_interactive=terminal, width=100, color_system=None)
        monkeypatch.setattr(progress, "console", console)
        return text

    return replace


def test_lines_where_there_is_no_terminal(shown: Shown) -> None:
    text = shown(terminal=False)
    with progress.activity("unpacking [a]"):
        assert text.getvalue() == "unpacking [a] …\n"
    assert re.fullmatch(r"unpacking \[a\] …\nunpacking \[a\]: \d+\.\d s\n", text.getvalue())


def test_a_bar_that_follows_what_is_measured(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LOOK", 0.01)
    text = shown(terminal=True)
    looked = threading.Semaphore(0)

    def measure() -> float:
        looked.release()
        return 7.0  # more than expected: the bar does not overrun

    with progress.activity("kernel", measure), progress.activity("its modules"):
        assert looked.acquire(timeout=10)
        assert looked.acquire(timeout=10)
    assert "kernel" in text.getvalue()
    assert "its modules" in text.getvalue()
    assert re.search(r"its modules: \d+\.\d s[^a-z]*\n", text.getvalue())
    assert progress._display is None


def test_a_display_ends_with_what_fails(shown: Shown) -> None:
    shown(terminal=True)
    with pytest.raises(OSError, match="broken"), progress.activity("kernel"):
        raise OSError("broken")
    assert progress._display is None
