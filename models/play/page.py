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

from models.play.game import Playable, png_of
from models.play.game_files import GameFiles
from models.play.key_hints import KeyHint, WorldHints
from models.play.live_settings import (
    MAX_FPS,
    MAX_STEPS,
    MAX_TEMPERATURE,
    MIN_FPS,
    ORDERS,
    PAST_WINDOWS,
    SCHEDULES,
    only_sampling,
)
from models.play.player import Player
from models.play.recording import MAX_FRAMES
from models.play.starts.held_out import StartFrame
from models.play.starts.routes import PALETTE, PICTURES, UPLOADS, start_routes
from models.play.starts.starts import Starts
from models.play.table import Table
from models.play.worlds import PlayedWorld, Worlds
from models.uncertainty.situation_log import SituationLog
from pipeline.config import PlayConfig
from pipeline.errors import StoreError, UserError

PAGE = Path(__file__).parent / "static" / "play.html"
_STATIC = {".js": "text/javascript", ".css": "text/css"}
MAX_BODY = 4096
"""Largest body of a request in bytes."""
_NO_HINTS = WorldHints("")


def play_app(
    world: Playable, start_frames: Sequence[StartFrame], config: PlayConfig, *, hints: WorldHints = _NO_HINTS
) -> Starlette:
    """Return the app of the page for one world.

    Args:
        world: the world model.
        start_frames: at least one.
        config: sampling, the number of games and what is kept of them.
        hints: what is known about the world's keys.

    Raises:
        UserError: there is no start frame.
    """
    return worlds_app(Worlds(PlayedWorld(world, Starts(world, start_frames), hints)), config)


def worlds_app(worlds: Worlds, config: PlayConfig, situations: SituationLog | None = None) -> Starlette:
    """Return the app of the page for one world, or several; `situations` gets what they could only guess."""
    table = Table(worlds, config, situations)
    page = _PlayPage(table)
    return Starlette(
        routes=[
            Route("/", page.html),
            Route("/static/{name}", page.static),
            Route("/api/world", page.about),
            WebSocketRoute("/api/play", page.play),
            *GameFiles(table).routes(),
            *start_routes(worlds.first.starts, table.turns.take),
            Route("/worlds/{model}/api/starts/{name}.png", page.start_of_another),
        ],
        exception_handlers={HTTPException: _refusal, UserError: _refusal, StoreError: _refusal},
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

    async def play(self, socket: WebSocket) -> None:
        """Play over a websocket."""
        await Player(socket, self.table).run()

    async def about(self, request: Request) -> Response:
        """Return what the page must know: the server's id, actions, starts, a note, sizes, speed and limits."""
        played = await self.table.world(request.query_params.get("model", ""))
        return JSONResponse(self._about(played), headers={"cache-control": "no-store"})

    async def start_of_another(self, request: Request) -> Response:
        """Return a start frame of a world that is not the first one."""
        played = await self.table.world(request.path_params["model"])
        held = played.starts.held_out(request.path_params["name"])
        if held is None:
            raise HTTPException(404, f"no such start: there are {len(played.starts.names())} held-out ones")
        return Response(png_of(held.frame_HWC), media_type="image/png", headers={"cache-control": "no-cache"})

    def _about(self, played: PlayedWorld) -> dict[str, Any]:
        config, worlds = self.table.config, self.table.worlds
        world, starts, hints = played.world, played.starts, played.hints
        prefix = "" if played is worlds.first else f"/worlds/{world.model_id}"
        height, width = starts.frame(starts.names()[0]).shape[:2]
        keys = [hints.keys.get(code, KeyHint()) for code in range(world.num_actions)]
        return {
            "server": self._server,
            "model": world.model_id,
            "models": [
                {"model": model, "title": title, "url": f"api/world?model={model}"}
                for model, title in worlds.names.items()
            ],
            "actions": [{"code": code, **asdict(hint)} for code, hint in enumerate(keys)],
            "starts": [
                {"name": name, "url": f"{prefix}/api/starts/{name}.png", "clip_id": held.clip_id if held else None}
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
            "doubt": played.about_doubt,
            "limits": {
                "fps": [MIN_FPS, MAX_FPS],
                "maskgit_steps": [1, MAX_STEPS],
                "token_temperature": [0, MAX_TEMPERATURE],
                "unmask_order": list(ORDERS),
                "unmask_schedule": list(SCHEDULES),
                "past_window": list(PAST_WINDOWS),
                "players": config.max_sessions,
                "history": config.history,
                "picture_bytes": UPLOADS[PICTURES],
                "recording": MAX_FRAMES,
            },
        }


async def _refusal(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    assert isinstance(error, UserError | StoreError)
    return JSONResponse({"error": str(error)}, 503 if isinstance(error, StoreError) else 404)
