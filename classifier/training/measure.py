"""Make the metrics of a published classifier (`metrics.py`) from the comparison that chose it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classifier.training.arrays import Floats
from classifier.training.auc import Sides, auc_metrics
from classifier.training.calibration import Calibration, cross_fitted, stored_probabilities
from classifier.training.compare import Compared, Comparison
from classifier.training.examples import Examples
from classifier.training.metrics import (
    FORMAT,
    CandidateMetrics,
    ClassifierMetrics,
    HeldOutMetrics,
    LabelCounts,
    PromotionMetrics,
)
from classifier.training.promotion import Choice, against, beats_references
from classifier.training.reliability import calibration_metrics
from pipeline.config import ClassifierConfig

GROUPED_BY = "channel, else video, joined where clips are copies of each other"


def classifier_metrics(
    comparison: Comparison,
    choice: Choice,
    calibration: Calibration,
    held_out: HeldOutMetrics,
    num_held_out: int,
    promotion: PromotionMetrics,
    config: ClassifierConfig,
) -> ClassifierMetrics:
    """Return the metrics of the candidate that is published."""
    examples, published = comparison.examples, comparison.of(choice.name)
    assert published.auc is not None
    good_N = examples.rating_N >= config.good_rating
    probability_N = stored_probabilities(calibration, published.mean_scores)
    cross_N = cross_fitted(published.mean_scores, good_N, examples.weight_N, comparison.folds[0])
    return {
        "format": FORMAT,
        "published": choice.name,
        "why": choice.why,
        "candidates": [candidate_metrics(one, comparison, choice.name) for one in comparison.compared],
        "headline": published.auc,
        "beats_reference": beats_references(comparison, choice.name),
        "folds": len(comparison.folds[0]),
        "repeats": len(comparison.folds),
        "grouped_by": GROUPED_BY,
        "good_rating": config.good_rating,
        "calibration": calibration_metrics(
            cross_N,
            good_N,
            examples.weight_N,
            examples.groups,
            method=calibration["method"],
            weights=examples.weights,
        ),
        "by_rating": {
            str(rating): float(probability_N[examples.rating_N == rating].mean())
            for rating in sorted(set(examples.rating_N.tolist()))
        },
        "labels": _labels(examples, comparison.sides, num_held_out),
        "held_out": held_out,
        "promotion": promotion,
        "unreadable": dict(examples.unreadable),
    }


def held_out_metrics(
    score_N: Floats, rating_N: np.ndarray[tuple[int], np.dtype[np.int64]], groups: Sequence[str], good_rating: int
) -> HeldOutMetrics:
    """Return the check of the published candidate on sources that nothing was learned from or chosen on."""
    return {
        "used": True,
        "why": "sources that nothing was learned from check the published candidate; they choose nothing",
        "auc": auc_metrics(score_N, Sides.of_ratings(rating_N, good_rating), groups),
    }


def candidate_metrics(one: Compared, comparison: Comparison, published: str) -> CandidateMetrics:
    """Return a candidate's or reference's row of the table."""
    return {
        "name": one.name,
        "reference": one.reference,
        "auc": one.auc,
        "extremes": one.extremes,
        "lower": one.lower,
        "repeats": len(one.scores_RN),
        "cpu_seconds": round(one.cpu_seconds, 1),
        "note": one.note,
        "below_published": None if one.name == published else against(comparison, published, one.name),
    }


def _labels(examples: Examples, sides: Sides, num_held_out: int) -> LabelCounts:
    return {
        "by_rating": {str(rating): int((examples.rating_N == rating).sum()) for rating in range(1, 6)},
        "train": len(examples),
        "held_out": num_held_out,
        "good": int(sides.good_N.sum()),
        "bad": int(sides.bad_N.sum()),
        "sources": len(set(examples.groups)),
    }
