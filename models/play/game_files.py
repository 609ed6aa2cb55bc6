"""Addresses of a game beside its websocket: a frame, the link to it, a recording of the path to it."""

from __future__ import annotations

import asyncio

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from models.play.live_settings import MAX_FPS, MIN_FPS
from models.play.recording import MAX_FRAMES, MEDIA_TYPES, film_of
from models.play.room import Seat
from models.play.table import Table
from models.play.tree import FrameGoneError

_RECORDINGS_AT_ONCE = 1


class GameFiles:
    """The addresses of the games of one table."""

    def __init__(self, table: Table) -> None:
        """Take the table."""
        self._table = table
        self._recordings = asyncio.Semaphore(_RECORDINGS_AT_ONCE)

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/api/games/{game}/frames/{node}.png", self.frame),
            Route("/api/games/{game}/link", self.link),
            Route("/api/games/{game}/recording.{kind}", self.recording),
        ]

    async def frame(self, request: Request) -> Response:
        """Return a frame as PNG."""
        seat, node = self._seat(request), _whole(request.path_params["node"], "frame")
        png = await self._png(seat, node)
        return Response(png, media_type="image/png", headers={"cache-control": "private, max-age=3600"})

    async def link(self, request: Request) -> Response:
        """Return the link to a frame."""
        seat = self._seat(request)
        try:
            found = self._table.link_fields(seat, seat.game.tree.node(self._node(request, seat)))
        except FrameGoneError as exc:
            raise HTTPException(404, str(exc)) from exc
        return JSONResponse(found, headers={"cache-control": "no-store"})

    async def recording(self, request: Request) -> Response:
        """Return the path to a frame as a film; it says in a header how many of its frames it shows."""
        seat, kind = self._seat(request), request.path_params["kind"]
        if kind not in MEDIA_TYPES:
            raise HTTPException(404, f"{kind[:20]!r} is no kind of recording: there are {' and '.join(MEDIA_TYPES)}")
        fps = self._fps(request)
        try:
            path = seat.game.tree.path(seat.game.tree.node(self._node(request, seat)))
        except FrameGoneError as exc:
            raise HTTPException(404, str(exc)) from exc
        shown = path[-MAX_FRAMES[kind] :]
        async with self._recordings:
            pngs = [await self._png(seat, node.node) for node in shown]
            film = await to_thread.run_sync(film_of, pngs, kind, fps)
        name = f"lampworks-{shown[0].t}-{shown[-1].t}.{kind}"
        headers = {
            "content-disposition": f'attachment; filename="{name}"',
            "x-frames": f"{len(shown)} of {path[-1].t + 1}",
            "cache-control": "no-store",
        }
        return Response(film, media_type=MEDIA_TYPES[kind], headers=headers)

    async def _png(self, seat: Seat, node: int) -> bytes:
        try:
            kept = seat.game.tree.picture(node)
            return await self._table.turns.take(seat.game, seat.game.png, node) if kept is None else kept
        except FrameGoneError as exc:
            raise HTTPException(404, str(exc)) from exc

    def _seat(self, request: Request) -> Seat:
        seat = self._table.room.find(request.path_params["game"])
        if seat is None:
            raise HTTPException(404, "this game is not here any more: start again")
        return seat

    def _node(self, request: Request, seat: Seat) -> int:
        """Return the frame that a request names, the current one where it names none."""
        text = request.query_params.get("node")
        return seat.game.current.node if text is None else _whole(text, "frame")

    def _fps(self, request: Request) -> float:
        text = request.query_params.get("fps")
        if text is None:
            return min(max(self._table.config.fps, MIN_FPS), MAX_FPS)
        fps = _whole(text, "speed")
        if not 1 <= fps <= MAX_FPS:
            raise HTTPException(400, f"fps = {fps}: must be a whole number from 1 to {MAX_FPS:g}")
        return float(fps)


def _whole(text: str, what: str) -> int:
    # not a path of {node:int}: a number of 5,000 digits is one that Python does not read
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise HTTPException(404, f"{text[:20]!r} is no {what}: a whole number is")
    return int(text)
