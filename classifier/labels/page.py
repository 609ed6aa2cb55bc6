"""The app of the labelling page: one static file, the queue, clips by byte range, and a journal of what is rated.

The browser shows the next clip first and sends the rating after it, with a UUID of its own. What the server has not
confirmed stays in the browser and is sent again, also after a restart of either side. The server confirms an event
once the journal has it on disk. Clips are read straight out of their tars, from a folder or from S3.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from classifier.labels.byte_range import BlobPart, blob_response
from classifier.labels.journal import MAX_EVENTS, Journal, PageEvent, check_event
from classifier.labels.queue import QUEUE_KEY, load_queue, queue_is_current, write_queue
from classifier.pool import load_pool
from pipeline.errors import UserError
from pipeline.http_guard import media_type
from pipeline.http_json import read_object
from pipeline.ids import short_hash
from pipeline.job import Job
from pipeline.label_events import STAND_IN, fold
from pipeline.label_pictures import latest_label_moment, of_earlier_pictures

PAGE = Path(__file__).with_name("static") / "label.html"
_CLIP_COLUMNS = ["tar", "offset", "size", "sha256", "frames_offset", "frames_size", "start_ms", "end_ms"]


def label_app(job: Job, annotator: str = "me", queue: str = QUEUE_KEY) -> Starlette:
    """Return the page's app, to be served behind `pipeline.http_guard.Guard`.

    Its `state.journal` is open; close it when the app is no longer served. `queue` is the key of the queue that it
    offers.

    Raises:
        UserError: the annotator's name cannot be used, or there are no clips to rate.
    """
    labelling = Labelling(job, annotator, queue)
    app = Starlette(
        routes=[
            Route("/", labelling.page),
            Route("/api/state", labelling.state),
            Route("/api/alive", labelling.alive),
            Route("/api/events", labelling.record, methods=["POST"]),
            Route("/clip/{clip_id}", labelling.clip),
            Route("/frames/{clip_id}", labelling.frames),
        ]
    )
    app.state.journal = labelling.journal
    return app


class Labelling:
    """One annotator's session over the queue as it was when the server started."""

    def __init__(self, job: Job, annotator: str, queue_key: str = QUEUE_KEY) -> None:
        annotator = annotator.strip()
        if not re.fullmatch(r"[\w .@+-]{1,60}", annotator) or annotator == STAND_IN:
            raise UserError(
                f"annotator {annotator!r}: give a name of up to 60 letters, digits, spaces or . @ + - "
                f"(and not {STAND_IN!r}, which the embedded source uses)"
            )
        if queue_key == QUEUE_KEY and not queue_is_current(job.store, job.config):
            write_queue(job)
        pool = load_pool(job.store, job.config)
        queue = load_queue(job.store, queue_key)
        rows = pool.scan(_CLIP_COLUMNS, clip_ids={item["clip_id"] for item in queue}).to_pylist()
        self._rows: dict[str, dict[str, Any]] = {row["clip_id"]: row for row in rows}
        if not self._rows:
            raise UserError(
                f"there are no clips to rate in {job.store.root}: collect and cut some first (lampworks run)"
            )
        self._clips = [
            {
                **item,
                "start_ms": self._rows[item["clip_id"]]["start_ms"],
                "end_ms": self._rows[item["clip_id"]]["end_ms"],
                "title": (pool.videos[self._rows[item["clip_id"]]["video_id"]]["title"] or "")[:200],
            }
            for item in queue
            if item["clip_id"] in self._rows
        ]
        self._store, self._annotator = job.store, annotator
        self.journal = Journal(job.home.journal, after=latest_label_moment(job.store))

    def page(self, request: Request) -> Response:
        """Return the page itself."""
        return HTMLResponse(PAGE.read_text("utf-8"), headers={"cache-control": "no-cache"})

    def state(self, request: Request) -> Response:
        """Return the queue, and what this annotator answered so far, oldest first (0 is a skip)."""
        stored = [event for event in self._store.read("labels").to_pylist() if event["annotator"] == self._annotator]
        mine = [event for event in self.journal.events() if event["annotator"] == self._annotator]
        # a clip that shows another picture since is offered again
        earlier = of_earlier_pictures(self._store, stored + mine)
        stored, mine = ([event for event in some if event["event_id"] not in earlier] for some in (stored, mine))
        # here a skip is an answer too: the clip is not offered again
        events = [{**event, "kind": "rate" if event["kind"] == "skip" else event["kind"]} for event in stored + mine]
        current = [by_annotator[self._annotator] for by_annotator in fold(events).values()]
        current.sort(key=lambda event: (event["labelled_at"], event["event_id"]))
        return JSONResponse(
            {
                "root": short_hash(self._store.root, 8),
                "annotator": self._annotator,
                "clips": self._clips,
                "answers": [[event["clip_id"], event["rating"] or 0] for event in current],
            },
            headers={"cache-control": "no-store"},
        )

    async def alive(self, request: Request) -> Response:
        """Return whose labels of which root this server keeps: the page asks it every few seconds."""
        about = {"root": short_hash(self._store.root, 8), "annotator": self._annotator}
        return JSONResponse(about, headers={"cache-control": "no-store"})

    async def record(self, request: Request) -> Response:
        """Write events to the journal; return the ids of those on disk, and the reason for each refused one."""
        if media_type(request.headers.get("content-type", "")) != "application/json":
            return PlainTextResponse("events are sent as application/json", 415)
        try:
            events = read_object(await request.body()).get("events")
        except ValueError as exc:
            return PlainTextResponse(str(exc), 400)
        if not isinstance(events, list) or len(events) > MAX_EVENTS:
            return PlainTextResponse(f'the body must be {{"events": [...]}} with at most {MAX_EVENTS} events', 400)
        good: list[PageEvent] = []
        refused: dict[str, str] = {}
        for number, event in enumerate(events):
            try:
                good.append(check_event(event))
            except ValueError as exc:
                name = event.get("event_id") if isinstance(event, Mapping) else None
                refused[name if isinstance(name, str) else f"#{number}"] = str(exc)
        try:
            appended = await run_in_threadpool(self.journal.append, good, self._annotator)
        except sqlite3.Error as exc:  # a full disk; the page keeps the events and sends them again
            return PlainTextResponse(f"the labels cannot be saved: {exc}", 503)
        return JSONResponse({"saved": appended.saved, "refused": {**refused, **appended.refused}})

    def clip(self, request: Request) -> Response:
        """Return a clip's video, whole or by range."""
        return self._part(request, "offset", "size", "video/mp4")

    def frames(self, request: Request) -> Response:
        """Return a clip's eight frames side by side."""
        return self._part(request, "frames_offset", "frames_size", "image/jpeg")

    def _part(self, request: Request, offset: str, size: str, media_type: str) -> Response:
        row = self._rows.get(request.path_params["clip_id"])
        if row is None:
            return PlainTextResponse("no such clip", 404)
        return blob_response(
            self._store, BlobPart(row["tar"], row[offset], row[size], media_type, tag=row["sha256"]), request
        )
