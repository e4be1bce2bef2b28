# SPDX-License-Identifier: MIT
"""`nicmodels`, or `python -m nicmodels`: list the models, serve one, begin a new one."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from nicmodels.models.registry import UnknownModelError, find, models
from nicmodels.new_model import NewModelError, is_found, write_model
from nicmodels.nic.device import Options
from nicmodels.server.serve import ServeError, ServeOptions, configure_logging, serve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nicmodels.models.registry import Model

USAGE_ERROR = 2


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(USAGE_ERROR, f"{self.prog}: {message}\n")


def mac_address(text: str) -> bytes:
    """Parse an address such as `02:70:66:00:00:01` into six bytes.

    Raises:
        argparse.ArgumentTypeError: not an address, or not a unicast address.
    """
    parts = text.split(":")
    try:
        mac = bytes(int(part, 16) for part in parts)
    except ValueError:
        mac = b""
    if len(mac) != 6 or any(len(part) != 2 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: expected six bytes as in 02:70:66:00:00:01")
    if mac[0] & 1 or not any(mac):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a unicast address")
    return mac


def queue_count(text: str) -> int:
    """Parse a number of queue pairs.

    Raises:
        argparse.ArgumentTypeError: not a positive number.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of queues, 1 or more")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = _Parser(prog="nicmodels", description="NIC models, served to QEMU over vfio-user.")
    commands = top.add_subparsers(dest="command", required=True, parser_class=_Parser)
    listing = commands.add_parser("list", help="list the models and their profiles")
    listing.add_argument("--faults", action="store_true", help="list the fault points of all models instead")
    listing.add_argument("--json", action="store_true", help="print the models and their profiles as JSON")
    listing.add_argument("model", nargs="?", help="list only this model")
    one = commands.add_parser("serve", help="serve a model until SIGTERM, or until the parent process ends")
    one.add_argument("model", help="the model's name; see list")
    one.add_argument("--socket", type=Path, required=True, help="path of the vfio-user socket")
    one.add_argument("--control", type=Path, help="path of the control socket (JSON-RPC 2.0); none by default")
    one.add_argument("--wire", default="null", help="tap:NAME, pair:PATH or null (the default)")
    one.add_argument("--profile", help="the variant; see list")
    one.add_argument("--mac", type=mac_address, help="the permanent MAC address")
    one.add_argument("--queues", type=queue_count, help="the number of queue pairs")
    one.add_argument("--fault", action="append", default=[], metavar="NAME", help="arm a fault point; may be repeated")
    one.add_argument("--log-level", default="WARNING", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    one.add_argument("--profiler", type=Path, metavar="FILE", help="write cProfile statistics at the end")
    one.add_argument(
        "--unprivileged",
        type=Path,
        metavar="FOLDER",
        help="once all is open, run in FOLDER as nobody where there is such a user, without capabilities, with limits on memory and files",
    )
    new = commands.add_parser("new", help="write the package of a new model, which runs at once")
    new.add_argument("name", help="the model's name")
    new.add_argument(
        "--into", type=Path, metavar="FOLDER", help="where to; by default nicmodels/models of the checkout"
    )
    return top


def _fault_names(chosen: Iterable[Model]) -> str:
    points = {point.name for model in chosen for point in model.faults}
    return "".join(f"{name}\n" for name in sorted(points))


def _profiles(chosen: Iterable[Model]) -> str:
    lines = []
    for model in sorted(chosen, key=lambda model: model.name):
        lines.append(f"{model.name}: {model.description}\n")
        for profile, text in model.profiles.items():
            mark = " (default)" if profile == model.default_profile else ""
            lines.append(f"  {profile}: {text}{mark}\n")
    return "".join(lines)


def _as_json(chosen: Iterable[Model]) -> str:
    listed = [
        {
            "name": model.name,
            "description": model.description,
            "profiles": dict(model.profiles),
            "default_profile": model.default_profile,
            "faults": [{"name": point.name, "text": point.text} for point in model.faults],
        }
        for model in sorted(chosen, key=lambda model: model.name)
    ]
    return json.dumps(listed, indent=2) + "\n"


def _new(name: str, into: Path | None) -> int:
    try:
        package = write_model(name, into)
    except NewModelError as error:
        sys.stderr.write(f"nicmodels: {error}\n")
        return USAGE_ERROR
    sys.stdout.write(f"wrote {package}\n")
    if not is_found(package):
        sys.stdout.write(f"export NICMODELS_PATH={package.parent.resolve()}  # so that it is found\n")
    sys.stdout.write(f"python -m nicmodels serve {name} --socket /tmp/{name}.sock --wire null\n")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run; returns the exit status: 0, or 2 after one line on standard error."""
    top = parser()
    options = top.parse_args(arguments)
    if options.command == "list":
        try:
            chosen = [find(options.model)] if options.model else list(models().values())
        except UnknownModelError as error:
            top.error(str(error))
        if options.json:
            sys.stdout.write(_as_json(chosen))
        else:
            sys.stdout.write(_fault_names(chosen) if options.faults else _profiles(chosen))
        return 0
    if options.command == "new":
        return _new(options.name, options.into)
    configure_logging(options.log_level)
    try:
        model = find(options.model)
        wanted = Options(options.profile, options.mac, options.queues)
        serve(
            model,
            ServeOptions(
                options.socket,
                options.control,
                options.wire,
                wanted,
                tuple(options.fault),
                options.profiler,
                options.unprivileged,
            ),
        )
    except (UnknownModelError, ServeError) as error:
        sys.stderr.write(f"nicmodels: {error}\n")
        return USAGE_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
