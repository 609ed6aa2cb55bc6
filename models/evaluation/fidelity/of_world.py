"""Fidelity of a world: its rollouts under inferred actions beside the held-out videos that they follow.

Shapes: N windows, T frames, H W C pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from models.evaluation.fidelity.figure import Figures
from models.evaluation.fidelity.measure import Videos, in_parts, measure_fidelity, no_figures
from models.evaluation.held_out import HeldOutClip
from models.evaluation.rollouts import decode, encode, roll_out
from models.evaluation.uncertainty import WatchedFrames
from models.evaluation.windows import cut_windows
from models.evaluation.world_interface import World
from models.features.choose import MissingNet
from models.features.net import FeatureNet
from models.runtime.cpu_parallel import CpuParallel
from pipeline.config import EvaluationConfig

_MORE = "hold out more sources (split.val_share, or more videos)"


def measure_world_fidelity(
    world: World,
    clips: Sequence[HeldOutClip],
    clip_codes: Sequence[np.ndarray],
    nets: Sequence[FeatureNet | MissingNet],
    config: EvaluationConfig,
    advance: Callable[[], None] = lambda: None,
    parallel: CpuParallel | None = None,
    watched: WatchedFrames | None = None,
) -> Figures:
    """Return the figures of fidelity of a world; none without networks.

    Args:
        world: the world model.
        clips: held-out clips; those that are long enough are used.
        clip_codes: the actions inferred from each clip, or the true ones of a world that they lead.
        nets: networks of features, and those that are missing.
        config: prompt, sampling, and the settings of fidelity.
        advance: called when it is done.
        parallel: threads that the networks' batches are divided among.
        watched: rollouts of the same world under the same actions, which serve here too where they are long enough.
    """
    if not nets:
        return {}
    length = config.prompt_frames + config.fidelity_frames
    long = [place for place, clip in enumerate(clips) if len(clip.frames_THWC) >= length]
    if not long:
        advance()
        reason = f"no held-out clip has {length} frames: lower evaluation.fidelity_frames"
        return no_figures(nets, reason)
    videos = _of_watched(world, watched, config) if watched else None
    if videos is None:
        videos = rolled_out(world, [clips[at] for at in long], [clip_codes[at] for at in long], config)
    sources = len(set(videos.sources))
    figures = measure_fidelity(in_parts(videos), nets, config, _MORE, sources, parallel.map if parallel else None)
    advance()
    return figures


def rolled_out(
    world: World, clips: Sequence[HeldOutClip], clip_codes: Sequence[np.ndarray], config: EvaluationConfig
) -> Videos:
    """Return `fidelity_windows` rollouts of each clip beside the true frames and the tokenizer's reconstructions."""
    cut = cut_windows(clips, replace(config, horizon=config.fidelity_frames, windows_per_clip=config.fidelity_windows))
    prompt, video = config.prompt_frames, cut.video_NTHWC
    codes = np.stack(
        [clip_codes[clip][start:][: video.shape[1] - 1] for clip, start in zip(cut.clips, cut.starts, strict=True)]
    )
    tokens = encode(world, video)
    generated = roll_out(world, tokens[:, :prompt], codes, config, seed=config.seed)
    return Videos(video[:, prompt:], generated, decode(world, tokens)[:, prompt:], cut.sources)


def _of_watched(world: World, watched: WatchedFrames, config: EvaluationConfig) -> Videos | None:
    """Return rollouts that were made for another figure; None where they are too short, or of fewer windows."""
    video, drawn, prompt = watched.video_NTHWC, watched.drawn_NSHWC, config.prompt_frames
    same = config.doubt_windows == config.fidelity_windows
    if video is None or drawn is None or not same or drawn.shape[1] < config.fidelity_frames:
        return None
    video = video[:, : prompt + config.fidelity_frames]
    again = decode(world, encode(world, video))[:, prompt:]
    return Videos(video[:, prompt:], drawn[:, : config.fidelity_frames], again, watched.sources)
