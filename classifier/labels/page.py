"""The labelling page: one static file, a key per clip, and no label that was acknowledged is ever lost.

The browser paints the next clip first and sends the rating behind it, with a UUID of its own; what the server has
not yet confirmed stays in the browser and is sent again, also after a restart of either. The server answers once
the journal is on disk. Clips come by byte range straight out of their tars, whatever the store.

    lampworks label --root lampworks-data
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from classifier.labels.journal import MAX_EVENTS, Journal, check_event
from classifier.labels.queue import label_queue, load_queue, queue_is_current
from classifier.labels.sync import sync_journal
from classifier.pool import load_pool
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.http_guard import Guard, check_address, content_policy, open_socket, url_of
from pipeline.ids import short_hash
from pipeline.label_events import STAND_IN, fold
from pipeline.storage.home import Home
from pipeline.storage.store import Store

PAGE = Path(__file__).with_name("static") / "label.html"
PORT = 8321
"""A fixed port, because a browser keeps what is unsaved by address."""

_CLIP_COLUMNS = ["tar", "offset", "size", "sha256", "frames_offset", "frames_size", "start_ms", "end_ms"]
_FOREVER = "private, max-age=31536000, immutable"


def serve_labels(
    store: Store,
    config: Config,
    home: Home,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    annotator: str = "me",
    token: str | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve the labelling page until it is interrupted; the journal is then appended to the store.

    Args:
        store: the store; its queue is refreshed first.
        config: the configuration.
        home: where the journal lies.
        host: address to bind to; others than this machine need a token.
        port: port, 0 for a free one.
        annotator: who labels.
        token: what a visitor must show.
        announce: hears the address; standard output where None.

    Raises:
        UserError: the address cannot be had, a token is missing, or there are no clips.
    """
    check_address(host, token)
    app = label_app(store, config, home, annotator=annotator)
    html = PAGE.read_text("utf-8")
    guarded = Guard(app, host=host, token=token, policy=content_policy(html))
    server = open_socket(host, port)
    try:
        # an acknowledged label of an earlier session may not have reached the store
        sync_journal(store, home)
        (announce or _print)(f"rate clips at {url_of(host, server, token)}  (Ctrl-C ends; labels are kept)")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(guarded, log_level="warning", lifespan="off", ws="none")).run(
                sockets=[server]
            )
    finally:
        server.close()
        app.state.labelling.journal.close()
        sync_journal(store, home)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def label_app(store: Store, config: Config, home: Home, *, annotator: str = "me") -> Starlette:
    """Return the page's app, to be served behind `pipeline.http_guard.Guard`."""
    labelling = Labelling(store, config, home, annotator)
    app = Starlette(
        routes=[
            Route("/", labelling.page),
            Route("/api/state", labelling.state),
            Route("/api/events", labelling.record, methods=["POST"]),
            Route("/clip/{clip_id}", labelling.clip),
            Route("/frames/{clip_id}", labelling.frames),
        ]
    )
    app.state.labelling = labelling
    return app


