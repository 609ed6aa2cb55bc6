"""Serve a local page: open its address first, then put the guard in front of the app and run the server.

    with Listener(Address(port=8000)) as listener:
        listener.serve(app, html, run=run_uvicorn, on_ready=print)

The server itself is an argument, because only the commands import one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from socket import socket

from pipeline.http_guard import App, Guard, check_address, content_policy, open_socket, url_of

RunServer = Callable[[App, socket], None]
"""Runs an ASGI app on a listening socket until it is interrupted."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a page is served, and to whom."""

    host: str = "127.0.0.1"
    """An address that other machines can reach needs a token."""
    port: int = 0
    """0 takes a free one."""
    token: str | None = None
    """What visitors must show."""

    def __post_init__(self) -> None:
        check_address(self.host, self.token)


class Listener:
    """A socket that listens on an address; as a context manager it closes the socket at the end.

    Opening it before the page's data is loaded reports a port that is taken at once.
    """

    def __init__(self, address: Address) -> None:
        """Listen on an address; UserError where it cannot be used."""
        self.address = address
        self._socket = open_socket(address.host, address.port)

    @property
    def url(self) -> str:
        """The address to open in a browser, with the token where one is needed."""
        return url_of(self.address.host, self._socket, self.address.token)

    def fileno(self) -> int:
        """Return the socket's descriptor, for a process that serves in place of this one."""
        return self._socket.fileno()

    def serve(
        self,
        app: App,
        html: str,
        *,
        run: RunServer,
        on_ready: Callable[[str], None],
        max_body: int = 1 << 20,
        uploads: Mapping[str, int] | None = None,
    ) -> None:
        """Serve an app behind the guard until the server is interrupted.

        Args:
            app: an ASGI app.
            html: its page; the content policy allows exactly the scripts and styles in it.
            run: runs the server.
            on_ready: called once with the address to open.
            max_body: largest body of a request in bytes.
            uploads: path of an address that takes files -> largest file in bytes.
        """
        guarded = Guard(
            app,
            host=self.address.host,
            token=self.address.token,
            policy=content_policy(html),
            max_body=max_body,
            uploads=uploads or {},
        )
        on_ready(self.url)
        run(guarded, self._socket)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
