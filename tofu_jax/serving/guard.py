"""What every connection is held to before the service sees it: host name, size of the body and time to send it; headers."""

import asyncio
import json
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class _RefusedError(Exception):
    def __init__(self, status: int, error: str):
        super().__init__(error)
        self.status = status


class Guard:
    """ASGI middleware that reads each body itself, so that nothing behind it waits for a client."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None, most_bytes: int, body_timeout_s: float):
        """Wraps an application.

        Args:
          app: to protect.
          hosts: names that requests may give this host, so that a page elsewhere whose name leads to this address cannot ask;
            None for any.
          most_bytes: of a body.
          body_timeout_s: for a whole body to arrive.
        """
        self._app, self._hosts, self._most_bytes, self._timeout_s = app, hosts, most_bytes, body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in present]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        try:
            self._check_host(scope)
            body = await asyncio.wait_for(self._body(scope, receive), self._timeout_s)
        except _RefusedError as refused:
            await _answer(send_with_headers, refused.status, str(refused))
        except TimeoutError:
            await _answer(send_with_headers, 408, f"The body did not arrive within {self._timeout_s:g} s.")
        else:
            await self._app(scope, _replay(body, receive), send_with_headers)

    def _check_host(self, scope: Scope) -> None:
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        host = given.rsplit(":", 1)[0] if not given.endswith("]") else given
        if self._hosts is not None and host.lower() not in self._hosts:
            raise _RefusedError(400, f"Call this host by one of its names: {', '.join(sorted(self._hosts))}.")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        told = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")[:18]
        body = bytearray()
        more = True
        # A body that is announced as too large is not waited for.
        while more and max(len(body), int(told) if told.isdigit() else 0) <= self._most_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _RefusedError(400, "The body is not complete.")
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if more or len(body) > self._most_bytes:
            raise _RefusedError(413, f"The body is larger than {self._most_bytes:,} bytes; ask less at once.")
        return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The messages of a whole body, then those that come after it."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


async def _answer(send: Send, status: int, error: str) -> None:
    """Sends a `schema.Problem` and ends the connection, for the rest of the request may still be under way."""
    content = json.dumps({"error": error, "suggestions": []}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(content)), "connection": "close"}
    listed = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": content})
