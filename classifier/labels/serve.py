"""Serve the labelling page until it is interrupted, and append its journal to the store.

lampworks label --root lampworks-data
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlencode

from classifier.labels.page import PAGE, label_app
from classifier.labels.queue import QUEUE_KEY
from classifier.labels.sync import sync_journal
from pipeline.job import Job
from pipeline.serving import Address, Listener, RunServer


def serve_labels(
    job: Job, address: Address, run: RunServer, *, annotators: Sequence[str] = ("me",), queue: str = QUEUE_KEY
) -> None:
    """Serve the labelling page and print its address; when interrupted, append the journal to the store.

    Args:
        job: the store whose clips are rated.
        address: where to serve. With a fixed port a browser finds its unsaved labels again: it keeps them by address.
        run: runs the server.
        annotators: who rates; several people divide the queue.
        queue: key of the queue that is offered, the labelling queue or an audit.

    Raises:
        UserError: the address cannot be used, or there are no clips to rate.
    """
    with Listener(address) as listener:
        app = label_app(job, annotators, queue)
        try:
            # a session that was killed may have left labels in the journal
            sync_journal(job)
            with suppress(KeyboardInterrupt):
                listener.serve(
                    app, PAGE.read_text("utf-8"), run=run, on_ready=lambda url: _print_addresses(url, annotators)
                )
        finally:
            listener.close()
            app.state.journal.close()
            sync_journal(job)


def _print_addresses(url: str, annotators: Sequence[str]) -> None:
    sys.stdout.write(f"rate clips at {url}  (Ctrl-C ends; labels are kept)\n")
    for name in annotators if len(annotators) > 1 else ():
        sys.stdout.write(f"  {name}: {url}{'&' if '?' in url else '?'}{urlencode({'who': name})}\n")
    sys.stdout.flush()
