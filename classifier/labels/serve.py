"""Serve the labelling page until it is interrupted, and append its journal to the store.

lampworks label --root lampworks-data
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass

import uvicorn

from classifier.labels.page import PAGE, label_app
from classifier.labels.sync import sync_journal
from pipeline.http_guard import Guard, check_address, content_policy, open_socket, url_of
from pipeline.job import Job


@dataclass(frozen=True, kw_only=True)
class LabelServer:
    """Where the page is served, and to whom."""

    port: int
    """0 takes a free one; a fixed one lets a browser find its unsaved labels again, which it keeps by address."""
    annotator: str = "me"
    """Who labels."""
    host: str = "127.0.0.1"
    """Address to bind to; one that other machines can reach needs a token."""
    token: str | None = None
    """What a visitor must show."""


def serve_labels(job: Job, server: LabelServer) -> None:
    """Serve the labelling page and print its address; when interrupted, append the journal to the store.

    Raises:
        UserError: the address cannot be used, a token is missing, or there are no clips to rate.
    """
    check_address(server.host, server.token)
    app = label_app(job, server.annotator)
    guarded = Guard(app, host=server.host, token=server.token, policy=content_policy(PAGE.read_text("utf-8")))
    socket = open_socket(server.host, server.port)
    try:
        # a session that was killed may have left labels in the journal
        sync_journal(job)
        url = url_of(server.host, socket, server.token)
        sys.stdout.write(f"rate clips at {url}  (Ctrl-C ends; labels are kept)\n")
        sys.stdout.flush()
        with suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(guarded, log_level="warning", lifespan="off", ws="none")).run(
                sockets=[socket]
            )
    finally:
        socket.close()
        app.state.journal.close()
        sync_journal(job)
