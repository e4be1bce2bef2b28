# SPDX-License-Identifier: GPL-2.0-or-later
"""How a command fails: one line on the standard error and an exit status, never a traceback."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import click

from plugfest.errors import INTERRUPTED, InfrastructureError, PlugfestError, UsageError
from plugfest.report.text import printable


def catch_errors(work: Callable[[], object]) -> int:
    """Run a command's function, print its error, if any, and return the exit status.

    Args:
        work: the function; if it returns a number, that is the status.
    """
    try:
        result = work()
    except PlugfestError as error:
        return print_error(str(error), error.exit_status)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return UsageError.exit_status
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "plugfest"
        return print_error(f"{error.format_message()} (see {where} --help)", UsageError.exit_status)
    except click.ClickException as error:
        return print_error(error.format_message(), UsageError.exit_status)
    except (click.Abort, KeyboardInterrupt):
        return print_error("interrupted", INTERRUPTED)
    except Exception as error:
        message = f"a bug in plugfest:  {type(error).__name__}: {error}; the traceback is in {_save_traceback()}"
        return print_error(message, InfrastructureError.exit_status)
    return result if isinstance(result, int) else 0


def print_error(message: str, status: int) -> int:
    """Print an error on one line and return the status. It may quote strangers: a mail's subject, a makefile's message."""
    click.echo(f"plugfest: {printable(message)}", err=True)
    return status


def _save_traceback() -> Path:
    with tempfile.NamedTemporaryFile(
        "w", prefix="plugfest-", suffix=".traceback", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exc(file=file)
    return Path(file.name)
