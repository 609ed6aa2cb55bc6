"""The play page: pick a start, press a key, see the next frame.

One static page with its scripts and styles, a websocket for each player (`models.play.player`), and some addresses
beside it; docs/play.md lists them. Serve the app behind the guard, as `models.play.serve` does.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from models.play.game import Playable
from models.play.key_hints import KeyHint, WorldHints
from models.play.live_settings import MAX_FPS, MAX_STEPS, MAX_TEMPERATURE, MIN_FPS, ORDERS, PAST_WINDOWS, only_sampling
from models.play.player import Player
from models.play.room import Seat
from models.play.starts.held_out import StartFrame
from models.play.starts.routes import PALETTE, PICTURES, UPLOADS, start_routes
from models.play.starts.starts import Starts
from models.play.table import PlayedWorld, Table
from models.play.tree import FrameGoneError
from pipeline.config import PlayConfig

PAGE = Path(__file__).parent / "static" / "play.html"
_STATIC = {".js": "text/javascript", ".css": "text/css"}
MAX_BODY = 4096
"""Largest body of a request in bytes."""
_NO_HINTS = WorldHints("")


def play_app(
    world: Playable, start_frames: Sequence[StartFrame], config: PlayConfig, *, hints: WorldHints = _NO_HINTS
) -> Starlette:
    """Return the app of the page.

    Args:
        world: the world model.
        start_frames: at least one.
        config: sampling, the number of games and what is kept of them.
        hints: what is known about the world's keys.

    Raises:
        UserError: there is no start frame.
    """
    played = PlayedWorld(world, Starts(world, start_frames), hints)
    table = Table(played, config)
    page = _PlayPage(table)
    return Starlette(
        routes=[
            Route("/", page.html),
            Route("/static/{name}", page.static),
            Route("/api/world", page.about),
            WebSocketRoute("/api/play", page.play),
            Route("/api/games/{game}/frames/{node}.png", page.frame),
            Route("/api/games/{game}/link", page.link),
            *start_routes(played.starts, table.turns.take),
        ],
        exception_handlers={HTTPException: _refusal},
    )


class _PlayPage:
    """The endpoints of the page."""

    def __init__(self, table: Table) -> None:
        self.table = table
        # a page that was open before learns by it that its game is gone
        self._server = secrets.token_hex(8)
        self._html = PAGE.read_text("utf-8")
        self._files = {path.name: path.read_bytes() for path in PAGE.parent.iterdir() if path.suffix in _STATIC}

    async def html(self, request: Request) -> Response:
        """Return the page."""
        return HTMLResponse(self._html, headers={"cache-control": "no-cache"})

    async def static(self, request: Request) -> Response:
        """Return a script or a style of the page."""
        name = request.path_params["name"]
        if name not in self._files:
            raise HTTPException(404, f"the page has no file {name[:80]!r}")
        media = _STATIC[Path(name).suffix]
        return Response(self._files[name], media_type=media, headers={"cache-control": "no-cache"})

    async def about(self, request: Request) -> Response:
        """Return what the page must know: the server's id, actions, starts, a note, sizes, speed and limits."""
        return JSONResponse(self._about(), headers={"cache-control": "no-store"})

    def _about(self) -> dict[str, Any]:
        played, config = self.table.played, self.table.config
        world, starts, hints = played.world, played.starts, played.hints
        height, width = starts.frame(starts.names()[0]).shape[:2]
        keys = [hints.keys.get(code, KeyHint()) for code in range(world.num_actions)]
        return {
            "server": self._server,
            "model": world.model_id,
            "models": [{"model": world.model_id, "url": "/api/world"}],
            "actions": [{"code": code, **asdict(hint)} for code, hint in enumerate(keys)],
            "starts": [
                {"name": name, "url": f"/api/starts/{name}.png", "clip_id": held.clip_id if held else None}
                for name in starts.names()
                for held in [starts.held_out(name)]
            ],
            "pictures": PICTURES,
            "palette": PALETTE,
            "note": hints.note,
            # the action of each chord of keys, and the actions of equal effect
            "keys": hints.chords,
            "groups": hints.groups,
            "width": width,
            "height": height,
            "fps": config.fps,
            "seed": config.seed,
            "settings": asdict(only_sampling(config)),
            "limits": {
                "fps": [MIN_FPS, MAX_FPS],
                "maskgit_steps": [1, MAX_STEPS],
                "token_temperature": [0, MAX_TEMPERATURE],
                "unmask_order": list(ORDERS),
                "past_window": list(PAST_WINDOWS),
                "players": config.max_sessions,
                "history": config.history,
                "picture_bytes": UPLOADS[PICTURES],
            },
        }

    async def play(self, socket: WebSocket) -> None:
        """Play over a websocket."""
        await Player(socket, self.table).run()

    async def frame(self, request: Request) -> Response:
        """Return a frame of a game as PNG."""
        seat, node = self._seat(request), _node(request.path_params["node"])
        try:
            png = await self.table.turns.take(seat.game, seat.game.png, node)
        except FrameGoneError as exc:
            raise HTTPException(404, str(exc)) from exc
        return Response(png, media_type="image/png", headers={"cache-control": "private, max-age=3600"})

    async def link(self, request: Request) -> Response:
        """Return the link to a frame of a game."""
        seat, node = self._seat(request), _node(request.query_params.get("node", ""))
        try:
            return JSONResponse(self.table.link_fields(seat.game, seat.game.tree.node(node)))
        except FrameGoneError as exc:
            raise HTTPException(404, str(exc)) from exc

    def _seat(self, request: Request) -> Seat:
        seat = self.table.room.find(request.path_params["game"])
        if seat is None:
            raise HTTPException(404, "this game is not here any more: start again")
        return seat


def _node(text: str) -> int:
    # not a path of {node:int}: a number of 5,000 digits is one that Python does not read
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise HTTPException(404, f"{text[:20]!r} is no frame: frames are whole numbers")
    return int(text)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)
