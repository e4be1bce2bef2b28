# SPDX-License-Identifier: MIT
"""The control socket: JSON-RPC 2.0, one object or batch per line, for any number of clients.

Source: the JSON-RPC 2.0 specification (2013). Parameters are by name only; a notification (no `id`) gets no answer.
A method fails by raising an exception: `ControlError`, `ValueError`, `LookupError` and `TypeError` become "invalid params"
with their message, any other an internal error.
"""

from __future__ import annotations

import inspect
import json
import logging
from typing import TYPE_CHECKING, Any

from nicmodels.vfio_user.listener import listen, remove

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nicmodels.server.reactor import Reactor

logger = logging.getLogger(__name__)

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

LINE_LIMIT = 1 << 20
BACKLOG_LIMIT = 64 << 20


class ControlError(Exception):
    """A method failed.

    Attributes:
        code: JSON-RPC error code.
    """

    def __init__(self, message: str, code: int = INVALID_PARAMS) -> None:
        super().__init__(message)
        self.code = code


class ControlServer:
    """Serves control methods at a unix socket.

    Args:
        path: of the socket.
        reactor: runs the server.
        methods: name to callable; parameters go in by keyword, the result must be a JSON value.

    Raises:
        OSError: cannot listen at the path.
    """

    def __init__(self, path: Path, reactor: Reactor, methods: Mapping[str, Callable[..., Any]]) -> None:
        self._path = path
        self._reactor = reactor
        self._methods = dict(methods)
        self._signatures = {name: inspect.signature(method) for name, method in self._methods.items()}
        self._clients: set[_Client] = set()
        self._listener = listen(path)
        reactor.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Disconnect the clients and stop listening."""
        self._reactor.remove_reader(self._listener.fileno())
        self._listener.close()
        for client in list(self._clients):
            client.close()
        remove(self._path)

    def answer(self, line: bytes) -> bytes | None:
        """The response to a line, without the newline; None if there is none."""
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            return _dump(_error(None, PARSE_ERROR, f"not JSON: {error}"))
        if not isinstance(request, list):
            response = self._call(request)
            return None if response is None else _dump(response)
        if not request:
            return _dump(_error(None, INVALID_REQUEST, "an empty batch"))
        responses = [response for each in request if (response := self._call(each)) is not None]
        return _dump(responses) if responses else None

    def remove(self, client: _Client) -> None:
        """A client disconnected."""
        self._clients.discard(client)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        self._clients.add(_Client(sock, self._reactor, self))

    def _call(self, request: object) -> dict[str, Any] | None:
        if not isinstance(request, dict):
            return _error(None, INVALID_REQUEST, "expected an object")
        identity = request.get("id")
        if isinstance(identity, bool) or not isinstance(identity, int | float | str | None):
            return _error(None, INVALID_REQUEST, "the id is not a number, string or null")
        name, params = request.get("method"), request.get("params", {})
        if request.get("jsonrpc") != "2.0" or not isinstance(name, str):
            return _error(identity, INVALID_REQUEST, 'expected "jsonrpc": "2.0" and a method')
        response = self._respond(identity, name, params)
        return response if "id" in request else None

    def _respond(self, identity: object, name: str, params: object) -> dict[str, Any]:
        method = self._methods.get(name)
        if method is None:
            return _error(identity, METHOD_NOT_FOUND, f"unknown method {name}; see control.methods")
        if not isinstance(params, dict):
            return _error(identity, INVALID_PARAMS, f"{name}: parameters come by name, in an object")
        try:
            self._signatures[name].bind(**params)
        except TypeError as error:
            return _error(identity, INVALID_PARAMS, f"{name}: {error}")
        try:
            return {"jsonrpc": "2.0", "id": identity, "result": method(**params)}
        except ControlError as error:
            return _error(identity, error.code, f"{name}: {error}")
        except (ValueError, LookupError, TypeError, OSError) as error:
            message = error.args[0] if isinstance(error, KeyError) and error.args else error
            logger.debug("%s failed", name, exc_info=error)
            return _error(identity, INVALID_PARAMS, f"{name}: {message}")
        except Exception as error:
            logger.exception("%s failed", name)
            return _error(identity, INTERNAL_ERROR, f"{name}: {type(error).__name__}: {error}")


class _Client:
    """One control client. Responses are buffered until the client reads them; a client that never does is disconnected."""

    def __init__(self, sock: socket.socket, reactor: Reactor, server: ControlServer) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._reactor = reactor
        self._server = server
        self._in = bytearray()
        self._out = bytearray()
        self._writing = False
        self._open = True
        reactor.add_reader(sock.fileno(), self._readable)

    def close(self) -> None:
        """Disconnect the client."""
        if self._open:
            self._open = False
            self._reactor.remove_reader(self._sock.fileno())
            self._reactor.remove_writer(self._sock.fileno())
            self._sock.close()
            self._server.remove(self)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._in += data
        while (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end])
            del self._in[: end + 1]
            if line.strip() and (answer := self._server.answer(line)) is not None:
                self._out += answer + b"\n"
        if len(self._in) > LINE_LIMIT:
            self._out += _dump(_error(None, PARSE_ERROR, f"a line of more than {LINE_LIMIT} bytes")) + b"\n"
            self._writable()
            self.close()
            return
        self._writable()

    def _writable(self) -> None:
        if not self._open:
            return
        if self._out:
            try:
                sent = self._sock.send(self._out)
            except BlockingIOError:
                sent = 0
            except OSError:
                self.close()
                return
            del self._out[:sent]
        if len(self._out) > BACKLOG_LIMIT:
            logger.warning("a control client does not read its responses: disconnected")
            self.close()
        elif self._out and not self._writing:
            self._writing = True
            # No more requests are read until the client has read its responses.
            self._reactor.remove_reader(self._sock.fileno())
            self._reactor.add_writer(self._sock.fileno(), self._writable)
        elif not self._out and self._writing:
            self._writing = False
            self._reactor.remove_writer(self._sock.fileno())
            self._reactor.add_reader(self._sock.fileno(), self._readable)


def _dump(value: object) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        logger.exception("an answer is no JSON value")
        identity = value.get("id") if isinstance(value, dict) else None
        return json.dumps(_error(identity, INTERNAL_ERROR, f"the result is no JSON value: {error}")).encode()


def _error(identity: object, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": message}}
