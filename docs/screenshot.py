#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes a PNG of a HTML report with headless Chromium: docs/screenshot.py results/latest/report.html docs/report.png."""

from __future__ import annotations

import argparse
import base64
import fcntl
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class NoChromiumError(Exception):
    """This machine has no Chromium."""


def find() -> str:
    """Return the path of Chromium.

    Raises:
        NoChromiumError: there is none in PATH.
    """
    for program in PROGRAMS:
        if found := shutil.which(program):
            return found
    raise NoChromiumError(f"expected one of {', '.join(PROGRAMS)} in PATH, found none; apt install chromium")


class Chromium:
    """A headless Chromium, driven by the DevTools protocol over its pipe.

    Source: https://chromedevtools.github.io/devtools-protocol; the pipe carries JSON messages that end with a NUL byte.

    Attributes:
        errors: what the console has of the page that is open: errors and warnings, and exceptions of its script.
    """

    def __init__(self) -> None:
        """Start it.

        Raises:
            NoChromiumError: there is none in PATH.
        """
        program = find()
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # The pipe is Chromium's descriptors 3 and 4: ends of it that have these numbers move out of each other's way.
        moved = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_in, theirs_out)]
        self._process = os.posix_spawn(
            program,
            [program, *OPTIONS, f"--user-data-dir={self._profile.name}", "about:blank"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, moved[0], 3),
                (os.POSIX_SPAWN_DUP2, moved[1], 4),
            ],
        )
        for end in (theirs_in, theirs_out, *moved):
            os.close(end)
        self._requests = os.fdopen(ours_out, "wb")
        self._answers = os.fdopen(ours_in, "rb")
        self._messages = self._read()
        self.errors: list[str] = []
        self._numbers = itertools.count(1)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        os.kill(self._process, signal.SIGTERM)
        os.waitpid(self._process, 0)
        self._requests.close()
        self._answers.close()
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result.

        Raises:
            RuntimeError: it failed, or Chromium ended.
        """
        number = next(self._numbers)
        request = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            request["sessionId"] = self._session
        self._requests.write(json.dumps(request).encode() + b"\0")
        self._requests.flush()
        answer = self._await(lambda message: message.get("id") == number, method)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(
        self,
        page: Path,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        script: bool = True,
        fragment: str = "",
    ) -> None:
        """Load a page and wait until it is there.

        Args:
            page: an HTML file.
            width: of the window, CSS pixels.
            height: likewise.
            dark: whether the reader prefers dark pages.
            script: whether the page's script runs.
            fragment: what stands behind ``#`` in the address.
        """
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call("Page.navigate", url="about:blank")
        self._await(lambda message: message.get("method") == "Page.loadEventFired", "about:blank")
        self.errors.clear()
        self.call("Page.navigate", url=page.absolute().as_uri() + (f"#{fragment}" if fragment else ""))
        self._await(lambda message: message.get("method") == "Page.loadEventFired", str(page))

    def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript in the page and return its value, which JSON must be able to hold."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """Return a PNG of what the window shows."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def _read(self) -> Iterator[dict[str, Any]]:
        pending = b""
        while chunk := os.read(self._answers.fileno(), 1 << 16):
            *whole, pending = (pending + chunk).split(b"\0")
            yield from map(json.loads, whole)

    def _await(self, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        for message in self._messages:
            parameters = message.get("params", {})
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(parameters["exceptionDetails"]["text"])
            elif message.get("method") == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                self.errors.append(parameters["entry"]["text"])
            if wanted(message):
                return message
        raise RuntimeError(f"{what}: expected an answer of Chromium, found that it ended")


def main() -> None:
    """Parse the command line and make the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="the HTML file")
    parser.add_argument("picture", type=Path, help="the PNG to write")
    parser.add_argument("--width", type=int, default=1280, help="of the window, pixels [default: 1280]")
    parser.add_argument("--height", type=int, default=1100, help="of the window, pixels [default: 1100]")
    parser.add_argument("--dark", action="store_true", help="as a reader sees it who prefers dark pages")
    parser.add_argument("--at", default="", metavar="ID", help="unfold this requirement and go there")
    options = parser.parse_args()
    if not options.page.is_file():
        parser.error(f"{options.page}: expected a HTML file, found none")
    try:
        with Chromium() as browser:
            browser.open(
                options.page, width=options.width, height=options.height, dark=options.dark, fragment=options.at
            )
            options.picture.write_bytes(browser.screenshot())
    except NoChromiumError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
