"""A folder of real recordings with every trap that such a folder holds."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from assets.cli.main import main
from pipeline.arcade.platformer import record_platformer
from tests.media import at_rest

SECONDS = 5
"""Length of a good recording: one clip of 4 s, and something left over."""


def gameplay(seed: int, seconds: float, *, fps: int = 30, height: int = 180, width: int = 320) -> np.ndarray:
    """Frames (T, H, W, 3) of the platformer, enlarged by repetition and padded to the asked size."""
    steps = round(seconds * 10)
    frames = np.stack(list(record_platformer(seed, steps, fps=fps)))
    scale = max(1, min(height // 90, width // 160))
    frames = frames.repeat(scale, 1).repeat(scale, 2)[:, :height, :width]
    padding = ((0, 0), (0, height - frames.shape[1]), (0, width - frames.shape[2]), (0, 0))
    return np.pad(frames, padding)


@pytest.fixture(scope="session")
def trap_folder(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """Every kind of file that a folder of recordings holds: good ones, odd ones and broken ones."""
    folder = tmp_path_factory.mktemp("recordings")
    make_video(folder / "plain.mp4", gameplay(1, SECONDS))
    make_video(folder / "sixty.mp4", gameplay(2, SECONDS, fps=60), fps=60)
    make_video(folder / "vp9.webm", gameplay(3, SECONDS, fps=10), fps=10, codec="libvpx-vp9")
    make_video(folder / "silent and sounding.mkv", gameplay(4, SECONDS, fps=10), fps=10, audio=True)
    make_video(folder / "vertical.mp4", gameplay(5, SECONDS, fps=10, height=320, width=180), fps=10)
    make_video(folder / "four by three.mp4", gameplay(6, SECONDS, fps=10, height=240, width=320), fps=10)
    make_video(folder / "short.mp4", gameplay(7, SECONDS - 2))
    variable = gameplay(8, SECONDS)
    pts = np.cumsum(np.random.default_rng(0).integers(1500, 4500, len(variable))).tolist()
    make_video(folder / "variable.mp4", variable, pts=pts)
    late = gameplay(9, SECONDS, fps=10)
    make_video(folder / "late.mkv", late, fps=10, pts=[333000 + 9000 * index for index in range(len(late))])
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "page.mp4").write_bytes(b"<!doctype html><title>Not a video</title>" * 50)
    whole = make_video(folder / "truncated.mp4", gameplay(10, SECONDS)).read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    hostile = folder / "sub" / ("x 'quote\" \n newline 🎮 " + "w" * 150 + ".mp4")
    make_video(hostile, gameplay(11, SECONDS, fps=10), fps=10)
    return at_rest(folder)


TINY_STACK = {"layers": 1, "d_model": 32, "heads": 2, "head_dim": 16, "kv_heads": 2}


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, object]:
    """Settings over the demo preset with which the whole graph runs in well under a minute."""
    return {
        "preset": "demo",
        "engine": {"workers": 2},
        "embedding": {"width": 32, "height": 32, "frames": 1},
        "labels": {"min_per_class": 2},
        "classifier": {
            "width": 8, "steps": 20, "batch": 8, "frames_per_clip": 4, "folds": 2, "repeats": 1, "min_auc": 0.0,
        },
        "decision": {"target_precision": 0.1, "drop_below": 0.0, "middle": "keep"},
        "tokenizer": {"steps": 6, "batch": 2, "encoder": TINY_STACK, "decoder": TINY_STACK, "min_psnr": 0.0},
        "latent_actions": {"unquantized_steps": 3, "encoder": TINY_STACK, "decoder": TINY_STACK},
        "dynamics": {"steps": 6, "batch": 2, "stack": TINY_STACK},
        "training": {"checkpoint_every": 2, "eval_windows": 4, "threads": 1},
        "evaluation": {
            "windows_per_clip": 1, "maskgit_steps": 1, "bootstrap_draws": 20, "shuffles": 20, "rollout_frames": 2,
            "kmeans_patches": 500, "random_draws": 1, "drift_contexts": 1, "doubt_windows": 1, "doubt_frames": 3,
            "character_frames": 2, "character_windows": 1, "character_starts": 1, "feature_nets": ["own"],
            "fidelity_frames": 4, "fidelity_windows": 1, "fidelity_draws": 10, "inverse_dynamics_steps": 1,
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless Chromium for the tests of a page; each test opens a page of its own, with storage of its own.

    Not for the session: Playwright's event loop would stay in this thread, where later tests start their own.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the pages are tested in Chromium: install the package `chromium`")
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need the dev extra: playwright")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield running
        running.close()


@pytest.fixture
def play_server() -> Iterator[Any]:
    """The play page of a world whose frames are known."""
    from tests.play_server import PlayServer  # it imports torch, and most tests here do not

    server = PlayServer()
    yield server
    server.stop()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open play pages, each with storage of its own, that may not have an error."""
    contexts: list[Any] = []
    errors: list[str] = []
    # the browser notes every refused connection
    expected = (
        "ERR_CONNECTION_REFUSED",
        "ERR_EMPTY_RESPONSE",
        "ERR_CONNECTION_RESET",
        "WebSocket connection to",
        "status of 4",
    )

    def note(line: Any) -> None:
        if line.type == "error" and not any(text in line.text for text in expected):
            errors.append(line.text)

    def open_one(url: str, **options: Any) -> Any:
        contexts.append(browser.new_context(**{"viewport": {"width": 1180, "height": 820}, **options}))
        contexts[-1].set_default_timeout(90_000)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", note)
        page.goto(url)
        page.wait_for_selector("body[data-t]")
        return page

    yield open_one
    assert errors == []
    for context in contexts:
        context.close()


class Command:
    """`lampworks` as a user starts it: a process of its own, from another folder.

    A context manager: leaving it kills what still runs, so that a test which fails or meets its time limit leaves no
    process behind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("LAMPWORKS_")}
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()  # its workers end with it
                process.communicate()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and return its process."""
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("lampworks")), *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end, expect its exit code, and return what it printed.

        The time limit is that of the test: how long a command takes depends on what runs beside it.
        """
        process = self.start(*arguments)
        output = process.communicate()[0]
        assert process.returncode == code, f"lampworks {' '.join(arguments)} ended with {process.returncode}:\n{output}"
        return output

    def here(self, *arguments: str, code: int = 0) -> str:
        """Run a command in this process, without seconds of imports; expect its exit code, and return what it printed.

        For questions, and for the passes of a test after its first: those need no process to be the same command.
        """
        printed, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            ended = main(arguments)
        output = said.getvalue() + printed.getvalue()
        assert ended == code, f"lampworks {' '.join(arguments)} ended with {ended}:\n{output}"
        return printed.getvalue() if "--json" in arguments else output


@pytest.fixture
def lampworks(tmp_path: Path) -> Iterator[Command]:
    """The command, started in an empty folder."""
    with Command(tmp_path) as command:
        yield command
