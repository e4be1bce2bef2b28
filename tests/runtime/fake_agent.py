# SPDX-License-Identifier: GPL-2.0-or-later
"""A fake of the guest's agent at the end of an SSH channel: JSON lines on standard input and output."""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        method, params, reply = request["method"], request["params"], {"id": request["id"]}
        if method == "echo":
            reply["result"] = params
        elif method == "pid":
            reply["result"] = os.getpid()
        elif method == "fail":
            reply["error"] = {"type": "NetlinkError", "message": "Operation not supported", "errno": 95}
        elif method == "lack":
            message = "bind-tx of netdev: it has [1, 5]: no 15"
            reply["error"] = {"type": "KernelLacksError", "message": message, "errno": None}
        elif method == "sleep":
            time.sleep(params["seconds"])
            reply["result"] = "slept"
        elif method == "junk":
            sys.stdout.write("this is no JSON\n")
        elif method == "other":
            reply = {"id": -1, "result": None}
        elif method == "agent.batch":
            reply["result"] = []
            for call in params["calls"]:
                failed = call["method"] == "fail"
                error = {"type": "NetlinkError", "message": "Operation not supported", "errno": 95}
                reply["result"].append({"error": error} if failed else {"result": call["params"]})
                if failed and not params["carry_on"]:
                    break
        elif method == "exit":
            sys.stderr.write("Traceback: it broke\n")
            return
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
