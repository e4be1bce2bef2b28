# SPDX-License-Identifier: GPL-2.0-or-later
"""Inputs: the corpus, as text in hexadecimal, and what is made of it from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 320
"""Bytes."""


def read(path: Path) -> list[bytes]:
    """The inputs of a file: one a line in hexadecimal, after which `#` begins a comment.

    Raises:
        ValueError: a line is not hexadecimal.
    """
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            found.append(bytes.fromhex(text))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: expected bytes in hexadecimal, found {text[:40]!r}") from error
    return found


def write(path: Path, inputs: Sequence[bytes], why: str) -> None:
    """Write a file that `read` reads."""
    lines = [f"# {line}" for line in why.splitlines()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, *(each.hex() for each in inputs)]) + "\n")


def corpus(target: str) -> list[bytes]:
    """The inputs in the repository for a target."""
    return read(CORPUS / f"{target}.txt")


def generate(seed: int, seeds: Sequence[bytes]) -> Iterator[bytes]:
    """Inputs without end, the same ones for the same seed: some are random, most are changed from `seeds` and from each other."""
    choice = random.Random(seed)
    pool = list(seeds)
    while True:
        if not pool or choice.random() < 0.2:
            data = choice.randbytes(choice.randrange(8, LONGEST))
        else:
            data = _changed(choice, bytearray(choice.choice(pool)), pool)
        yield data
        if len(pool) < 4096:
            pool.append(data)
        elif choice.random() < 0.05:
            pool[choice.randrange(len(seeds), len(pool))] = data


def _changed(choice: random.Random, data: bytearray, pool: Sequence[bytes]) -> bytes:
    for _ in range(choice.choice((1, 1, 2, 4, 8))):
        at = choice.randrange(len(data) + 1)
        kind = choice.randrange(6)
        if kind == 0 and at < len(data):
            data[at] = choice.randrange(256)
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << choice.randrange(8)
        elif kind == 2:
            data[at:at] = choice.randbytes(choice.randrange(1, 9))
        elif kind == 3:
            del data[at : at + choice.randrange(1, 9)]
        elif kind == 4:
            other = choice.choice(pool)
            start = choice.randrange(len(other) + 1)
            data[at:at] = other[start : start + choice.randrange(1, 65)]
        else:
            data[at : at + 4] = choice.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\0\0\0", b"\0\0\1\0"))
    return bytes(data[:LONGEST])
