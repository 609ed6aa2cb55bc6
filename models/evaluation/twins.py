"""Which latent actions have an effect of their own, and whose twins the others are.

Two actions differ where the same start, rolled out under either, shows pictures that are further apart than chance
makes them. Chance is what parts an action from itself under another seed, from a start frame with a grain too faint
to see: with greedy decoding the seed changes nothing, and only the grain does.

Shapes: N start frames, A latent actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.evaluation.metric import Metric, with_interval
from models.metrics import bootstrap
from pipeline.config import EvaluationConfig

_LEAST_APART = 0.005  # of the picture: a smaller region is no effect
_NOISE_QUANTILE = 0.9
_MOST_STARTS = 0.5  # two actions differ if they do from more of the starts: a jump does nothing in the air


def differing(apart_NAA: np.ndarray, noise_NA: np.ndarray | None = None) -> np.ndarray:
    """Return from which starts two actions differ by more than noise, bool (N, A, A).

    Args:
        apart_NAA: of `models.evaluation.effects.Effects`.
        noise_NA: of `models.evaluation.effects.noise_floor`; none where actions were not drawn again.
    """
    floor = _LEAST_APART if noise_NA is None else max(_LEAST_APART, float(np.quantile(noise_NA, _NOISE_QUANTILE)))
    return np.asarray(apart_NAA > floor)


def twins(differs_NAA: np.ndarray, order: Sequence[int]) -> list[int | None]:
    """Return whose twin each action is: the nearest of those before it in the order that do the same.

    None stands for an action that is nobody's twin.
    """
    share = differs_NAA.mean(0)
    found: list[int | None] = [None] * len(share)
    first: list[int] = []
    for action in order:
        near = min(first, key=lambda other: (share[action, other], other), default=None)
        if near is not None and share[action, near] <= _MOST_STARTS:
            found[action] = near
        else:
            first.append(action)
    return found


def distinct_actions(
    differs_NAA: np.ndarray,
    order: Sequence[int],
    steady: Sequence[bool],
    sources: Sequence[str],
    config: EvaluationConfig,
) -> Metric:
    """Return how many actions have an effect of their own: nobody's twin, and steady; with its interval over sources.

    Args:
        differs_NAA: see `differing`.
        order: actions, the steadiest first.
        steady: whether each action does the same from most starts.
        sources: video id of each start frame.
        config: number of bootstrap draws, and their seed.
    """
    names = np.asarray(sources)
    by_source = np.stack([differs_NAA[names == name].mean(0) for name in np.unique(names)])

    def count(drawn_DSAA: np.ndarray) -> np.ndarray:
        return np.array([
            sum(own and twin is None for own, twin in zip(steady, twins(drawn, order), strict=True))
            for drawn in drawn_DSAA
        ], np.float64)  # fmt: skip

    interval = bootstrap(by_source, draws=config.bootstrap_draws, seed=config.seed, reduce=count)
    assert interval is not None
    return with_interval(interval)
