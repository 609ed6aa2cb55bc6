"""The app of the labelling page: its files, the queue in pages, clips by byte range, and a journal of what is rated.

The browser shows the next clip first and sends the rating after it, with a UUID of its own. What the server has not
confirmed stays in the browser and is sent again, also after a restart of either side. The server confirms an event
once the journal has it on disk. Clips are read straight out of their tars, from a folder or from S3.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from classifier.labels.byte_range import blob_response
from classifier.labels.journal import MAX_EVENTS, PageEvent, check_event
from classifier.labels.labelling import PAGE_CLIPS, Labelling
from classifier.labels.queue import QUEUE_KEY
from pipeline.http_guard import media_type
from pipeline.http_json import read_object
from pipeline.job import Job

PAGE = Path(__file__).with_name("static") / "label.html"
_STATIC = {".js": "text/javascript", ".css": "text/css"}
_MOST_CLIPS = 200


def label_app(job: Job, annotators: Sequence[str] = ("me",), queue: str = QUEUE_KEY) -> Starlette:
    """Return the page's app, to be served behind `pipeline.http_guard.Guard`.

    Its `state.journal` is open; close it when the app is no longer served. `queue` is the key of the queue that it
    offers.

    Args:
        job: the store whose clips are rated.
        annotators: who rates; several people divide the queue.
        queue: key of the queue that is offered, the labelling queue or an audit.

    Raises:
        UserError: a name cannot be used, or there are no clips to rate.
    """
    labelling = Labelling(job, annotators, queue)
    page = LabelPage(labelling)
    app = Starlette(
        routes=[
            Route("/", page.page),
            Route("/static/{name}", page.static),
            Route("/api/state", page.state),
            Route("/api/clips", page.clips),
            Route("/api/agreement", page.agreement),
            Route("/api/alive", page.alive),
            Route("/api/events", page.record, methods=["POST"]),
            Route("/clip/{clip_id}", page.clip),
            Route("/frames/{clip_id}", page.frames),
        ]
    )
    app.state.journal = labelling.journal
    return app


class LabelPage:
    """The requests of the page."""

    def __init__(self, labelling: Labelling) -> None:
        self._labelling = labelling
        self._files = {path.name: path.read_bytes() for path in PAGE.parent.iterdir() if path.suffix in _STATIC}

    def page(self, request: Request) -> Response:
        """Return the page itself."""
        return HTMLResponse(PAGE.read_text("utf-8"), headers={"cache-control": "no-cache"})

    def static(self, request: Request) -> Response:
        """Return a script or a style of the page."""
        name = request.path_params["name"]
        if name not in self._files:
            return PlainTextResponse("no such file", 404)
        media = _STATIC[Path(name).suffix]
        return Response(self._files[name], media_type=media, headers={"cache-control": "no-cache"})

    def state(self, request: Request) -> Response:
        """Return a person's progress and next clips; whom the page can be opened for, where it must say so."""
        try:
            who = self._who(request)
            found = self._labelling.state(who)
        except ValueError as exc:
            return _json({"choose": self._labelling.annotators.names, "why": str(exc)}, 409)
        return _json(found)

    def clips(self, request: Request) -> Response:
        """Return more clips of a person's queue."""
        try:
            after = _number(request, "after", 0)
            count = min(_MOST_CLIPS, _number(request, "count", PAGE_CLIPS))
            return _json(self._labelling.clips(self._who(request), after, count))
        except ValueError as exc:
            return PlainTextResponse(str(exc), 400)

    def agreement(self, request: Request) -> Response:
        """Return how far people agree with each other, with themselves and with reference ratings."""
        return _json(self._labelling.agreement())

    async def alive(self, request: Request) -> Response:
        """Return whose labels of which root this server keeps: the page asks it every few seconds."""
        try:
            who = self._who(request)
        except ValueError:
            who = ""
        return _json({"root": self._labelling.root, "annotator": who})

    async def record(self, request: Request) -> Response:
        """Write events to the journal; return the ids of those on disk, and the reason for each refused one."""
        if media_type(request.headers.get("content-type", "")) != "application/json":
            return PlainTextResponse("events are sent as application/json", 415)
        try:
            who = self._who(request)
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
            appended = await run_in_threadpool(self._labelling.append, good, who)
        except sqlite3.Error as exc:  # a full disk; the page keeps the events and sends them again
            path = self._labelling.journal.path
            return PlainTextResponse(
                f"the labels cannot be saved: {exc}. Make room for {str(path)!r}, and let this user write to it", 503
            )
        return JSONResponse({"saved": appended.saved, "refused": {**refused, **appended.refused}})

    def clip(self, request: Request) -> Response:
        """Return a clip's video, whole or by range."""
        return self._part(request, "offset", "size", "video/mp4")

    def frames(self, request: Request) -> Response:
        """Return a clip's eight frames side by side."""
        return self._part(request, "frames_offset", "frames_size", "image/jpeg")

    def _part(self, request: Request, offset: str, size: str, media: str) -> Response:
        part = self._labelling.blob(request.path_params["clip_id"], offset, size, media)
        if part is None:
            return PlainTextResponse("no such clip", 404)
        return blob_response(self._labelling.store, part, request)

    def _who(self, request: Request) -> str:
        return self._labelling.annotators.who(request.query_params.get("who"))


def _json(content: object, status: int = 200) -> Response:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValueError(f"{name} = {text[:40]!r} is not a number")
    return int(text)
