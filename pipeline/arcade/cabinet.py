"""Pyxel's own sample games with a scripted player: run one in a process of its own and read its frames.

The games ship inside the pyxel wheel (MIT) and are run from there, unchanged, without display or sound. This file is
both sides: `play_cabinet` starts `python cabinet.py GAME SEED FRAMES`, since pyxel holds one game per process, and
the other side writes a line of JSON (size and palette) and then one byte per pixel to standard output.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

GAMES = {
    "platformer": "10_platformer.py",
    "jump_game": "02_jump_game.py",
    "shooter": "09_shooter.py",
    "snake": "07_snake.py",
}
Buttons = dict[str, bool]
Player = Callable[[Any, dict[str, Any], int, np.random.Generator], Buttons]


def play_cabinet(game: str, seed: int, num_frames: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield a sample game's frames at its own rate (30 a second; snake 20), as uint8 RGB of the game's own size.

    Raises:
        RuntimeError: the game did not run, with what it said.
    """
    # -I: this file's folder stays off the import path (it holds modules named like the standard library's)
    command = [sys.executable, "-I", __file__, game, str(seed), str(num_frames)]
    environment = {**os.environ, "SDL_AUDIODRIVER": "dummy", "SDL_VIDEODRIVER": "dummy"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            header = process.stdout.readline()
            if header:
                shape = json.loads(header)
                palette = np.array(shape["palette"], np.uint8)
                size = shape["width"] * shape["height"]
                for _ in range(num_frames):
                    indices = np.frombuffer(process.stdout.read(size), np.uint8)
                    if len(indices) < size:
                        break
                    yield palette[indices.reshape(shape["height"], shape["width"])]
                else:
                    return
            said = process.stderr.read().decode(errors="replace").strip()[-2000:]
            raise RuntimeError(f"pyxel's sample game {game!r} ended early: {said or 'it said nothing'}")
        finally:
            process.kill()


# -- the other side -------------------------------------------------------------------------------------------------


class _Over(BaseException):
    """Enough frames were played; a game that catches Exception does not swallow it."""


def _hop(app: Any, names: dict[str, Any], frame: int, rng: np.random.Generator) -> Buttons:
    """Jump game: steer to the floor that the fall can best meet (floors come 4 px a frame, the player steers 2)."""
    landings = []
    for x, y, alive in app.floor:
        if alive and y > app.player_y:
            wait = (y - app.player_y) / 7 + max(-app.player_dy, 0) * 1.6
            landings.append((abs(x + 12 - 4 * wait - app.player_x) - 2 * wait, x + 12 - 4 * wait))
    target = min(landings, default=(0, 70))[1]
    return {"KEY_LEFT": target < app.player_x - 3, "KEY_RIGHT": target > app.player_x + 3}


def _run(app: Any, names: dict[str, Any], frame: int, rng: np.random.Generator) -> Buttons:
    """Platformer: to the right, over walls that can be cleared, enemies and pits; where that leads nowhere, back."""
    player, is_wall = names["player"], names["is_wall"]
    seen = names.setdefault("seen_columns", [])
    seen.append(player.x)
    if len(seen) > 60 and max(seen[-60:]) - min(seen[-60:]) < 16:
        names["back_until"] = frame + int(rng.integers(12, 40))
        seen.clear()
    back = frame < names.get("back_until", 0)
    column, above = player.x + (-4 if back else 12), range(int(player.y) - 8, 0, -8)
    blocked = is_wall(column, player.y + 4) and any(not is_wall(column, y) for y in above)
    enemy = any(abs(e.x - player.x) < 22 and abs(e.y - player.y) < 14 for e in names["enemies"])
    below = range(int(player.y), 128, 8)
    pit = player.y > 96 and not any(is_wall(player.x + dx, y) for dx in (0, 8) for y in below)
    jump = player.dy >= 2 and (pit or (not back and (enemy or blocked or frame % 71 == 0)))
    return {"KEY_LEFT": back, "KEY_RIGHT": not back, "KEY_SPACE": jump}


def _shoot(app: Any, names: dict[str, Any], frame: int, rng: np.random.Generator) -> Buttons:
    """Shooter: sweep and fire, and start again after a hit."""
    right = (frame // 40) % 2 == 0
    return {
        "KEY_RIGHT": right,
        "KEY_LEFT": not right,
        "KEY_SPACE": frame % 5 == 0,
        "KEY_RETURN": frame % 30 == 5,
    }


def _slither(app: Any, names: dict[str, Any], frame: int, rng: np.random.Generator) -> Buttons:
    """Snake: turn towards the apple."""
    (x, y), (apple_x, apple_y) = app.snake[0], app.apple
    return {
        "KEY_LEFT": apple_x < x,
        "KEY_RIGHT": apple_x > x,
        "KEY_UP": apple_x == x and apple_y < y,
        "KEY_DOWN": apple_x == x and apple_y > y,
        "KEY_R": app.death,
    }


_PLAYERS: dict[str, Player] = {"platformer": _run, "jump_game": _hop, "shooter": _shoot, "snake": _slither}


def main(game: str, seed: int, num_frames: int) -> None:
    """Run a sample game headless with its scripted player and write its frames to standard output."""
    import pyxel  # the game's process alone needs it

    # warnings of the sound system on standard output would garble the frames
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    folder = Path(pyxel.__file__).parent / "examples"
    rng = np.random.default_rng(seed)
    initialize = pyxel.init

    def init(width: int, height: int, **options: Any) -> None:
        # as fast as it goes: without a display, `flip` still waits for the game's own rate
        initialize(width, height, **{**options, "fps": 100_000, "headless": True})
        pyxel.rseed(seed % 2**31)
        os.chdir(folder)
        palette = [[color >> 16, color >> 8 & 255, color & 255] for color in list(pyxel.colors)]
        output.write(json.dumps({"width": width, "height": height, "palette": palette}).encode() + b"\n")

    def run(update: Callable[[], None], draw: Callable[[], None]) -> None:
        app, names = update.__self__, update.__globals__  # type: ignore[attr-defined]
        for frame in range(num_frames):
            for key, down in _PLAYERS[game](app, names, frame, rng).items():
                pyxel.set_btn(getattr(pyxel, key), down)
            update()
            draw()
            output.write(bytes(pyxel.screen.data_ptr()))
            pyxel.flip()
        output.flush()
        raise _Over

    silence: Callable[..., None] = lambda *args, **options: None  # noqa: E731
    for name, replacement in {"init": init, "run": run, "play": silence, "playm": silence}.items():
        setattr(pyxel, name, replacement)
    try:
        runpy.run_path(str(folder / GAMES[game]), run_name="__main__")
    except _Over:
        # past pyxel's own clean-up, which waits for its sound thread
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
