"""Balanced accuracy of actions that were read, against those that were asked for or taken, by source.

The balanced accuracy is the mean, over the actions that occur, of the share of their transitions at which the very
action was read. An answer that is always the most frequent action scores 1 / A. Beside it stands the same after the
read actions were shuffled within each source: what an answer scores that knows only how often a source has each.

Shapes: S sources, A actions, N transitions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.evaluation.metric import Metrics, unknown, with_interval
from models.metrics import Interval, bootstrap, count_pairs
from pipeline.config import EvaluationConfig

TOO_FEW = "too few to tell"
LEAST_SOURCES, LEAST_TRANSITIONS = 2, 20
"""An action counts where so many sources have it, and so many transitions in all."""
ENDS = ("", "_shuffled")


def accuracy_metrics(
    name: str,
    asked: Sequence[np.ndarray],
    read: Sequence[np.ndarray],
    sources: Sequence[str],
    num_actions: int,
    config: EvaluationConfig,
) -> Metrics:
    """Return `name`, with its 95 % interval over sources, and `name_shuffled`, with the central 95 % of the shuffles.

    Args:
        name: of the metric.
        asked: per part (a clip or a window) the actions, int (N,); those below 0 are left out.
        read: per part the actions that were read.
        sources: of each part.
        num_actions: A.
        config: bootstrap draws, shuffles and seed.
    """
    by_source: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for source, wanted, seen in zip(sources, asked, read, strict=True):
        known = np.asarray(wanted) >= 0
        if known.any():
            by_source.setdefault(source, []).append((np.asarray(wanted)[known], np.asarray(seen)[known]))
    pairs = [_joined(by_source[source]) for source in sorted(by_source)]
    if len(pairs) < LEAST_SOURCES:
        few = f"{TOO_FEW}: {len(pairs)} of the sources have actions, and {LEAST_SOURCES} are needed"
        return {name + end: unknown(few) for end in ENDS}
    if len(np.unique(np.concatenate([wanted for wanted, _ in pairs]))) < 2:
        few = f"{TOO_FEW}: there is one action alone, and 2 are needed"
        return {name + end: unknown(few) for end in ENDS}
    tables = np.stack([count_pairs(wanted, seen, num_actions, num_actions) for wanted, seen in pairs])
    interval = bootstrap(
        tables, draws=config.bootstrap_draws, seed=config.seed, reduce=lambda drawn: balanced_accuracy(drawn.sum(1))
    )
    assert interval is not None
    rng = np.random.default_rng(config.seed)
    left = np.array([_shuffled(pairs, num_actions, rng) for _ in range(config.shuffles)])
    low, high = np.percentile(left, [2.5, 97.5])
    return {
        name: with_interval(interval),
        f"{name}_shuffled": with_interval(Interval(float(left.mean()), float(low), float(high), len(pairs))),
    }


def balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    """Return the balanced accuracy (...) of tables (..., A, A) of actions asked for and read; 0 without any."""
    asked = counts.sum(-1)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    recall = np.where(asked > 0, right / np.maximum(asked, 1), 0.0)
    return np.asarray(recall.sum(-1) / np.maximum((asked > 0).sum(-1), 1))


def frequent_actions(actions: Sequence[np.ndarray], sources: Sequence[str], num_actions: int) -> np.ndarray:
    """Return which actions (A,) occur often enough, and in enough sources, to be told apart."""
    seen: list[set[str]] = [set() for _ in range(num_actions)]
    counts = np.zeros(num_actions, np.int64)
    for source, own in zip(sources, actions, strict=True):
        here = np.bincount(own[own >= 0], minlength=num_actions)
        counts += here
        for action in np.flatnonzero(here):
            seen[action].add(source)
    return (counts >= LEAST_TRANSITIONS) & (np.array([len(each) for each in seen]) >= LEAST_SOURCES)


def beats_chance(metrics: Metrics, name: str) -> bool:
    """Tell whether a balanced accuracy is known, and its interval lies above what shuffled answers score."""
    low, chance = metrics[name].get("low"), metrics[f"{name}_shuffled"].get("high")
    return low is not None and chance is not None and low > chance


def _joined(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([wanted for wanted, _ in parts]), np.concatenate([seen for _, seen in parts])


def _shuffled(pairs: Sequence[tuple[np.ndarray, np.ndarray]], num_actions: int, rng: np.random.Generator) -> float:
    total = np.zeros((num_actions, num_actions), np.int64)
    for wanted, seen in pairs:
        total += count_pairs(wanted, rng.permutation(seen), num_actions, num_actions)
    return float(balanced_accuracy(total))
