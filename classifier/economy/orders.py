"""Two orders in which clips could have been labelled: sources in turn at random, and by what a model asks for.

The random order is that of the labelling queue before there is a model. The active one starts like it. From then on a
model that learned all labels so far chooses half of the next ones among the clips that it is least sure of, a quarter
among those that are unlike all that are labelled, and the rest follows the random order.

Dimension keys: N clips, F measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import rankdata

from classifier.training.arrays import Floats, Rows

UNCERTAIN, DIVERSE = 0.5, 0.25
"""Shares of a step of the active order; the rest is random."""
SURE = 3.0
"""The predicted rating in the middle between good (4, 5) and bad (1, 2): the model is least sure of clips near it."""
Score = Callable[[Rows], Floats]
"""From the rows that are labelled to the predicted ratings of all clips (N,)."""


def random_order(groups_N: Sequence[str], rows: Rows, seed: int) -> Rows:
    """Return rows in a random order in which sources take turns."""
    draw = np.random.default_rng(seed)
    shuffled = draw.permutation(rows)
    taken: dict[str, int] = {}
    turns = []
    for row in shuffled.tolist():
        turns.append(taken.get(groups_N[row], 0))
        taken[groups_N[row]] = turns[-1] + 1
    return np.asarray(shuffled[np.argsort(turns, kind="stable")], np.int64)


def active_order(base: Rows, features_NF: Floats, sizes: Sequence[int], score: Score) -> Rows:
    """Return the rows of a random order as a model would have asked for them.

    Args:
        base: the random order; its first `sizes[0]` rows are labelled first.
        features_NF: measurements of all clips.
        sizes: numbers of labels after which the model is fitted again.
        score: fits it.
    """
    order = base[: sizes[0]].tolist()
    place_NF = _places(features_NF)
    for size in [*sizes[1:], len(base)]:
        step = min(size, len(base)) - len(order)
        if step <= 0:
            continue
        left = _without(base.tolist(), order)
        distance_N = np.abs(score(np.array(order, np.int64))[left] - SURE)
        uncertain = [left[i] for i in np.argsort(distance_N, kind="stable")[: round(step * UNCERTAIN)]]
        chosen = order + uncertain
        chosen += _far_from(chosen, _without(left, uncertain), place_NF, round(step * DIVERSE))
        chosen += _without(left, chosen)[: step - (len(chosen) - len(order))]
        order = chosen
    return np.array(order, np.int64)


def _without(rows: Sequence[int], others: Sequence[int]) -> list[int]:
    gone = set(others)
    return [row for row in rows if row not in gone]


def _places(features_NF: Floats) -> Floats:
    """Return measurements as ranks from 0 to 1, so that all count alike; the middle where one is missing."""
    ranks_NF = rankdata(np.where(np.isfinite(features_NF), features_NF, np.nan), axis=0, nan_policy="omit")
    return np.nan_to_num(np.asarray(ranks_NF) / max(1, len(features_NF)), nan=0.5)


def _far_from(chosen: Sequence[int], left: Sequence[int], place_NF: Floats, count: int) -> list[int]:
    """Return the rows that lie farthest from all chosen before, one after the other."""
    if not left or not count:
        return []
    candidates = np.array(left)
    nearest = np.full(len(candidates), np.inf)
    for row in chosen:
        np.minimum(nearest, np.linalg.norm(place_NF[candidates] - place_NF[row], axis=1), out=nearest)
    found: list[int] = []
    for _ in range(min(count, len(left))):
        best = int(nearest.argmax())
        found.append(int(candidates[best]))
        nearest = np.minimum(nearest, np.linalg.norm(place_NF[candidates] - place_NF[candidates[best]], axis=1))
        nearest[best] = -1
    return found
