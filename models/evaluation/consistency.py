"""How far a latent action has the same effect whatever the state: the paper's consistency of actions, as a number.

The consistency of a latent action is the probability that it has the same effect in two states of two different
sources. That of a world is the mean over its latent actions. Beside it stands the same for two states under two latent
actions drawn alike (`_chance`): a world whose actions all do nothing has 1 for both. So the figure that counts is the
share of the way from there to 1 (`_above_chance`): 0 where latent actions say nothing of the effect, 1 where each has
one effect. A figure compares pairs of sources; with fewer than five sources it has no interval.

The effect is, of generated frames, whether what the player controls (or the view) goes left, right or neither, and
rises, falls or neither; of held-out videos, the true action.

Shapes: S sources, K latent actions, E effects, D draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.evaluation.accuracy import LEAST_SOURCES
from models.evaluation.chance import TOO_FEW
from models.evaluation.effects import LEAST, Effects
from models.evaluation.metric import Metric, Metrics, unknown, with_interval
from models.metrics import Interval
from pipeline.bootstrap import draw_counts, interval_95
from pipeline.config import EvaluationConfig

NAME, TRUE_NAME = "action_consistency", "action_consistency_true"
_ENDS = ("", "_chance", "_above_chance")
_WAYS = 3


def effect_classes(effects: Effects) -> np.ndarray:
    """Return the effect (N, K) of each latent action from each start, of 9: left, neither, right by up, level, down."""
    across = np.nan_to_num(np.median(np.nan_to_num(effects.run), -1))
    view_up = -np.median(effects.view_NAS2[..., 1], -1)
    up = np.where(np.abs(view_up) >= LEAST, view_up, np.nan_to_num(effects.rise))
    return np.asarray(_way(across) * _WAYS + _way(up))


def effect_tables(classes_NK: np.ndarray, sources: Sequence[str]) -> np.ndarray:
    """Return how often each latent action had each effect in each source, (S, K, E)."""
    names = sorted(set(sources))
    tables = np.zeros((len(names), classes_NK.shape[1], _WAYS**2))
    for source, row in zip(sources, classes_NK, strict=True):
        tables[names.index(source), np.arange(len(row)), row] += 1
    return tables


def measure_consistency(name: str, tables_SKE: np.ndarray, config: EvaluationConfig) -> tuple[Metrics, list[Metric]]:
    """Return the three figures under a name, and the consistency of each latent action.

    Args:
        name: of the figures.
        tables_SKE: how often each latent action has each effect in each source.
        config: bootstrap draws and seed. A draw compares no source with itself, however often it is drawn.
    """
    num_sources = len(tables_SKE)
    if num_sources < LEAST_SOURCES:
        few = unknown(f"{TOO_FEW}: {num_sources} of the held-out sources can be used, and {LEAST_SOURCES} are needed")
        return {name + end: few for end in _ENDS}, [few] * tables_SKE.shape[1]
    counts = tables_SKE.sum(-1)
    shares_SKE = tables_SKE / np.maximum(counts, 1)[..., None]
    present_SK = counts > 0
    # the weight of an action is its share of the transitions of the source: a code that is rare counts little
    use_SK = counts / np.maximum(counts.sum(-1, keepdims=True), 1)
    any_SE = (use_SK[..., None] * shares_SKE).sum(1)
    same_KSS = np.einsum("ske,tke->kst", shares_SKE, shares_SKE)
    both_KSS = np.einsum("sk,tk->kst", present_SK, present_SK).astype(float)
    chance_SS = any_SE @ any_SE.T
    weights_DS = np.concatenate(
        [np.ones((1, num_sources)), draw_counts(num_sources, config.bootstrap_draws, config.seed)]
    )
    pairs_DSS = weights_DS[:, :, None] * weights_DS[:, None, :]
    pairs_DSS[:, np.arange(num_sources), np.arange(num_sources)] = 0
    own_DK = _over(
        np.einsum("dst,kst->dk", pairs_DSS, same_KSS * both_KSS), np.einsum("dst,kst->dk", pairs_DSS, both_KSS)
    )
    known_DK = np.where(np.isnan(own_DK), 0.0, use_SK.mean(0))
    value_D = _over(np.nansum(own_DK * known_DK, 1), known_DK.sum(1))
    chance_D = _over((pairs_DSS * chance_SS).sum((1, 2)), pairs_DSS.sum((1, 2)))
    # one effect under all actions: none of them says anything of it
    above_D = np.where(chance_D >= 1 - 1e-9, 0.0, _over(value_D - chance_D, 1 - chance_D))
    found = {end: _metric(values, num_sources) for end, values in zip(_ENDS, (value_D, chance_D, above_D), strict=True)}
    by_action = [_metric(own, int((present_SK[:, code]).sum())) for code, own in enumerate(own_DK.T)]
    return {name + end: metric for end, metric in found.items()}, by_action


def true_tables(
    codes: Sequence[np.ndarray],
    actions: Sequence[np.ndarray | None],
    sources: Sequence[str],
    num_codes: int,
    num_actions: int,
) -> np.ndarray:
    """Return how often each latent action went with each true one in each source that has true actions, (S, K, A)."""
    tables: dict[str, np.ndarray] = {}
    for own, true, source in zip(codes, actions, sources, strict=True):
        if true is not None and (known := true >= 0).any():
            table = tables.setdefault(source, np.zeros((num_codes, num_actions)))
            np.add.at(table, (own[known], true[known]), 1)
    return np.stack([tables[name] for name in sorted(tables)]) if tables else np.zeros((0, num_codes, num_actions))


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return quotients; nan where nothing is counted."""
    return above / np.where(below > 0, below, np.nan)


def _way(moved: np.ndarray) -> np.ndarray:
    return np.where(moved >= LEAST, 2, np.where(moved <= -LEAST, 0, 1))


def _metric(values_D: np.ndarray, num_sources: int) -> Metric:
    """Return the first value with the interval of the others; a draw of one source alone tells nothing."""
    known = values_D[1:][~np.isnan(values_D[1:])]
    if np.isnan(values_D[0]) or not len(known):
        return unknown(f"{TOO_FEW}: {num_sources} of the held-out sources have it, and {LEAST_SOURCES} are needed")
    return with_interval(Interval(float(values_D[0]), *interval_95(known), num_sources))