class Labelling:
    """One annotator's session over the queue as it was when the server started."""

    def __init__(self, store: Store, config: Config, home: Home, annotator: str) -> None:
        annotator = annotator.strip()
        if not re.fullmatch(r"[\w .@+-]{1,60}", annotator) or annotator == STAND_IN:
            raise UserError(
                f"annotator {annotator!r}: give a name of up to 60 letters, digits, spaces or . @ + - "
                f"(and not {STAND_IN!r}, which is the embedded source's own)"
            )
        if not queue_is_current(store, config):
            label_queue(store, config)
        pool = load_pool(store, config)
        queue = load_queue(store)
        rows = pool.scan(_CLIP_COLUMNS, clip_ids={item["clip_id"] for item in queue}).to_pylist()
        self._rows: dict[str, dict[str, Any]] = {row["clip_id"]: row for row in rows}
        if not self._rows:
            raise UserError(f"there are no clips to rate in {store.root}: collect and cut some first (lampworks run)")
        self._clips = [
            {
                **item,
                "start_ms": self._rows[item["clip_id"]]["start_ms"],
                "end_ms": self._rows[item["clip_id"]]["end_ms"],
                "title": str(pool.videos[self._rows[item["clip_id"]]["video_id"]]["title"] or "")[:200],
            }
            for item in queue
            if item["clip_id"] in self._rows
        ]
        self._store, self._annotator = store, annotator
        self.journal = Journal(home.journal)

    def page(self, request: Request) -> Response:
        """Serve the page itself."""
        return HTMLResponse(PAGE.read_text("utf-8"), headers={"cache-control": "no-cache"})

    def state(self, request: Request) -> Response:
        """Tell the queue, and what this annotator answered so far, oldest first (0 is a skip)."""
        stored = [event for event in self._store.read("labels").to_pylist() if event["annotator"] == self._annotator]
        mine = [event for event in self.journal.events() if event["annotator"] == self._annotator]
        # a skip is an answer here: the clip is not offered again
        events = [{**event, "kind": "rate" if event["kind"] == "skip" else event["kind"]} for event in stored + mine]
        held = [by[self._annotator] for by in fold(events).values()]
        held.sort(key=lambda event: (event["labelled_at"], event["event_id"]))
        return JSONResponse(
            {
                "root": short_hash(self._store.root, 8),
                "annotator": self._annotator,
                "clips": self._clips,
                "answers": [[event["clip_id"], event["rating"] or 0] for event in held],
            },
            headers={"cache-control": "no-store"},
        )

    async def record(self, request: Request) -> Response:
        """Write events to the journal and acknowledge those that are on disk; each refused one gets its reason."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return PlainTextResponse("events are sent as application/json", 415)
        try:
            events = (await request.json())["events"]
        except (ValueError, KeyError, TypeError):
            return PlainTextResponse('the body must be {"events": [...]}', 400)
        if not isinstance(events, list) or len(events) > MAX_EVENTS:
            return PlainTextResponse(f"events must be a list of at most {MAX_EVENTS}", 400)
        good, refused = [], {}
        for number, event in enumerate(events):
            try:
                good.append(check_event(event))
            except ValueError as exc:
                name = event.get("event_id") if isinstance(event, Mapping) else None
                refused[name if isinstance(name, str) else f"#{number}"] = str(exc)
        saved, clashes = await run_in_threadpool(self.journal.append, good, self._annotator)
        return JSONResponse({"saved": saved, "refused": {**refused, **clashes}})

    def clip(self, request: Request) -> Response:
        """Serve a clip's video, whole or by range."""
        row = self._rows.get(request.path_params["clip_id"])
        if row is None:
            return PlainTextResponse("no such clip", 404)
        return self._part(request, row["tar"], row["offset"], row["size"], "video/mp4", row["sha256"])

    def frames(self, request: Request) -> Response:
        """Serve a clip's eight frames side by side."""
        row = self._rows.get(request.path_params["clip_id"])
        if row is None:
            return PlainTextResponse("no such clip", 404)
        return self._part(request, row["tar"], row["frames_offset"], row["frames_size"], "image/jpeg", row["sha256"])

    def _part(self, request: Request, tar: str, offset: int, size: int, kind: str, tag: str) -> Response:
        headers = {"accept-ranges": "bytes", "cache-control": _FOREVER, "etag": f'"{tag}"'}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        try:
            part = parse_range(request.headers.get("range"), size)
        except ValueError:
            return Response(status_code=416, headers={**headers, "content-range": f"bytes */{size}"})
        first, last = part or (0, size - 1)
        if part is not None:
            headers["content-range"] = f"bytes {first}-{last}/{size}"
        try:
            data = b""
            if request.method != "HEAD":
                data = self._store.read_range(tar, offset + first, last - first + 1)
        except (OSError, EOFError) as exc:
            return PlainTextResponse(f"the clip cannot be read: {exc}", 503)
        if request.method == "HEAD":
            headers["content-length"] = str(last - first + 1)
        return Response(data, 200 if part is None else 206, headers, kind)


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the (first, last) byte that a Range header asks for; None means the whole.

    No header, another unit, several ranges and forms that RFC 9110 calls invalid mean the whole. ValueError where
    the range cannot be satisfied.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size:
        raise ValueError(f"range {header!r} lies beyond {size} bytes")
    return start, end
