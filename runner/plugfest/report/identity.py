# SPDX-License-Identifier: GPL-2.0-or-later
"""What identifies a run by its report, wherever that lies."""

from __future__ import annotations

import hashlib
import json

from plugfest.report.document import Document


def identity(document: Document) -> str:
    """Return what no two runs share, however often their reports are made again: what was run, and when it and its first test began.

    The run's own start is in whole seconds, in which a timer may start it on two hosts.

    Returns:
        64 hexadecimal digits.
    """
    run, options = document["run"], document["run"]["options"]
    first = min((result["start"] for result in document["results"] if result["start"] is not None), default=None)
    what = [run["driver"], run["subject"]["profile"], run["kernel"], run["start"], first]
    text = json.dumps([*what, options["modules"], options["pytest"], options.get("seed")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
