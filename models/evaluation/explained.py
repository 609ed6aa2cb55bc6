"""How much of continuous true actions latent actions explain, beside the information about their prototypes.

The explained variance is 1 - (variance left within a latent action) / (variance in all), each value of the action in
units of its own spread: 0 where a latent action says nothing, 1 where it says the action exactly. K latent actions
cannot explain all of a continuous action; so many prototypes of the same actions are the `_of` beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.evaluation.chance import no_chance_level
from models.evaluation.held_out import HeldOutClip
from models.evaluation.metric import Metrics, unknown, with_interval
from models.metrics import Interval, bootstrap, shifted
from pipeline.config import EvaluationConfig

NAME = "latent_action_explained_variance"


def measure_explained(
    clips: Sequence[HeldOutClip], clip_codes: Sequence[np.ndarray], num_codes: int, config: EvaluationConfig
) -> Metrics:
    """Return the explained variance, what chance gives (codes shifted within each clip), and that of prototypes.

    Args:
        clips: held-out clips; those without continuous true actions are left out. Without any there are no metrics.
        clip_codes: latent actions (T - 1,) of each clip.
        num_codes: K.
        config: bootstrap draws, shuffles and seed.
    """
    known = [(clip, codes) for clip, codes in zip(clips, clip_codes, strict=True) if clip.values is not None]
    if not known:
        return {}
    values = [clip.values for clip, _ in known if clip.values is not None]
    together = np.concatenate(values).astype(np.float64)
    mean, spread = together.mean(0), together.std(0)
    scaled = [(each - mean) / np.where(spread > 0, spread, 1) for each in values]
    sources = [clip.video_id for clip, _ in known]
    codes = [own for _, own in known]
    by_source = _moments(sources, codes, scaled, num_codes)
    interval = bootstrap(
        by_source, draws=config.bootstrap_draws, seed=config.seed, reduce=lambda drawn: _share(drawn.sum(1)), least=0.0
    )
    assert interval is not None
    metrics: Metrics = {NAME: with_interval(interval)}
    if few := no_chance_level(values, sources, "shift", config):
        metrics[f"{NAME}_shuffled"] = unknown(few)
    else:
        rng = np.random.default_rng(config.seed)
        left = [
            float(_share(_moments(sources, shifted(codes, rng), scaled, num_codes).sum(0)[None])[0])
            for _ in range(config.shuffles)
        ]
        low, high = np.percentile(left, [2.5, 97.5])
        metrics[f"{NAME}_shuffled"] = with_interval(
            Interval(float(np.mean(left)), float(low), float(high), interval.num_sources)
        )
    prototypes = [clip.actions for clip, _ in known if clip.actions is not None]
    if len(prototypes) == len(known):
        possible = _moments(sources, prototypes, scaled, int(max(map(np.max, prototypes))) + 1)
        metrics[f"{NAME}_of"] = {"value": float(_share(possible.sum(0)[None])[0])}
    return metrics


def _moments(
    sources: Sequence[str], codes: Sequence[np.ndarray], values: Sequence[np.ndarray], num_codes: int
) -> np.ndarray:
    """Return (S, K, 1 + 2 D): per source and code the number of transitions, and the sums of values and of squares."""
    names = sorted(set(sources))
    found = np.zeros((len(names), num_codes, 1 + 2 * values[0].shape[1]))
    for source, own, each in zip(sources, codes, values, strict=True):
        rows = np.concatenate([np.ones((len(each), 1)), each, np.square(each)], 1)
        np.add.at(found[names.index(source)], own, rows)
    return found


def _share(moments_NKF: np.ndarray) -> np.ndarray:
    """Return the explained share (N,) of moments (N, K, 1 + 2 D)."""
    size = (moments_NKF.shape[-1] - 1) // 2

    def left(moments: np.ndarray) -> np.ndarray:
        count, sums, squares = moments[..., :1], moments[..., 1 : 1 + size], moments[..., 1 + size :]
        return (squares - np.square(sums) / np.maximum(count, 1)).sum(-1)

    within, total = left(moments_NKF).sum(-1), left(moments_NKF.sum(-2))
    return np.where(total > 0, 1 - within / np.where(total > 0, total, 1), 0.0)
