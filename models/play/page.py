"""The play page: pick a start frame, press a key, see the next frame.

One static page and four small addresses behind the guard of `pipeline.http_guard`; the games themselves are in
`models.play.games`.

    serve_play(store, config, host="127.0.0.1", port=8801, token=None)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import uvicorn
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from models.evaluation import pictures
from models.evaluation.held_out import held_out_clips
from models.play.games import Games, Playable, StartFrame
from models.runtime.compute import choose_compute, compile_played_frame, intra_op_threads
from models.world.load import load_world
from pipeline.config import Config, PlayConfig
from pipeline.errors import PermanentError, UserError
from pipeline.http_guard import Guard, check_address, content_policy, open_socket, url_of
from pipeline.progress import ProgressCallback
from pipeline.storage.models_table import newest_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_PAGE = Path(__file__).parent / "static" / "play.html"
_MAX_BODY = 4096
_TIMED_FRAMES = 8


def play_app(
    world: Playable,
    start_frames: Sequence[StartFrame],
    config: PlayConfig,
    *,
    names: Sequence[dict[str, Any]] = (),
    note: str = "",
    host: str = "127.0.0.1",
    token: str | None = None,
) -> Starlette:
    """Return the app of the page.

    Args:
        world: the world model.
        start_frames: at least one.
        config: sampling and the number of games.
        names: what each latent action does (code, label, symbol, right, down, true_actions), where it was measured.
        note: a sentence about this world, shown under the picture.
        host: the address that it is served on.
        token: what visitors must show; needed where `host` is not this machine alone.
    """
    if not start_frames:
        raise UserError("there is no start frame to play from: evaluate the world model first (`lampworks run`).")
    games = Games(world, start_frames, config)
    html = _PAGE.read_text("utf-8")
    known = {int(name["code"]): name for name in names}
    actions = [
        {
            "code": code,
            "label": known.get(code, {}).get("label", ""),
            "symbol": known.get(code, {}).get("symbol", ""),
            "right": known.get(code, {}).get("right", 0.0),
            "down": known.get(code, {}).get("down", 0.0),
            "meant": _meant(known.get(code, {}).get("true_actions", {})),
        }
        for code in range(world.num_actions)
    ]
    height, width = start_frames[0].frame_HWC.shape[:2]

    async def page(request: Request) -> Response:
        return HTMLResponse(html, headers={"cache-control": "no-cache"})

    async def about(request: Request) -> Response:
        starts = [{"index": index, "clip_id": start.clip_id} for index, start in enumerate(start_frames)]
        return JSONResponse(
            {"actions": actions, "starts": starts, "note": note, "width": width, "height": height, "fps": config.fps}
        )

    async def thumbnail(request: Request) -> Response:
        index = int(request.path_params["index"])
        if index >= len(start_frames):
            raise HTTPException(404, f"start frame {index}: there are {len(start_frames)}")
        return Response(pictures.png_of(start_frames[index].frame_HWC), media_type="image/png")

    async def start(request: Request) -> Response:
        body = await _object(request)
        index = _integer(body, "start", len(start_frames))
        name, frame = await to_thread.run_sync(games.start, index)
        return _frame(frame, {"x-game": name, "x-t": "0"})

    async def step(request: Request) -> Response:
        body = await _object(request)
        action, t = _integer(body, "action", world.num_actions), _integer(body, "t", 1 << 53)
        began = time.perf_counter()
        try:
            found = await to_thread.run_sync(games.step, str(body.get("game")), action, t)
        except KeyError as exc:
            raise HTTPException(410, "this game is not kept any more: start again") from exc
        if found is None:
            raise HTTPException(409, f"this game is not at frame {t}")
        return _frame(found[1], {"x-t": str(found[0]), "x-ms": f"{(time.perf_counter() - began) * 1000:.0f}"})

    async def refusal(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/world", about),
            Route("/api/starts/{index:int}.png", thumbnail),
            Route("/api/start", start, methods=["POST"]),
            Route("/api/step", step, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, host=host, token=token, policy=content_policy(html), max_body=_MAX_BODY)],
        exception_handlers={HTTPException: refusal},
    )


def _meant(true_actions: dict[str, float]) -> str:
    """Return the true action that a latent one mostly stood for in held-out videos, where it is known."""
    name, share = max(true_actions.items(), key=lambda item: item[1], default=("", 0.0))
    return f"{share:.0%} {name}" if share >= 0.5 else ""


def _frame(frame: np.ndarray, headers: dict[str, str]) -> Response:
    return Response(pictures.png_of(frame), media_type="image/png", headers={**headers, "cache-control": "no-store"})


async def _object(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError as exc:
        raise HTTPException(400, f"the request is not JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise HTTPException(400, "the request must be a JSON object")
    return body


def _integer(body: dict[str, Any], name: str, limit: int) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise HTTPException(400, f"{name} = {value!r}: must be a whole number from 0 to {limit - 1}")
    return value


def serve_play(
    store: Store,
    config: Config,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    on_progress: ProgressCallback | None = None,
) -> None:
    """Serve the newest world's play page until it is stopped (Ctrl-C).

    Args:
        store: the models and the newest evaluation's start frames are read.
        config: the settings `play` and `training` (device).
        host: address; others than this machine's own need a token.
        port: 0 takes a free one.
        token: what visitors must show.
        on_progress: hears the address to open; it goes to the terminal by default.
    """
    check_address(host, token)
    say = on_progress or (lambda line: sys.stderr.write(line + "\n"))
    with open_socket(host, port) as server, intra_op_threads():
        world = load_world(store, None, choose_compute(config.training))
        if config.training.compile:
            for network in (world.dynamics, world.tokenizer):
                compile_played_frame(network, world.compute.device)
            say("the first frames take a minute: what draws them is compiled")
        names, note = known_of_world(store, world.model_id)
        app = play_app(
            world,
            start_frames(store, config),
            config.play,
            names=names,
            note=note,
            host=host,
            token=token,
        )
        say(f"play at {url_of(host, server, token)} (Ctrl-C stops)")
        uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", lifespan="off")).run(sockets=[server])


def start_frames(store: Store, config: Config) -> list[StartFrame]:
    """Return the start frames of the newest evaluation, or of held-out clips where there is none yet.

    Frames of videos that were taken down since are left out.
    """
    evaluation = newest_model(store, "world_evaluation")
    if evaluation is None:
        clips = held_out_clips(store, config, None)[: config.evaluation.start_frames]
        return [StartFrame(clip.frames_THWC[len(clip.frames_THWC) // 2], clip.clip_id) for clip in clips]
    gone = taken_down(store).hidden_videos(store)
    about = json.loads(store.read_blob(f"{evaluation.path}/pictures.json"))
    return [
        StartFrame(pictures.frame_of(store.read_blob(f"{evaluation.path}/{start['file']}")), start["clip_id"])
        for start in about["start_frames"]
        if start["video_id"] not in gone
    ]


def known_of_world(store: Store, model_id: str) -> tuple[list[dict[str, Any]], str]:
    """Return what the newest evaluation says of a world's actions, and a sentence on how well they control it."""
    evaluation = newest_model(store, "world_evaluation")
    if evaluation is None or evaluation.inputs.get("world_model") != model_id:
        return [], "This world was not evaluated yet: what its keys do was not measured."
    figures = evaluation.metrics
    control, gate = figures["delta_t_psnr_permuted"], figures["gates"]["delta_t_psnr_permuted"]
    if control["value"] is None:
        return figures["latent_actions"], "What the keys do was not measured: nothing moves in the held-out videos."
    measured = (
        f"{control['value']:.1f} dB [{control['low']:.1f}, {control['high']:.1f}] on {control['num_sources']} "
        "held-out videos"
    )
    if gate["passed"]:
        return figures["latent_actions"], f"The keys control this world: delta-t PSNR {measured}."
    return figures["latent_actions"], f"The keys do not control this world well yet: delta-t PSNR {measured}."


