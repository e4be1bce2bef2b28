# SPDX-License-Identifier: GPL-2.0-or-later
"""A fake of the guest's agent: JSON lines over TCP, on the port that it prints."""

from __future__ import annotations

import json
import socketserver
import sys
import time
from typing import Any


class Connection(socketserver.StreamRequestHandler):
    """One connection, with a thread of its own."""

    def handle(self) -> None:
        """Answer until the other end closes the connection."""
        for line in self.rfile:
            request = json.loads(line)
            method, params = request["method"], request["params"]
            reply: dict[str, Any] = {"id": request["id"]}
            if method == "echo":
                reply["result"] = params
            elif method == "connection":
                reply["result"] = self.client_address[1]
            elif method == "fail":
                reply["error"] = {"type": "NetlinkError", "message": "Operation not supported", "errno": 95}
            elif method == "lack":
                message = "bind-tx of netdev: it has [1, 5]: no 15"
                reply["error"] = {"type": "KernelLacksError", "message": message, "errno": None}
            elif method == "sleep":
                time.sleep(params["seconds"])
                reply["result"] = "slept"
            elif method == "junk":
                self.wfile.write(b"this is no JSON\n")
            elif method == "other":
                reply = {"id": -1, "result": None}
            elif method == "agent.batch" and any(call["method"] == "no batch" for call in params["calls"]):
                reply["error"] = {"type": "TypeError", "message": "a call has no name", "errno": None}
            elif method == "agent.batch":
                reply["result"] = []
                for call in params["calls"]:
                    failed = call["method"] == "fail"
                    error = {"type": "NetlinkError", "message": "Operation not supported", "errno": 95}
                    reply["result"].append({"error": error} if failed else {"result": call["params"]})
                    if failed and not params["carry_on"]:
                        break
            elif method == "exit":
                return
            self.wfile.write(json.dumps(reply).encode() + b"\n")


def main() -> None:
    """Listen until killed."""
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
