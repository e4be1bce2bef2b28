# SPDX-License-Identifier: GPL-2.0-or-later
"""``tox -e fuzz``: feeds each model, and the vfio-user server, what no driver and no client would send.

    tox -e fuzz                                   10,000 inputs a target
    tox -e fuzz -- --inputs 1000000 --target gve  as many as you like
    tox -e fuzz -- --engine atheris               inputs led by coverage (libFuzzer), where it is installed
    tox -e fuzz -- --replay fuzz-findings/gve.txt --target gve

A finding is written as the inputs since the target was new, as few of them as still show it, and ends the target. The exit status is
then 1.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

_MODEL_TESTS = Path(__file__).parents[1] / "nicmodels"
sys.path[:0] = [
    str(Path(__file__).parent),
    str(_MODEL_TESTS),
    *(str(_MODEL_TESTS / each) for each in ("core", "ixgbe", "xgbe")),
]

import fuzz_inputs  # noqa: E402 - found by the line above

FRESH = 2000
"""Inputs after which a target begins anew: what a finding may depend on."""
INSPECT = 500
NAMES = ("ixgbe", "gve", "gve-qpl", "gve-gqi", "xgbe", "server")


def main() -> int:
    """Fuzz what was asked for."""
    parser = argparse.ArgumentParser(prog="tox -e fuzz --", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", action="append", choices=NAMES, help="default: all, one after the other")
    parser.add_argument("--inputs", type=int, default=10_000, metavar="N", help="of each target (default: %(default)s)")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each target, at most")
    parser.add_argument("--seed", type=int, default=1, help="of the generator (default: %(default)s)")
    parser.add_argument("--engine", choices=("random", "atheris"), default="random", help="default: %(default)s")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder (default: %(default)s)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="feed the inputs of a file, and nothing else")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)  # unknown offsets, refused requests: what fuzzing is about
    names = asked.target or NAMES
    if asked.replay is not None:
        return max(_replay(name, asked.replay) for name in names)
    if asked.engine == "atheris":
        return _lead(names[0], asked) if asked.one else max(_lead_in_process(name, asked) for name in names)
    return max(_fuzz(name, asked) for name in names)


def _replay(name: str, path: Path) -> int:
    error = _tried(name, fuzz_inputs.read(path))
    if error is None:
        print(f"{name}: no finding")  # noqa: T201
        return 0
    traceback.print_exception(error)
    return 1


def _tried(name: str, history: list[bytes]) -> Exception | None:
    """What a new target does with inputs."""
    from fuzz_targets import TARGETS

    target = TARGETS[name]()
    try:
        for data in history:
            target.run(data)
        target.inspect()
    except Exception as error:
        return error
    finally:
        target.close()
    return None


def _fuzz(name: str, asked: argparse.Namespace) -> int:
    """Feed inputs made from the seed."""
    from fuzz_targets import TARGETS

    target = TARGETS[name]()
    seeds = fuzz_inputs.corpus(name)
    history: list[bytes] = []
    began, cpu, count = time.monotonic(), time.process_time(), 0
    try:
        for data in itertools.islice(itertools.chain(seeds, fuzz_inputs.generate(asked.seed, seeds)), asked.inputs):
            history.append(data)
            try:
                target.run(data)
                count += 1
                if count % INSPECT == 0:
                    target.inspect()
            except Exception as error:
                if _finding(name, asked.findings, history, error):
                    return 1
            if count % FRESH == 0:
                target.fresh()
                history.clear()
            if asked.seconds is not None and time.monotonic() - began > asked.seconds:
                break
        target.inspect()
    finally:
        target.close()
    took = time.process_time() - cpu
    print(  # noqa: T201
        f"{name}: {count} inputs, seed {asked.seed}, no finding; {took:.0f} s of CPU, {took / max(count, 1) * 1e3:.2f} ms an input; "
        f"longest turn {target.turns.longest * 1e3:.1f} ms",
        flush=True,
    )
    return 0


def _finding(name: str, folder: Path, history: list[bytes], error: Exception) -> bool:
    """Write a finding, with as few inputs as show it; returns whether it shows again."""
    found: tuple[list[bytes], Exception] | None = None
    for length in (1, 2, 4, 16, 64, 256, len(history)):
        again = _tried(name, history[-length:])
        if again is not None:
            found = history[-length:], again
            break
    if found is None:
        print(f"{name}: seen once, and not again: {type(error).__name__}: {error}", flush=True)  # noqa: T201
        return False
    kept = _fewer(found[0], lambda some: _tried(name, some) is not None)
    path = folder / f"{name}.txt"
    fuzz_inputs.write(path, kept, f"{name}: {type(found[1]).__name__}: {found[1]}")
    print(f"{name}: {type(found[1]).__name__}: {found[1]}; {len(kept)} inputs in {path}", flush=True)  # noqa: T201
    return True


def _fewer(history: list[bytes], shows: Callable[[list[bytes]], bool]) -> list[bytes]:
    """Leave out inputs, halves first, while it still shows."""
    size = len(history) // 2
    while size:
        at = 0
        while at < len(history):
            less = history[:at] + history[at + size :]
            if less and shows(less):
                history = less
            else:
                at += size
        size //= 2
    return history


def _lead_in_process(name: str, asked: argparse.Namespace) -> int:
    """libFuzzer ends its process, so each target has its own."""
    command = [sys.executable, __file__, "--engine", "atheris", "--one", "--target", name]
    command += ["--inputs", str(asked.inputs), "--seed", str(asked.seed), "--findings", str(asked.findings)]
    command += [] if asked.seconds is None else ["--seconds", str(asked.seconds)]
    return 1 if subprocess.run(command, check=False).returncode else 0


def _lead(name: str, asked: argparse.Namespace) -> int:
    """Feed inputs that atheris makes, led by the model's coverage; what it keeps is in the findings' folder."""
    import atheris

    with atheris.instrument_imports(include=["nicmodels"]):
        from fuzz_targets import TARGETS
    target = TARGETS[name]()
    history: list[bytes] = []

    def feed(data: bytes) -> None:
        history.append(data)
        try:
            target.run(data)
            if len(history) % INSPECT == 0:
                target.inspect()
        except Exception as error:
            if _finding(name, asked.findings, history, error):
                raise
        if len(history) == FRESH:
            target.fresh()
            history.clear()

    kept = asked.findings / f"corpus-{name}"
    kept.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(fuzz_inputs.corpus(name)):
        (kept / f"seed-{number}").write_bytes(data)
    arguments = [
        f"-runs={asked.inputs}",
        f"-seed={asked.seed}",
        f"-max_len={fuzz_inputs.LONGEST}",
        "-rss_limit_mb=4096",
    ]
    arguments += [] if asked.seconds is None else [f"-max_total_time={int(asked.seconds)}"]
    atheris.Setup([sys.argv[0], *arguments, f"-artifact_prefix={asked.findings}/{name}-", str(kept)], feed)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
