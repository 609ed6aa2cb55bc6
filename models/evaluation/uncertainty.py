"""Whether a world knows when it guesses: its doubt about the frames of held-out rollouts, beside their true error.

Rollouts under inferred actions are compared with the videos frame by frame. The error of a frame is its mean squared
error. A calibration turns the world's signals into a score (`models.uncertainty`), and what is published is how well
the score ranks the errors: Spearman's correlation over all frames, each scored by a calibration of other sources.

In a rollout the error grows with time, so time alone ranks errors too. Two more figures keep that apart: the same
correlation among frames of the same t, and that of t alone.

Shapes: N windows, S generated frames, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from models.evaluation.held_out import HeldOutClip
from models.evaluation.metric import Metric, Metrics, unknown, with_interval
from models.evaluation.rollouts import encode
from models.evaluation.windows import cut_windows
from models.evaluation.world_interface import World
from models.metrics import MSE_FLOOR, bootstrap, psnr
from models.uncertainty.calibration import decibel
from models.uncertainty.fit import (
    correlation_of_moments,
    cross_fitted_scores,
    fit_calibration,
    moments_by_source,
    ranks,
    ranks_within,
)
from pipeline.config import EvaluationConfig

NAMES = ("doubt_rank_correlation", "doubt_rank_correlation_within_t", "doubt_rank_correlation_of_t_alone")
_LIMIT_QUANTILE = 0.9
_LIMIT = "worse than nine of ten first frames of held-out rollouts"
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What was measured of a world's doubt."""

    metrics: Metrics
    calibration: dict[str, Any] | None
    """As `models.uncertainty.calibration` reads it, with what it was made from; None where none can be made."""

    def as_json(self) -> dict[str, Any]:
        """Return the metrics, and the calibration under `doubt`."""
        return {**self.metrics, "doubt": self.calibration}


@dataclass(frozen=True, eq=False)
class WatchedFrames:
    """Frames of rollouts with what a world knew of them and what it did not."""

    features_NSF: np.ndarray
    mse_NS: np.ndarray
    sources: list[str]
    """Video id of each window."""
    video_NTHWC: np.ndarray | None = None
    """The windows: a prompt, and the true frames after it."""
    drawn_NSHWC: np.ndarray | None = None
    """The rollouts, uint8."""


def measure_uncertainty(
    world: World,
    clips: Sequence[HeldOutClip],
    clip_codes: Sequence[np.ndarray],
    config: EvaluationConfig,
    advance: Callable[[], None] = lambda: None,
    keep: list[WatchedFrames] | None = None,
) -> Uncertainty:
    """Return how well a world's doubt ranks its errors, and the calibration.

    Args:
        world: the world model.
        clips: held-out clips; those that are long enough are used.
        clip_codes: the actions inferred from each clip.
        config: sampling, seed, prompt, number and length of the rollouts.
        advance: called when it is done.
        keep: gets the rollouts, where it is given: they are expensive, and serve other figures too.
    """
    length = config.prompt_frames + config.doubt_frames
    long = [place for place, clip in enumerate(clips) if len(clip.frames_THWC) >= length]
    if not long:
        advance()
        return Uncertainty(dict.fromkeys(NAMES, unknown(f"no held-out clip has {length} frames")), None)
    watched = watch(world, [clips[at] for at in long], [clip_codes[at] for at in long], config)
    if keep is not None:
        keep.append(watched)
    advance()
    return calibrate(watched, config)


def watch(
    world: World, clips: Sequence[HeldOutClip], clip_codes: Sequence[np.ndarray], config: EvaluationConfig
) -> WatchedFrames:
    """Roll out `doubt_windows` windows of each clip under the inferred actions, and compare them with the videos."""
    cut = cut_windows(clips, replace(config, horizon=config.doubt_frames, windows_per_clip=config.doubt_windows))
    prompt, video = config.prompt_frames, cut.video_NTHWC
    codes = np.stack(
        [clip_codes[clip][start:][: video.shape[1] - 1] for clip, start in zip(cut.clips, cut.starts, strict=True)]
    )
    tokens = encode(world, video[:, :prompt])
    features, errors, drawn = [], [], []
    for start in range(0, len(video), _BATCH):
        part = slice(start, start + _BATCH)
        frames, found = world.watch(
            tokens[part],
            torch.from_numpy(codes[part].astype(np.int64)),
            sampling=config,
            generator=torch.Generator(tokens.device).manual_seed(config.seed + start),
        )
        drawn.append(frames.cpu().numpy())
        errors.append(10 ** (-psnr(video[part, prompt:], drawn[-1]) / 10))
        features.append(found.numpy())
    return WatchedFrames(np.concatenate(features), np.concatenate(errors), cut.sources, video, np.concatenate(drawn))


def calibrate(frames: WatchedFrames, config: EvaluationConfig) -> Uncertainty:
    """Return the metrics and the calibration of watched frames."""
    num_windows, count = frames.mse_NS.shape
    features, mse = frames.features_NSF.reshape(num_windows * count, -1), frames.mse_NS.reshape(-1)
    source = np.repeat(np.asarray(frames.sources), count)
    t = np.tile(np.arange(1, count + 1), num_windows)
    limit = max(float(np.quantile(frames.mse_NS[:, 0], _LIMIT_QUANTILE)), MSE_FLOOR)
    fitted = fit_calibration(features, mse, limit)
    # scores of several calibrations that are equal but for rounding are equal
    score = cross_fitted_scores(features, mse, source).round(9)
    known = ~np.isnan(score)
    values = {
        NAMES[0]: (ranks(score[known]), ranks(mse[known]), source[known]),
        NAMES[1]: (ranks_within(score[known], t[known]), ranks_within(mse[known], t[known]), source[known]),
        NAMES[2]: (ranks(t.astype(float)), ranks(mse), source),
    }
    metrics: Metrics = {name: _correlation(*value, config) for name, value in values.items()}
    if fitted is None:
        return Uncertainty(metrics, None)
    about = {
        "limit": _LIMIT,
        "limit_psnr": round(decibel(limit), 3),
        "frames": count,
        "windows": num_windows,
        "sources": len(set(frames.sources)),
        "sampling": {
            name: getattr(config, name)
            for name in (
                "maskgit_steps",
                "token_temperature",
                "unmask_order",
                "unmask_schedule",
                "top_k",
                "past_window",
            )
        },
        "rank_correlation": metrics[NAMES[0]]["value"],
        "rank_correlation_within_t": metrics[NAMES[1]]["value"],
        "rank_correlation_of_t_alone": metrics[NAMES[2]]["value"],
    }
    return Uncertainty(metrics, {**fitted.as_json(), **about})


def _correlation(x_N: np.ndarray, y_N: np.ndarray, source_N: np.ndarray, config: EvaluationConfig) -> Metric:
    """Return the correlation of ranks with its interval: sources are resampled, with the ranks as they are."""
    if len(np.unique(source_N)) < 2:
        return unknown("fewer than two held-out sources: no source can be scored by a calibration of others")
    if not (np.ptp(x_N) and np.ptp(y_N)):
        return unknown("the doubt or the error is the same in all frames")
    moments = moments_by_source(x_N, y_N, source_N)
    found = bootstrap(moments, draws=config.bootstrap_draws, seed=config.seed, reduce=correlation_of_moments)
    assert found is not None
    return with_interval(found)
