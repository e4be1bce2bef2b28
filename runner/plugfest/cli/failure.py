# SPDX-License-Identifier: GPL-2.0-or-later
"""How a command fails: one line and an exit status, never a traceback."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import click

from plugfest.errors import InfrastructureError, PlugfestError, UsageError

INTERRUPTED = 130


def guarded(work: Callable[[], object]) -> int:
    """Do a command's work and return its exit status.

    Args:
        work: its result, if it is a number, is the status.
    """
    try:
        result = work()
    except PlugfestError as error:
        return complain(str(error), error.exit_status)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return UsageError.exit_status
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "plugfest"
        return complain(f"{error.format_message()} (see {where} --help)", UsageError.exit_status)
    except click.ClickException as error:
        return complain(error.format_message(), UsageError.exit_status)
    except (click.Abort, KeyboardInterrupt):
        return complain("interrupted", INTERRUPTED)
    except Exception as error:
        said = f"a bug in plugfest: {type(error).__name__}: {error}; the traceback is in {_save_traceback()}"
        return complain(said, InfrastructureError.exit_status)
    return result if isinstance(result, int) else 0


def complain(message: str, status: int) -> int:
    """Print the one line and return the status."""
    click.echo("plugfest: " + " ".join(message.split()), err=True)
    return status


def _save_traceback() -> Path:
    with tempfile.NamedTemporaryFile(
        "w", prefix="plugfest-", suffix=".traceback", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exc(file=file)
    return Path(file.name)