def check_playable(store: Store, config: Config) -> dict[str, Any]:
    """Load the published world and step it once with each action; return what was seen.

    Returns:
        `actions`, `start_frames`, `distinct_frames` (how many different frames the actions lead to) and `fps` (of the
        frames after a game's first).

    Raises:
        PermanentError: a weight is not finite, or a frame is out of range (error_class `not_playable`).
    """
    with intra_op_threads():
        world = load_world(store, None, choose_compute(config.training))
        for network in (world.tokenizer, world.latent_actions, world.dynamics):
            for name, weight in network.named_parameters():
                if not bool(torch.isfinite(weight).all()):
                    raise PermanentError(f"world {world.model_id}: {name} is not finite", error_class="not_playable")
        starts = start_frames(store, config)
        if not starts:
            raise UserError("there is no start frame to play from: no source is held out, or all were taken down.")
        games = Games(world, starts, config.play)
        seen: set[bytes] = set()
        for action in range(world.num_actions):
            name, first = games.start(0)
            answer = games.step(name, action, 0)
            assert answer is not None
            if answer[1].shape != first.shape or answer[1].dtype != np.uint8:
                raise PermanentError(
                    f"world {world.model_id}: action {action} leads to a frame of {answer[1].shape}",
                    error_class="not_playable",
                )
            seen.add(answer[1].tobytes())
        began = time.perf_counter()
        for t in range(1, 1 + _TIMED_FRAMES):
            games.step(name, action, t)
        seconds = (time.perf_counter() - began) / _TIMED_FRAMES
    return {
        "actions": world.num_actions,
        "start_frames": len(starts),
        "distinct_frames": len(seen),
        "fps": round(1 / seconds, 2),
    }
