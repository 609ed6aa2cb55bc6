"""Train one ResNet18 on single frames of rated clips, and compute its logits.

What a logit learns is `classifier.targets`: `paper` tells 5 from 1 (Genie App. B.1), `soft` learns the rating as a
share, `ordinal` learns one scale with four cut points on it (CORAL, Cao et al. 2019), which all ratings place.

The same seed gives the same weights on one kind of processor (docs/data.md says how far).

Dimension keys: N clips, K frames of a clip, B frames of a step, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from classifier.training.arrays import Bools, Floats
from classifier.training.frames import ClipFrames
from classifier.training.resnet import ResNet18, frame_logits
from pipeline.config import ClassifierConfig
from pipeline.usage import hold_gpus

_INITIALIZING = threading.Lock()
SMOOTHING = 0.05
"""Label smoothing: targets are 0.05 and 0.95, so that logits stay finite for the calibration."""


@dataclass(frozen=True)
class TrainingSet:
    """Clips that a network learns from; for targets `paper` those rated 5 or 1."""

    frames: ClipFrames
    rating_N: NDArray[np.int64]
    groups: Sequence[str]
    """Source of each clip."""


def device_of(config: ClassifierConfig) -> torch.device:
    """Return the device that the configuration asks for."""
    name = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    if name.startswith("cuda"):
        hold_gpus()
    return torch.device(name)


def train_network(
    learning: TrainingSet, config: ClassifierConfig, *, seed: int, on_step: Callable[[float], None] | None = None
) -> ResNet18:
    """Return a network trained on single frames, in evaluation mode.

    Good and other clips are drawn equally often, and within each kind every source, whatever its number of clips.

    Args:
        learning: the clips.
        config: sizes and rates.
        seed: of the initial weights, the draws and the augmentation.
        on_step: called with each step's loss.
    """
    device = device_of(config)
    draw = torch.Generator().manual_seed(seed)
    # initial weights come from torch's global generator, and several trainings may run in threads
    with _INITIALIZING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ResNet18(config.width)
    model.to(device).train()
    target_NC, cuts_C = _targets(learning.rating_N, config)
    cuts_C = cuts_C.to(device).requires_grad_(len(cuts_C) > 1)
    learned = [*model.parameters(), cuts_C] if cuts_C.requires_grad else [*model.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=config.weight_decay)
    weights_N = torch.from_numpy(_draw_weights(learning.rating_N >= config.good_rating, learning.groups))
    frames_NKCHW, rows_N = learning.frames.all_MKCHW, torch.from_numpy(learning.frames.rows_N)
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config.steps)
        clips_B = torch.multinomial(weights_N, config.batch, replacement=True, generator=draw)
        picks_B = torch.randint(frames_NKCHW.shape[1], (config.batch,), generator=draw)
        frames_BCHW = augment(frames_NKCHW[rows_N[clips_B], picks_B].float() / 255, draw).to(device)
        logits_BC = model(frames_BCHW)[:, None] - cuts_C
        loss = F.binary_cross_entropy_with_logits(logits_BC, target_NC[clips_B].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if on_step is not None:
            on_step(float(loss.detach()))
    return model.eval()


def augment(frames_BCHW: Tensor, draw: torch.Generator) -> Tensor:
    """Return frames flipped, shifted by up to 4 % and slightly varied in brightness and contrast.

    A flip keeps the class (a mirrored menu is a menu). Shifts stay small because overlays sit at the border.
    """
    size, _, height, width = frames_BCHW.shape
    flips = torch.rand(size, generator=draw) < 0.5
    frames_BCHW = torch.where(flips[:, None, None, None], frames_BCHW.flip(3), frames_BCHW)
    pad = max(1, round(height * 0.04))
    padded = F.pad(frames_BCHW, (pad, pad, pad, pad), mode="replicate")
    tops, lefts = torch.randint(2 * pad + 1, (2, size), generator=draw).tolist()
    frames_BCHW = torch.stack([
        picture[:, top : top + height, left : left + width]
        for picture, top, left in zip(padded, tops, lefts, strict=True)
    ])  # fmt: skip
    contrast, brightness = torch.rand(2, size, 1, 1, 1, generator=draw) * 2 - 1
    return (frames_BCHW * (1 + 0.15 * contrast) + 0.08 * brightness).clamp_(0, 1)


def logits_of(model: ResNet18, frames_NKCHW: Tensor) -> Floats:
    """Return (N, K) frame logits.

    On a CPU every clip is a pass of its own, so that its logits do not depend on the clips beside it; its eight
    frames are work enough for the machine.
    """
    per_pass = 1 if next(model.parameters()).device.type == "cpu" else 64
    found = []
    for clips in frames_NKCHW.split(per_pass):
        found.append(frame_logits(model, clips.flatten(0, 1)).reshape(clips.shape[:2]))
    if not found:
        return np.zeros(frames_NKCHW.shape[:2])
    return np.asarray(torch.cat(found).double().numpy(), np.float64)


def _targets(rating_N: NDArray[np.int64], config: ClassifierConfig) -> tuple[Tensor, Tensor]:
    """Return the targets (N, C) of C logits a frame, and where on the network's scale each of them is 0 at first."""
    if config.targets == "ordinal":
        above_NC = rating_N[:, None] > np.arange(1, 5)
        share_NC, cuts_C = np.where(above_NC, 1 - SMOOTHING, SMOOTHING), [-1.5, -0.5, 0.5, 1.5]
    else:
        # for fives and ones alone, as `paper` learns them, this is the smoothed class
        share_NC, cuts_C = np.clip((rating_N[:, None] - 1) / 4, SMOOTHING, 1 - SMOOTHING), [0.0]
    return torch.from_numpy(share_NC.astype(np.float32)), torch.tensor(cuts_C)


def _draw_weights(good_N: Bools, groups: Sequence[str]) -> Floats:
    keys = [(bool(good), group) for good, group in zip(good_N, groups, strict=True)]
    clips: dict[tuple[bool, str], int] = {}
    for key in keys:
        clips[key] = clips.get(key, 0) + 1
    sources = {kind: sum(1 for good, _ in clips if good is kind) for kind in (False, True)}
    return np.array([1 / (clips[key] * sources[key[0]]) for key in keys])


def _schedule(step: int, steps: int) -> float:
    """Return the factor on the learning rate: linear warm-up over 5 % of the steps, then a cosine to 0."""
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
