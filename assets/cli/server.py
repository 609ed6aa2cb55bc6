"""Run the HTTP server of a local page: the labelling page, the play page and Dagster's pages alike.

uvicorn waits for ever for the rest of a request, and takes any number of connections. Here a request must arrive as a
whole within a deadline, headers and body together, and the number of connections is limited. What waits the longest for
the rest of its request makes room for a new connection.
"""

from __future__ import annotations

import asyncio
import time
from socket import socket

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.http_guard import App

REQUEST_S = 15.0
"""Seconds within which a request must be complete."""
MAX_CONNECTIONS = 128
"""Connections at a time; a browser opens six to a page, and one more for each websocket."""
_MAX_HEAD = 1 << 16
_MAX_WEBSOCKET_MESSAGE = 1 << 20


def run_uvicorn(app: App, listening: socket) -> None:
    """Serve an app on a socket until Ctrl-C."""
    server_of(app).run(sockets=[listening])


def server_of(app: App, *, protocol: type[BoundedProtocol] | None = None) -> uvicorn.Server:
    """Return the server of an app, not started yet; `protocol` bounds its connections."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        http=protocol or BoundedProtocol,
        ws="websockets-sansio",
        ws_max_size=_MAX_WEBSOCKET_MESSAGE,
        lifespan="off",
        proxy_headers=False,
        h11_max_incomplete_event_size=_MAX_HEAD,
        # a browser with an open page would hold the end of the server up
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 on one connection, with a deadline for every request and a limit on the number of connections."""

    request_s = REQUEST_S
    max_connections = MAX_CONNECTIONS
    _deadline: asyncio.TimerHandle | None = None
    """Runs while the connection waits for a request, or for the rest of one."""
    _waits_since = 0.0
    _is_websocket = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, in place of the one that waits the longest where there are too many."""
        super().connection_made(transport)
        if len(self.connections) <= self.max_connections or self._close_longest_wait():
            self._watch()
        else:
            self._end(503, f"{self.max_connections} connections are open: close a page, then try again")

    def data_received(self, data: bytes) -> None:
        """Take in bytes of a request."""
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self._stop_watch()  # these are the first bytes of a request
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request on the connection."""
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over; a websocket may be silent for long, and is asked whether it is still there."""
        self._is_websocket = True
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline with the connection."""
        super().connection_lost(exc)
        self._stop_watch()

    def _watch(self) -> None:
        is_complete = self.conn.their_state not in {h11.IDLE, h11.SEND_BODY}
        if is_complete or self._is_websocket or self.transport.is_closing():
            self._stop_watch()
        elif self._deadline is None:
            self._waits_since = time.monotonic()
            self._deadline = self.loop.call_later(self.request_s, self._expire)

    def _stop_watch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        if self.conn.their_state is h11.SEND_BODY:
            says_so = not self.cycle.response_started
        else:
            says_so = bool(self.conn.trailing_data[0]) and (self.cycle is None or self.cycle.response_complete)
        if says_so:
            self._end(408, f"the request was not complete after {self.request_s:g} seconds")
        else:  # nothing was asked, or the answer is there already
            self._stop_watch()
            self.transport.close()

    def _close_longest_wait(self) -> bool:
        waiting = [
            other
            for other in self.connections
            if isinstance(other, BoundedProtocol) and other is not self and other._deadline is not None
        ]
        if waiting:
            min(waiting, key=lambda other: other._waits_since)._expire()
        return bool(waiting)

    def _end(self, status: int, text: str) -> None:
        """Answer without the app, and close."""
        self._stop_watch()
        body = text.encode()
        head = f"HTTP/1.1 {status} Not served\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()
