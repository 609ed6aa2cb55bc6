"""Measure what labels are worth: AUC and keep precision against the number of labels, in two orders.

    economy = label_economy(examples, config)
    save_economy(store, economy); load_economy(store)       # the report shows what is stored

The rated clips of a root are labelled once more, in a random and in an active order (`classifier.economy.orders`), and
after so many labels the candidate `measurements` is fitted and judged. Folds divide no source, so every rated clip is
scored by models that never saw its source. Orders and folds are drawn anew in every repeat, and the intervals draw
whole sources.

Dimension keys: N clips, R repeats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from classifier.economy.orders import active_order, random_order
from classifier.economy.stored import FORMAT, ORDERS, EconomyPoint, LabelEconomy, Order
from classifier.training.arrays import Bools, Floats, Rows
from classifier.training.auc import Sides, auc_metrics, paired_difference
from classifier.training.candidates.measurements import fit_measurements
from classifier.training.examples import Examples
from classifier.training.folds import Fold, source_folds
from classifier.training.intervals import ratio, source_interval
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback

SIZES = (10, 20, 40, 80, 160, 320, 640, 1250, 2500, 5000)
KEPT_SHARE = 0.25
Fit = Callable[[Examples, ClassifierConfig, int], Callable[[Examples], Floats]]
"""From clips to learn from, settings and a seed to what scores clips."""


def label_economy(
    examples: Examples,
    config: ClassifierConfig,
    *,
    repeats: int = 5,
    sizes: Sequence[int] = SIZES,
    grouped_by: str = "source",
    fit: Fit | None = None,
    on_progress: ProgressCallback | None = None,
) -> LabelEconomy:
    """Return what labels are worth.

    Args:
        examples: the rated clips, with measurements.
        config: folds, seed and what counts as good.
        repeats: how often folds and orders are drawn.
        sizes: numbers of labels.
        grouped_by: what the groups of the examples are, for a person.
        fit: the classifier; None for the candidate `measurements`.
        on_progress: told of every fit.

    Raises:
        UserError: there are fewer labels than the first size, or they come from too few sources.
    """
    drawn = [source_folds(examples, config, repeat) for repeat in range(repeats)]
    most = min(len(fold.learn) for folds in drawn for fold in folds)
    used = [size for size in sizes if size < most]
    if not used:
        raise UserError(
            f"{len(examples)} rated clips leave {most} to learn from, and the economy of labels is measured from "
            f"{sizes[0]} on: rate more clips with `lampworks label`"
        )
    fit = fit or _fit_measurements
    # None stands for all labels of a fold
    counts: list[int | None] = [*used, None]
    score = {order: np.zeros((len(counts), repeats, len(examples))) for order in ORDERS}
    num_folds = sum(len(folds) for folds in drawn)
    with (
        threadpool_limits(1),
        Progress("label economy", num_folds, "folds", on_progress=on_progress) as progress,
    ):
        for repeat, folds in enumerate(drawn):
            for fold in folds:
                for order, rows in _orders(examples, fold, config, used, fit, repeat).items():
                    for number, count in enumerate(counts):
                        scorer = fit(examples.take(np.sort(rows[:count])), config, config.seed + repeat)
                        score[order][number, repeat, fold.score] = scorer(examples.take(fold.score))
                progress.advance()
    sides = Sides.of_ratings(examples.rating_N, config.good_rating)
    good_N = np.asarray(examples.rating_N >= config.good_rating)
    return {
        "format": FORMAT,
        "candidate": "measurements",
        "clips": len(examples),
        "sources": len(set(examples.groups)),
        "good_share": float(good_N.mean()),
        "kept_share": KEPT_SHARE,
        "grouped_by": grouped_by,
        "folds": len(drawn[0]),
        "repeats": repeats,
        "points": [
            _point(order, most if count is None else count, score[order][number], sides, good_N, examples)
            for order in ORDERS
            for number, count in enumerate(counts)
        ],
        "gains": [
            {
                "labels": most if count is None else count,
                "gain": paired_difference(score["active"][number], score["random"][number], sides, examples.groups),
            }
            for number, count in enumerate(counts[:-1])
        ],
    }


def _orders(
    examples: Examples, fold: Fold, config: ClassifierConfig, sizes: Sequence[int], fit: Fit, repeat: int
) -> dict[Order, Rows]:
    base = random_order(examples.groups, fold.learn, config.seed + repeat)

    def score(labelled: Rows) -> Floats:
        return fit(examples.take(np.sort(labelled)), config, config.seed + repeat)(examples)

    return {"random": base, "active": active_order(base, examples.features_NF, sizes, score)}


def _fit_measurements(learning: Examples, config: ClassifierConfig, seed: int) -> Callable[[Examples], Floats]:
    scorer = fit_measurements(learning, config, seed)
    return lambda scored: scorer.scores(scored.inputs(np.arange(len(scored)), scorer.needs))


def _point(
    order: Order, labels: int, score_RN: Floats, sides: Sides, good_N: Bools, examples: Examples
) -> EconomyPoint:
    precision = _kept_precision(score_RN, good_N)
    value = float(precision(np.ones((1, len(good_N))))[0])
    return {
        "order": order,
        "labels": labels,
        "auc": auc_metrics(score_RN, sides, examples.groups),
        "keep_precision": value if math.isfinite(value) else None,
        "keep_interval": source_interval(precision, examples.groups) if math.isfinite(value) else None,
    }


def _kept_precision(score_RN: Floats, good_N: Bools) -> Callable[[Floats], Floats]:
    """Return the function from weights (D, N) to the mean precision (D,) of the clips that each repeat keeps."""
    count = max(1, round(KEPT_SHARE * len(good_N)))
    kept_RN = np.argsort(np.argsort(-score_RN, axis=1, kind="stable"), axis=1) < count
    share_N = kept_RN.mean(0)
    return lambda weight_DN: ratio((weight_DN * (share_N * good_N)).sum(1), (weight_DN * share_N).sum(1))
