# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs run directly from unpacked packages, with the packages' own dynamic loader and libraries."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plugfest.errors import InfrastructureError

_LOADER = "usr/lib64/ld-linux-x86-64.so.2"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True)
class Unpacked:
    """A folder of unpacked packages.

    Attributes:
        root: the folder.
        libraries: further library folders, relative to it.
    """

    root: Path
    libraries: tuple[str, ...] = ()

    def argv(self, program: str) -> tuple[str, ...]:
        """Return the argv prefix that runs a program, given by its path in the folder.

        It never uses the host's libraries: a libc that is newer than the host's needs its own loader (ld.so(8)).

        Raises:
            InfrastructureError: the program does not exist.
        """
        path = self.root / program
        if not path.exists():
            raise InfrastructureError(f"expected {program} in {self.root}, found none; run plugfest cache verify")
        folders = ":".join(str(self.root / folder) for folder in (_LIBRARIES, *self.libraries))
        return (str(self.root / _LOADER), "--inhibit-cache", "--library-path", folders, str(path))

    def run(
        self,
        program: str,
        arguments: Sequence[str | Path],
        *,
        stdin: bytes | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run a program and return its output.

        Raises:
            InfrastructureError: it failed; the message has its error or last line of output.
        """
        command = [*self.argv(program), *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, env=env, check=False)
        if done.returncode != 0:
            output = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
            lines = output.splitlines() or ["no message"]
            # The last line of a compiler is only the number of its errors.
            line = next((line for line in lines if "error:" in line), lines[-1])
            raise InfrastructureError(
                f"expected {Path(program).name} to succeed, found exit status {done.returncode}: {line}"
            )
        return done.stdout
