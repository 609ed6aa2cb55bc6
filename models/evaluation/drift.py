"""How rollouts degrade once they are longer than the dynamics' context, in both modes of `past_window`.

Frames are rolled out far past the context under the actions inferred from held-out videos, once with the window
recomputed for each frame (`prefill`) and once with the cached states kept (`ring`). Each frame is compared with the
true one. Both start from the same prompt with the same seed, so they are equal until the context is full; any
difference afterwards is the cost of the faster mode.

Shapes: N windows, T frames, H W C pixels, S generated frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from models.evaluation.held_out import HeldOutClip
from models.evaluation.metric import Metric, Metrics, mean_over_sources, unknown
from models.evaluation.rollouts import encode
from models.evaluation.world_interface import World
from models.metrics import psnr
from pipeline.config import EvaluationConfig

MODES: tuple[Literal["prefill", "ring"], ...] = ("prefill", "ring")
_NAMES = ("drift_psnr_prefill", "drift_psnr_ring", "drift_ring_below_prefill")
_MAX_SOURCES = 8  # long rollouts are expensive


@dataclass(frozen=True)
class Drift:
    """PSNR of long rollouts."""

    metrics: Metrics
    """Means over the frames past the context: `drift_psnr_prefill`, `drift_psnr_ring`, `drift_ring_below_prefill`."""
    by_frame: dict[str, int | list[Metric]] | None
    """`context`, `prompt`, and the same three metrics as lists, frame by frame; None where no clip is long enough."""

    def as_json(self) -> dict[str, Any]:
        """Return the metrics, and the lists under `drift`."""
        return {**self.metrics, **({} if self.by_frame is None else {"drift": self.by_frame})}


def measure_drift(
    world: World,
    clips: Sequence[HeldOutClip],
    clip_codes: Sequence[np.ndarray],
    config: EvaluationConfig,
    advance: Callable[[], None] = lambda: None,
) -> Drift:
    """Return the PSNR of long rollouts in both modes, and what `ring` loses.

    Args:
        world: the world model.
        clips: held-out clips; one window from the middle of the first long clip of each of the first 8 sources is used.
        clip_codes: the actions inferred from each clip.
        config: sampling, seed, prompt, and the length of the rollouts in contexts.
        advance: called after each mode.
    """
    prompt, count = config.prompt_frames, config.drift_contexts * world.context
    chosen = _middle_windows(clips, prompt + count)
    if not chosen:
        for _ in MODES:
            advance()
        return Drift({name: unknown(f"no held-out clip has {prompt + count} frames") for name in _NAMES}, None)
    video = np.stack([clips[index].frames_THWC[start:][: prompt + count] for index, start in chosen])
    codes = np.stack([clip_codes[index][start:][: prompt + count - 1] for index, start in chosen])
    tokens = encode(world, video[:, :prompt])
    found = []
    for mode in MODES:
        frames = world.play(
            tokens,
            torch.from_numpy(codes.astype(np.int64)),
            sampling=replace(config, past_window=mode),
            generator=torch.Generator(tokens.device).manual_seed(config.seed),
        )
        found.append(psnr(video[:, prompt:], frames.cpu().numpy()))
        advance()
    sources = [clips[index].video_id for index, _ in chosen]
    metrics: Metrics = {}
    by_frame: dict[str, int | list[Metric]] = {"context": world.context, "prompt": prompt}
    # the first new frame whose past no longer fits into the context
    full = max(0, world.context - prompt)
    for name, values in zip(_NAMES, [*found, found[0] - found[1]], strict=True):
        metrics[name] = mean_over_sources(values[:, full:].mean(1), sources, config)
        by_frame[name] = [mean_over_sources(step, sources, config) for step in values.T]
    return Drift(metrics, by_frame)


def _middle_windows(clips: Sequence[HeldOutClip], length: int) -> list[tuple[int, int]]:
    """Return (clip, first frame) of a window in the middle of the first clip that is long enough, per source."""
    first: dict[str, int] = {}
    for index, clip in enumerate(clips):
        if len(clip.frames_THWC) >= length:
            first.setdefault(clip.video_id, index)
    return [(index, (len(clips[index].frames_THWC) - length) // 2) for index in list(first.values())[:_MAX_SOURCES]]
