"""Pictures of a training on its way: reconstructions of a tokenizer, rollouts of a world, from held-out clips.

Their number (`training.pictures`) and their bytes are bounded; `pipeline.storage.run_pictures` stores them.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models.networks.patches import as_float
from models.sheets import bounded, sheet
from models.training.held_windows import HeldWindows
from models.training.tokenizer_training import TokenizerTraining
from models.training.true_actions import true_actions
from models.training.validation import as_in_use
from models.training.world_training import WorldTraining
from models.world.world import WorldModel
from pipeline.config.evaluation import SamplingConfig
from pipeline.ids import split_clip_id
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown, taken_down

MOST_BYTES = 512 << 10
"""Of one picture."""
FRAMES = 8
"""Frames of a row after its first."""
_CLIPS, _ACTIONS, _SIDE = 3, 8, 160


class Drawn(NamedTuple):
    """A picture on its way to the store and to TensorBoard."""

    data: bytes
    kind: str
    """Of the file: `png` or `jpg`."""
    size: tuple[int, int]
    clip_ids: list[str]


def draw_picture(
    store: Store,
    training: TokenizerTraining | WorldTraining,
    windows: HeldWindows,
    step: int,
    sampling: SamplingConfig,
) -> Drawn | None:
    """Return what a training draws after `step` steps; None where all its clips were taken down meanwhile.

    Args:
        store: has the tombstones.
        training: what is trained; nothing of it changes.
        windows: held-out windows.
        step: steps taken.
        sampling: how frames of rollouts are sampled.
    """

    def draw() -> Drawn | None:
        videos = {clip_id: split_clip_id(clip_id)[0] for clip_id in windows.clip_ids}
        hidden = taken_down(store).hidden_among(store, videos.values())
        first = {videos[name]: row for row, name in reversed([*enumerate(windows.clip_ids)])}
        rows = [row for video, row in sorted(first.items(), key=lambda item: item[1]) if video not in hidden]
        if not rows:
            return None
        with as_in_use(training):
            return _drawn(training, windows, rows, step, sampling)

    return repeat_after_takedown(store, draw)


def _drawn(
    training: TokenizerTraining | WorldTraining,
    windows: HeldWindows,
    rows: list[int],
    step: int,
    sampling: SamplingConfig,
) -> Drawn:
    """Return the picture that a training draws of some windows, one of each video."""
    if isinstance(training, TokenizerTraining):
        shown = rows[:_CLIPS]
        video = windows.video_BTHWC[shown, : training.config.window]
        picture = _pairs(video, _reconstructed(training, video), "reconstructed")
    elif step <= training.alone_steps:
        shown = rows[:_CLIPS]
        video = windows.video_BTHWC[shown, : training.config.context]
        picture = _pairs(video[:, 1:], _next_frames(training, video), "by the LAM")
    else:
        shown = rows[:1]
        picture = _rollouts(training, windows, rows[0], sampling)
    data, kind = bounded(picture, MOST_BYTES)
    with Image.open(io.BytesIO(data)) as final:
        return Drawn(data, kind, final.size, [windows.clip_ids[row] for row in shown])


@torch.inference_mode()
def _reconstructed(training: TokenizerTraining, video: Tensor) -> Tensor:
    with training.compute.autocast():
        pixels = training.tokenizer.decode(training.tokenizer.encode(video.to(training.compute.device)))
    return _bytes(pixels)


@torch.inference_mode()
def _next_frames(training: WorldTraining, video: Tensor) -> Tensor:
    """Return the LAM's predictions of frames 2.. of a video; of a LAM that reads tokens they are decoded."""
    pixels = video.to(training.compute.device)
    with training.compute.autocast():
        frames = training.tokenizer.encode(pixels) if training.lam.reads_tokens else pixels
        guess = training.lam(frames, continuous=True).next_frames
        return _bytes(training.tokenizer.decode(guess.argmax(-1)) if training.lam.reads_tokens else guess)


def _rollouts(training: WorldTraining, windows: HeldWindows, row: int, sampling: SamplingConfig) -> Image.Image:
    """Return rows of true frames, of a rollout under the clip's own actions, and of one under each action."""
    video = windows.video_BTHWC[[row]]
    world = WorldModel(training.tokenizer, training.lam, training.dynamics, compute=training.compute)
    length = video.shape[1] - 1
    count = min(_ACTIONS, world.num_actions)
    truth = training.truth_actions
    own = true_actions(truth, [windows.places[row]], length) if truth else world.infer_actions(video)
    actions = torch.cat([own.cpu(), torch.arange(count)[:, None].expand(count, length)])
    prompt = world.encode(video[:, :1]).expand(count + 1, -1, -1)
    noise = torch.Generator(training.compute.device).manual_seed(training.seed)
    drawn = world.play(prompt, actions, sampling=sampling, generator=noise)
    begins = world.decode(prompt[:1]).expand(count + 1, -1, -1, -1, -1)
    rows = torch.cat([video.to(drawn.device), torch.cat([begins, drawn], 1)])
    labels = [("true", ""), ("its own actions", ""), *((f"action {number}", "") for number in range(1, count + 1))]
    return sheet([_small(row) for row in rows], labels, ["start", *(f"t = {step}" for step in range(1, length + 1))])


def _pairs(true_NTHWC: Tensor, drawn_NTHWC: Tensor, name: str) -> Image.Image:
    """Return two rows per clip: the true frames, and what was drawn of them."""
    frames = slice(0, FRAMES + 1)
    rows = [_small(part[frames]) for pair in zip(true_NTHWC, drawn_NTHWC, strict=True) for part in pair]
    return sheet(rows, [("true", ""), (name, "")] * len(true_NTHWC), [f"t = {step}" for step in range(len(rows[0]))])


def _bytes(video: Tensor) -> Tensor:
    return (as_float(video).float().clamp(0, 1) * 255).round().to(torch.uint8)


def _small(frames_THWC: Tensor) -> np.ndarray:
    """Return frames as an array, made smaller where they are wider or higher than 160 pixels."""
    frames = frames_THWC.cpu().numpy()
    step = -(-max(frames.shape[1:3]) // _SIDE)
    return np.stack([np.asarray(Image.fromarray(frame).reduce(step)) for frame in frames]) if step > 1 else frames
