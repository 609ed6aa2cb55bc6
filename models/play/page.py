"""The play page: pick a start frame, press a key, see the next frame.

One static page and four endpoints; the games are in `models.play.games`. Serve the app behind the guard, as
`models.play.serve` does.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from models.evaluation.pictures import png_of
from models.play.games import Games, Playable, StartFrame
from models.play.key_hints import KeyHint, WorldHints
from pipeline.config import PlayConfig
from pipeline.errors import UserError
from pipeline.http_json import read_object

PAGE = Path(__file__).parent / "static" / "play.html"
MAX_BODY = 4096
"""Largest body of a request in bytes."""
_MAX_FRAME = 1 << 53  # whole numbers above this are not exact in JavaScript
_NO_HINTS = WorldHints("")


def play_app(
    world: Playable, start_frames: Sequence[StartFrame], config: PlayConfig, *, hints: WorldHints = _NO_HINTS
) -> Starlette:
    """Return the app of the page.

    Args:
        world: the world model.
        start_frames: at least one.
        config: sampling and the number of games.
        hints: what is known about the world's keys.

    Raises:
        UserError: there is no start frame.
    """
    if not start_frames:
        raise UserError("there is no start frame to play from: evaluate the world model first (`lampworks run`).")
    page = _PlayPage(world, start_frames, config, hints)
    return Starlette(
        routes=[
            Route("/", page.html),
            Route("/api/world", page.about),
            Route("/api/starts/{index}.png", page.thumbnail),
            Route("/api/start", page.start, methods=["POST"]),
            Route("/api/step", page.step, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _refusal},
    )


class _PlayPage:
    """The endpoints of the page."""

    def __init__(
        self, world: Playable, start_frames: Sequence[StartFrame], config: PlayConfig, hints: WorldHints
    ) -> None:
        self.games = Games(world, start_frames, config)
        self.world, self.start_frames = world, start_frames
        self._start_names = {str(index) for index in range(len(start_frames))}
        height, width = start_frames[0].frame_HWC.shape[:2]
        keys = [hints.keys.get(code, KeyHint()) for code in range(world.num_actions)]
        self._about = {
            # a page that was open before learns by it that its game is gone
            "server": secrets.token_hex(8),
            "actions": [{"code": code, **asdict(hint)} for code, hint in enumerate(keys)],
            "starts": [{"index": index, "clip_id": start.clip_id} for index, start in enumerate(start_frames)],
            "note": hints.note,
            "width": width,
            "height": height,
            "fps": config.fps,
        }
        self._html = PAGE.read_text("utf-8")

    async def html(self, request: Request) -> Response:
        """Return the page."""
        return HTMLResponse(self._html, headers={"cache-control": "no-cache"})

    async def about(self, request: Request) -> Response:
        """Return the server's id, the actions, the start frames, a note, the size of the frames and their speed."""
        return JSONResponse(self._about)

    async def thumbnail(self, request: Request) -> Response:
        """Return a start frame as PNG."""
        # not a path of {index:int}: a number of 5,000 digits is one that Python does not read
        name = request.path_params["index"]
        if name not in self._start_names:
            raise HTTPException(404, f"no such start frame: there are {len(self.start_frames)}, counted from 0")
        return Response(png_of(self.start_frames[int(name)].frame_HWC), media_type="image/png")

    async def start(self, request: Request) -> Response:
        """Start a game; return its first frame, and its name in a header."""
        index = _integer(await _json_object(request), "start", len(self.start_frames))
        name, frame = await to_thread.run_sync(self.games.start, index)
        return _frame(frame, {"x-game": name, "x-t": "0"})

    async def step(self, request: Request) -> Response:
        """Take an action in a game, and return the next frame."""
        body = await _json_object(request)
        action, t = _integer(body, "action", self.world.num_actions), _integer(body, "t", _MAX_FRAME)
        began = time.perf_counter()
        try:
            found = await to_thread.run_sync(self.games.step, _text(body, "game"), action, t)
        except KeyError as exc:
            raise HTTPException(410, "this game was closed to make room for newer ones: start again") from exc
        if found is None:
            raise HTTPException(409, f"this game is not at frame {t}")
        return _frame(found[1], {"x-t": str(found[0]), "x-ms": f"{(time.perf_counter() - began) * 1000:.0f}"})


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


def _frame(frame: np.ndarray, headers: dict[str, str]) -> Response:
    return Response(png_of(frame), media_type="image/png", headers={**headers, "cache-control": "no-store"})


async def _json_object(request: Request) -> dict[str, Any]:
    try:
        return read_object(await request.body())
    except ValueError as exc:
        raise HTTPException(400, str(exc)) from exc


def _integer(body: dict[str, Any], name: str, limit: int) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise HTTPException(400, f"{name} = {repr(value)[:80]}: must be a whole number from 0 to {limit - 1}")
    return value


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise HTTPException(400, f"{name} = {repr(value)[:80]}: must be a text")
    return value
