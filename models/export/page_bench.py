"""Measure an exported page: open it from disk without a network, press keys, and compare its frames with the server's.

Shapes: H W C pixels.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.export.contents import contents_of
from models.export.export_page import Backends, Weights, export_page
from models.runtime.compute import Compute
from models.world.load import load_world
from models.world.world import WorldModel
from pipeline.bench.browser import browser_page
from pipeline.config import Config
from pipeline.config.evaluation import SamplingConfig
from pipeline.progress import ProgressCallback
from pipeline.storage.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Page

_KEYS = 8  # digits that a page takes as actions
_ROUNDED = 1  # levels of 255 that a value half way between two may be off; another token differs by far more
_WAIT_MS = 120_000
_LOOK_S = 0.1
_FRAME = "Number(document.body.dataset.t)"
_PIXELS = """(() => {
  const canvas = document.getElementById("picture");
  return Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
})()"""


@dataclass(frozen=True)
class PageTimes:
    """What one page took, and how far its frames were those of a server that computes in fp32."""

    weights: str
    size_mb: float
    backend: str
    """What the browser computed with, as the page names it: `WASM` or `WebGPU`."""
    threads: int
    """2 where a worker decodes the pictures."""
    presses: int
    median_ms: float
    """From the start of a frame's computation to the picture on the canvas."""
    p95_ms: float
    worst_ms: float
    held_fps: float
    """Frames a second while a key is held and the page may play as fast as it can."""
    equal: int
    """Frames of `presses` of which no pixel is more than 1 of 255 off."""
    equal_until: int
    """Frames before the first that is not equal."""
    largest_difference: int
    """Of a pixel of the equal frames, in levels."""


def bench_page(
    store: Store,
    config: Config,
    model: str | None,
    weights: Weights,
    presses: int,
    *,
    backends: Backends = "webgpu",
    on_progress: ProgressCallback | None = None,
) -> PageTimes:
    """Export a world, open the page in a headless Chromium with the network off, and press random keys.

    Args:
        store: holds the world and its evaluation.
        config: the configured world is exported, with the settings of `play`.
        model: id of another world.
        weights: how the page stores them.
        presses: keys, one frame each.
        backends: what the page may compute with.
        on_progress: called with a line for each quarter of the keys.

    Raises:
        UserError: there is no browser, no world or no start frame.
    """
    world = load_world(store, model or config, Compute(torch.device("cpu"), torch.float32, "beside the page"))
    about = contents_of(store, config, world, 1).about
    draw = random.Random(0)
    actions = [draw.randrange(min(world.num_actions, _KEYS)) for _ in range(presses)]
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder, browser_page(offline=True) as page:
        file = Path(folder) / "world.html"
        exported = export_page(store, config, file, model, starts=1, weights=weights, backends=backends)
        page.set_default_timeout(_WAIT_MS)
        page.goto(file.as_uri())
        page.wait_for_selector("body[data-ready]", state="attached")
        backend = str(page.evaluate("document.body.dataset.backend"))
        page.keyboard.press("p")  # while it is paused, a key makes one frame
        times, frames = [], []
        for t, action in enumerate(actions, 1):
            page.keyboard.press(str(action + 1))
            page.wait_for_selector(f'body[data-t="{t}"]', state="attached")
            times.append(float(page.evaluate("Number(document.body.dataset.ms)")))
            frames.append(_shown(page, about))
            if on_progress is not None and t % max(1, presses // 4) == 0:
                on_progress(f"{weights}: {t} of {presses} keys, {statistics.median(times):.0f} ms a frame")
        threads = int(page.evaluate("document.body.dataset.threads"))
        held_fps = _held(page, presses)
    off = _differences(frames, world, about, actions)
    equal = [each for each in off if each <= _ROUNDED]
    ordered = sorted(times)
    return PageTimes(
        weights=weights,
        size_mb=exported.size_bytes / 1e6,
        backend=backend,
        threads=threads,
        presses=presses,
        median_ms=statistics.median(times),
        p95_ms=ordered[int(0.95 * (presses - 1))],
        worst_ms=ordered[-1],
        held_fps=held_fps,
        equal=len(equal),
        equal_until=next((t for t, each in enumerate(off) if each > _ROUNDED), presses),
        largest_difference=max(equal, default=0),
    )


def _held(page: Page, frames: int) -> float:
    """Return the frames a second while a paused page goes on with a key held, without a limit of its speed."""
    page.select_option("#speed", label="as fast as it can")
    page.locator("#speed").evaluate("element => element.blur()")
    page.keyboard.press("p")
    page.keyboard.down("1")
    shown, began = int(page.evaluate(_FRAME)), time.perf_counter()
    first = shown
    while shown < first + frames and time.perf_counter() - began < _WAIT_MS / 1000:
        time.sleep(_LOOK_S)
        shown = int(page.evaluate(_FRAME))
    took = time.perf_counter() - began
    page.keyboard.up("1")
    return (shown - first) / took


def _shown(page: Page, about: dict[str, Any]) -> np.ndarray:
    """Return the picture (H, W, C) on the canvas."""
    return np.array(page.evaluate(_PIXELS), np.int16).reshape(about["height"], about["width"], 4)[..., :3]


def _differences(
    frames: Sequence[np.ndarray], world: WorldModel, about: dict[str, Any], actions: Sequence[int]
) -> list[int]:
    """Return by how many levels a pixel of each frame is off the server's, at most."""
    sampling = SamplingConfig(**about["sampling"])
    start = torch.tensor([[about["starts"][0]["tokens"]]])
    session = world.begin(start, torch.zeros(1, 0, dtype=torch.int64), sampling=sampling)
    off = []
    for t, (frame, action) in enumerate(zip(frames, actions, strict=True)):
        session.step(torch.tensor([action]), torch.Generator().manual_seed(about["seed"] + t))
        off.append(int(np.abs(session.pixels()[0].numpy().astype(np.int16) - frame).max()))
    return off
