"""How a world holds once it is longer than its window: the two ways to treat the past, side by side.

Frames are rolled out far past the dynamics' context, led by the actions inferred from held-out videos, once with the
window computed anew for each frame (`prefill`) and once with the past kept as it was made (`ring`); each frame is
compared with the true one. Both start from the same prompt with the same seed, so that they are equal until the
window is full; what they differ by afterwards is what the sooner way costs.

Shapes: N windows, T frames, H W C pixels, S generated frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from models.evaluation.held_out import HeldOutClip
from models.evaluation.measure import absent, figure_of
from models.evaluation.rollouts import World, encode
from models.metrics import psnr
from pipeline.config import EvaluationConfig

MODES: tuple[Literal["prefill", "ring"], ...] = ("prefill", "ring")
_CLIPS = 8  # long rollouts are dear: so many sources at most


def measure_drift(
    world: World,
    clips: Sequence[HeldOutClip],
    clip_codes: Sequence[np.ndarray],
    config: EvaluationConfig,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Return the PSNR of long rollouts in both modes, and what `ring` loses.

    Args:
        world: the world model.
        clips: held-out clips; the first one of each of the first 8 sources is used, from its middle.
        clip_codes: the actions inferred from each clip.
        config: sampling, seed, prompt, and the length of the rollouts in contexts.
        advance: called after each mode.

    Returns:
        the means over the frames past the window: `drift_psnr_prefill`, `drift_psnr_ring`, and
        `drift_ring_below_prefill`; `drift` holds `context`, `prompt` and lists of the same three frame by frame.
    """
    prompt, count = config.prompt_frames, config.drift_contexts * world.context
    chosen = _middles(clips, prompt + count)
    names = ["drift_psnr_prefill", "drift_psnr_ring", "drift_ring_below_prefill"]
    if not chosen:
        for _ in MODES:
            advance()
        return {name: absent(f"no held-out clip has {prompt + count} frames") for name in names}
    video = np.stack([clips[index].frames_THWC[start:][: prompt + count] for index, start in chosen])
    codes = np.stack([clip_codes[index][start:][: prompt + count - 1] for index, start in chosen])
    tokens = encode(world, video[:, :prompt])
    found = []
    for mode in MODES:
        drawn = world.play(
            tokens,
            torch.from_numpy(codes.astype(np.int64)),
            sampling=replace(config, past_window=mode),
            generator=torch.Generator(tokens.device).manual_seed(config.seed),
        )
        found.append(psnr(video[:, prompt:], drawn.cpu().numpy()))
        advance()
    sources = [clips[index].video_id for index, _ in chosen]
    figures: dict[str, Any] = {}
    by_frame: dict[str, Any] = {"context": world.context, "prompt": prompt}
    # frames some of whose past has left: all new ones but those that the first window holds
    full = max(0, world.context - prompt)
    for name, values in zip(names, [*found, found[0] - found[1]], strict=True):
        figures[name] = figure_of(values[:, full:].mean(1), sources, config)
        by_frame[name] = [figure_of(step, sources, config) for step in values.T]
    return {**figures, "drift": by_frame}


def _middles(clips: Sequence[HeldOutClip], length: int) -> list[tuple[int, int]]:
    """Return clip and first frame of the windows: one in the middle of the first long clip of each source."""
    first: dict[str, int] = {}
    for index, clip in enumerate(clips):
        if len(clip.frames_THWC) >= length:
            first.setdefault(clip.video_id, index)
    return [(index, (len(clips[index].frames_THWC) - length) // 2) for index in list(first.values())[:_CLIPS]]
