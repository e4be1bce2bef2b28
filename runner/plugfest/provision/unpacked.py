# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs run in place out of unpacked packages, by those packages' own dynamic loader and libraries."""

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
        libraries: more library folders in it, relative to it.
    """

    root: Path
    libraries: tuple[str, ...] = ()

    def argv(self, program: str) -> tuple[str, ...]:
        """Return the words that run a program, given by its path in the folder.

        The host's libraries are never mixed in: a newer libc than the host's comes with its own loader (ld.so(8)).

        Raises:
            InfrastructureError: it is not there.
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
            InfrastructureError: it failed; the message has its last words.
        """
        words = [*self.argv(program), *map(str, arguments)]
        done = subprocess.run(words, input=stdin, capture_output=True, cwd=cwd, env=env, check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
            lines = said.splitlines() or ["no message"]
            # A compiler's last line only counts its errors.
            line = next((line for line in lines if "error:" in line), lines[-1])
            raise InfrastructureError(
                f"expected {Path(program).name} to work, found exit status {done.returncode}: {line}"
            )
        return done.stdout
