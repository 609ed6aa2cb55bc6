"""A world whose every frame is known, the play page served from it, and what its browser tests do with a page."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assets.cli.server import run_uvicorn, server_of
from models.play.key_hints import KeyHint, WorldHints
from models.play.page import MAX_BODY, PAGE, play_app
from models.play.starts.held_out import StartFrame
from models.play.starts.routes import UPLOADS
from pipeline.arcade.platformer import record_platformer
from pipeline.config import PlayConfig
from pipeline.serving import Address, Listener

STAND, LEFT, RIGHT, JUMP, JUMP_RIGHT, TWIN = 0, 1, 2, 3, 5, 7
WIDTH, HEIGHT, STEP, RISE = 160, 90, 5, 9
MOVES = {LEFT: -STEP, RIGHT: STEP, JUMP: RISE * WIDTH, JUMP_RIGHT: RISE * WIDTH + STEP, TWIN: STEP}
"""By how much each action changes the token; the others stand."""
PATIENCE_S = 90
"""A machine that is busy with other work answers late."""
HINTS = WorldHints(
    "The keys control this world.",
    {
        STAND: KeyHint("stands", "•"),
        **dict.fromkeys((4, 6), KeyHint("stands", "•", twin_of=STAND)),
        LEFT: KeyHint("view moves left", "←", right=-5.0, keys=("ArrowLeft", "KeyA")),
        RIGHT: KeyHint("view moves right", "→", right=5.0, keys=("ArrowRight", "KeyD")),
        JUMP: KeyHint("rises", "↑", keys=("ArrowUp", "KeyW", "Space")),
        JUMP_RIGHT: KeyHint("rises, view moves right", "↗", right=5.0, keys=("ArrowUp+ArrowRight", "KeyW+KeyD")),
        TWIN: KeyHint("view moves right", "→", right=4.0, twin_of=RIGHT),
    },
)


class RollingWorld:
    """The pictures that it has seen, rolled left by the token's rest of 160 and down by its 160s."""

    model_id = "rolling"
    num_actions = 8
    context = decoder_window = 1

    def __init__(self) -> None:
        self.pictures = [next(iter(record_platformer(0, 1, fps=10)))]

    def encode(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[[self._token(frame.numpy())] for frame in video] for video in video_BTHWC])

    def _token(self, frame: np.ndarray) -> int:
        for index, known in enumerate(self.pictures):
            if np.array_equal(known, frame):
                return index * WIDTH * HEIGHT
        self.pictures.append(frame)
        return (len(self.pictures) - 1) * WIDTH * HEIGHT

    def decode(self, tokens_BTP: torch.Tensor) -> torch.Tensor:
        frames = [[self.frame_of(int(token)) for token in video] for video in tokens_BTP[..., 0]]
        return torch.from_numpy(np.array(frames))

    def infer_actions(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        return torch.full((video_BTHWC.shape[0], video_BTHWC.shape[1] - 1), RIGHT)

    def begin(self, prompt_tokens_BTP: torch.Tensor, latent_actions_BA: torch.Tensor, *, sampling: object) -> Rolling:
        return Rolling(self, int(prompt_tokens_BTP[0, -1, 0]))

    def after(self, token: int, *actions: int) -> int:
        """Return the token that actions lead to."""
        picture, moved = divmod(token, WIDTH * HEIGHT)
        moved += sum(MOVES.get(action, 0) for action in actions)
        return picture * WIDTH * HEIGHT + moved % (WIDTH * HEIGHT)

    def frame_of(self, token: int) -> np.ndarray:
        picture, moved = divmod(token, WIDTH * HEIGHT)
        return np.roll(self.pictures[picture], (moved // WIDTH, -(moved % WIDTH)), (0, 1))

    def shown(self, *actions: int) -> np.ndarray:
        """Return the frame that actions lead to from the first start."""
        return self.frame_of(self.after(0, *actions))


class Rolling:
    """A rollout of it."""

    def __init__(self, world: RollingWorld, token: int) -> None:
        self.world, self.token = world, token

    def step(self, latent_actions_B: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        self.token = self.world.after(self.token, int(latent_actions_B[0]))
        return torch.tensor([[self.token]])

    def pixels(self) -> torch.Tensor:
        return self.world.decode(torch.tensor([[[self.token]]]))[0]


def app_of(world: Any = None, hints: WorldHints = HINTS) -> Any:
    """Return the app of a world with four starts."""
    starts = [StartFrame(next(iter(record_platformer(seed, 1, fps=10))), f"clip-{seed}") for seed in range(4)]
    return play_app(world or RollingWorld(), starts, PlayConfig(), hints=hints)


def serve_forever(port: int) -> None:
    """Serve until the process is killed, and print the address."""
    with Listener(Address(port=port)) as listener:
        listener.serve(
            app_of(),
            PAGE.read_text("utf-8"),
            run=run_uvicorn,
            on_ready=lambda url: print(url, flush=True),
            max_body=MAX_BODY,
            uploads=UPLOADS,
        )


class PlayServer:
    """The page's server in a thread, which can be stopped and started again on the same port."""

    def __init__(self, world: Any = None, hints: WorldHints = HINTS) -> None:
        self.port, self.url = 0, ""
        self.world, self.hints = world, hints
        self.start()

    def start(self) -> None:
        self.listener = Listener(Address(port=self.port))
        self.url = self.listener.url
        self.port = int(self.url.rsplit(":", 1)[1].strip("/"))
        self.server: Any = None

        def run(guarded: Any, listening: Any) -> None:
            self.server = server_of(guarded)
            self.server.run(sockets=[listening])

        options = {"run": run, "on_ready": lambda url: None, "max_body": MAX_BODY, "uploads": UPLOADS}
        arguments = (app_of(self.world, self.hints), PAGE.read_text("utf-8"))
        self.thread = threading.Thread(target=self.listener.serve, args=arguments, kwargs=options)
        self.thread.start()
        while self.server is None or not self.server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(30)
        self.listener.close()


class PlayProcess:
    """The page's server in a process of its own, which can be killed and started again on the same port."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from tests.play_server import serve_forever; serve_forever({self.port})"],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        assert self.process.stdout is not None
        found = re.search(r"http://[\d.]+:(\d+)/", self.process.stdout.readline())
        assert found
        self.url, self.port = found[0], int(found[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


def until(page: Any, condition: str) -> None:
    """Wait for a JavaScript condition (Playwright's own waiting needs `eval`, which the page's policy forbids)."""
    deadline = time.monotonic() + PATIENCE_S
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"never came true: {condition}"
        page.wait_for_timeout(50)


def frame(page: Any, canvas: str = "picture") -> np.ndarray:
    """Return the pixels (H, W, 3) of a canvas."""
    width, height, pixels = page.evaluate(
        """id => { const canvas = document.getElementById(id), { width, height } = canvas;
        return [width, height, Array.from(canvas.getContext("2d").getImageData(0, 0, width, height).data)]; }""",
        canvas,
    )
    return np.array(pixels, np.uint8).reshape(height, width, 4)[..., :3]


def at(page: Any, t: int) -> np.ndarray:
    """Wait until the frame of time t is shown, and return its pixels."""
    page.wait_for_selector(f"body[data-t='{t}']")
    return frame(page)


def tap(page: Any, *codes: str) -> None:
    """Press keys together and release them with nothing in between, however busy the machine is."""
    page.evaluate(
        """codes => { for (const type of ["keydown", "keyup"]) for (const code of codes)
        dispatchEvent(new KeyboardEvent(type, { key: code, code, cancelable: true })); }""",
        list(codes),
    )


def new_game(page: Any, begin: Callable[[], Any]) -> np.ndarray:
    """Do what begins another game, wait for it, and return its first frame."""
    game = page.evaluate("document.body.dataset.game")
    begin()
    until(page, f"document.body.dataset.game !== {json.dumps(game)}")
    return at(page, 0)


def press(page: Any, *codes: str) -> np.ndarray:
    """Tap keys, wait for the next frame, and return it."""
    t = int(page.evaluate("document.body.dataset.t"))
    tap(page, *codes)
    return at(page, t + 1)
