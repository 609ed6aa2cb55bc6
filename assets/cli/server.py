"""Run the HTTP server of a local page."""

from __future__ import annotations

from socket import socket

import uvicorn

from pipeline.http_guard import App


def run_uvicorn(app: App, listening: socket) -> None:
    """Serve an app on a socket until Ctrl-C."""
    config = uvicorn.Config(app, log_level="warning", ws="none", lifespan="off")
    uvicorn.Server(config).run(sockets=[listening])
