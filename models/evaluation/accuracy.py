"""Balanced accuracy of actions that were read, against those that were asked for or taken, by source.

The balanced accuracy is the mean, over the actions that occur, of the share of their transitions at which the very
action was read. An answer that is always the most frequent action scores 1 / A. Beside it stands what chance gives
(`_shuffled`): the same once the read actions are aligned with others of their source (`models.evaluation.chance`),
which is what an answer scores that knows only how often, and for how long, a source has each.

Shapes: S sources, A actions, N transitions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.evaluation.chance import TOO_FEW, How, no_chance_level, rearranged
from models.evaluation.metric import Metrics, unknown, with_interval
from models.metrics import Interval, bootstrap, count_pairs
from pipeline.config import EvaluationConfig

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
    *,
    how: How = "shift",
    unit: str = "sources",
) -> Metrics:
    """Return `name`, with its 95 % interval over sources, and `name_shuffled`, with the central 95 % of chance.

    With fewer than five sources there is no interval, and with fewer than eight of changing actions no chance.

    Args:
        name: of the metric.
        asked: per part (a clip or a window) the actions, int (N,); those below 0 are left out.
        read: per part the actions that were read.
        sources: of each part.
        num_actions: A.
        config: bootstrap draws, shuffles and seed.
        how: how chance is drawn, see `models.evaluation.chance`.
        unit: what `sources` names, for reasons.
    """
    parts = [
        (source, np.asarray(wanted), np.asarray(seen))
        for source, wanted, seen in zip(sources, asked, read, strict=True)
        if (np.asarray(wanted) >= 0).any()
    ]
    names = [source for source, _, _ in parts]
    count = len(set(names))
    if count < LEAST_SOURCES:
        few = f"{TOO_FEW}: {count} of the {unit} have actions, and {LEAST_SOURCES} are needed"
        return {name + end: unknown(few) for end in ENDS}
    if len(np.unique(np.concatenate([wanted[wanted >= 0] for _, wanted, _ in parts]))) < 2:
        few = f"{TOO_FEW}: there is one action alone, and 2 are needed"
        return {name + end: unknown(few) for end in ENDS}
    true = [wanted for _, wanted, _ in parts]
    answers = [seen for _, _, seen in parts]
    tables = np.stack([_table(true, answers, num_actions, names, source) for source in sorted(set(names))])
    interval = bootstrap(
        tables, draws=config.bootstrap_draws, seed=config.seed, reduce=lambda drawn: balanced_accuracy(drawn.sum(1))
    )
    assert interval is not None
    found: Metrics = {name: with_interval(interval)}
    if few := no_chance_level([wanted[wanted >= 0] for wanted in true], names, how, config, unit=unit):
        return {**found, f"{name}_shuffled": unknown(few)}
    rng = np.random.default_rng(config.seed)
    draws = (rearranged(answers, names, how, rng) for _ in range(config.shuffles))
    left = np.array([balanced_accuracy(_table(true, drawn, num_actions)) for drawn in draws])
    low, high = np.percentile(left, [2.5, 97.5])
    return {**found, f"{name}_shuffled": with_interval(Interval(float(left.mean()), float(low), float(high), count))}


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
    """Tell whether a balanced accuracy and its chance are known, and its interval lies above chance."""
    low, chance = metrics[name].get("low"), metrics[f"{name}_shuffled"].get("high")
    return low is not None and chance is not None and low > chance


def why_not_judged(metrics: Metrics, true: str) -> str:
    """Return why a network cannot be asked about frames that are not true; empty where it can.

    Args:
        metrics: of `accuracy_metrics`.
        true: name of the balanced accuracy on true frames.
    """
    for name in (true, f"{true}_shuffled"):
        if metrics[name]["value"] is None:
            why = metrics[name]["reason"]
            return f"it is not known whether the network reads true frames better than chance ({why})"
    return "" if beats_chance(metrics, true) else "the network reads the actions of true frames no better than chance"


def _table(
    asked: Sequence[np.ndarray],
    read: Sequence[np.ndarray],
    num_actions: int,
    sources: Sequence[str] = (),
    only: str | None = None,
) -> np.ndarray:
    """Return how often each action (A) was read as each (A), of all parts or of those of one source."""
    total = np.zeros((num_actions, num_actions), np.int64)
    for place, (wanted, seen) in enumerate(zip(asked, read, strict=True)):
        if only is None or sources[place] == only:
            known = wanted >= 0
            total += count_pairs(wanted[known], seen[known], num_actions, num_actions)
    return total
