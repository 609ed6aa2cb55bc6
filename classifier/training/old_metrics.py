"""The classifier's metrics as plain numbers: stored in the column `figures` of `models`, read by report and checks.

    metrics["auc"], ["baseline_auc"], ["single_flag_auc"]  -> the headlines {value, interval}, on held-out sources
    metrics["held_out"]["five_vs_one"]["network"]   -> {auc, interval, clips, good, sources}
    metrics["held_out"]["all_ratings"]["network"]   -> the same over all ratings, good from `good_rating` on
    metrics["held_out"]["five_vs_one"]["single"]    -> every flag alone, the best flag, the best measurement
    metrics["judged"]                               -> the AUC that is compared with the floor, and on what clips
    metrics["beats_best_flag"], ["beats_baseline"]  -> true, false, or null where it is unknown

Dimension keys: N clips, K frames of a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from sklearn.metrics import brier_score_loss, log_loss

from classifier.training.arrays import Bools, Floats
from classifier.training.auc import AucMetrics, auc_metrics
from classifier.training.baseline import BestFlag, SingleColumns, single_columns
from classifier.training.calibration import Calibration, ReliabilityBin, reliability, stored_probabilities
from classifier.training.examples import Examples
from classifier.training.folds import Fitted, ScoredExamples
from classifier.training.intervals import Interval
from classifier.training.threshold import Threshold, ThresholdMetrics, at_threshold, choose_threshold
from pipeline.config import Config


class Headline(TypedDict):
    """One number with its interval over sources."""

    value: float | None
    interval: Interval | None


class Judged(TypedDict):
    """The AUC that is compared with `classifier.min_auc`."""

    on: str
    auc: float | None
    interval: Interval | None


class LabelCounts(TypedDict):
    """Rated clips."""

    by_rating: dict[str, int]
    train: int
    held_out: int


class CurvePoint(TypedDict):
    """The loss averaged over a stretch of steps that ends at `step`."""

    step: int
    loss: float


class Histogram(TypedDict):
    """Good and bad clips by probability."""

    edges: list[float]
    good: list[int]
    bad: list[int]


class FiveVsOne(TypedDict):
    """Clips rated 5 against clips rated 1, as in the paper."""

    network: AucMetrics
    baselines: dict[str, AucMetrics]
    single: SingleColumns


class AllRatings(TypedDict):
    """All rated clips, good from `classifier.good_rating` on."""

    network: AucMetrics
    baselines: dict[str, AucMetrics]


class CalibrationMetrics(TypedDict):
    """How well probabilities agree with shares; null without clips."""

    brier: float | None
    log_loss: float | None
    expected_error: float
    bins: list[ReliabilityBin]
    histogram: Histogram


class SideMetrics(TypedDict):
    """Metrics on the clips of one side: out of fold, or held out."""

    five_vs_one: FiveVsOne
    all_ratings: AllRatings
    calibration: CalibrationMetrics
    at_threshold: ThresholdMetrics
    mean_by_rating: dict[str, float]


class ClassifierMetrics(TypedDict):
    """All metrics of a classifier."""

    auc: Headline
    baseline_auc: Headline | None
    single_flag_auc: Headline | None
    brier: float | None
    calibration_error: float
    labels: LabelCounts
    good_rating: int
    threshold: Threshold
    judged: Judged
    beats_baseline: bool | None
    beats_best_flag: bool | None
    out_of_fold: SideMetrics
    held_out: SideMetrics
    curve: list[CurvePoint]
    folds: int
    unreadable: dict[str, str]


def classifier_metrics(fitted: Fitted, calibration: Calibration, config: Config) -> ClassifierMetrics:
    """Return the metrics of a trained network.

    Args:
        fitted: the network, with scores of all rated clips.
        calibration: turns its logits into probabilities.
        config: `classifier.good_rating`, and the precision and confidence that `decision` asks for.
    """
    train, held = fitted.out_of_fold.examples, fitted.held_out.examples
    threshold = choose_threshold(
        stored_probabilities(calibration, fitted.out_of_fold.logits_NK),
        train.rating_N >= config.classifier.good_rating,
        config.decision.target_precision,
        config.decision.confidence,
    )
    good_rating = config.classifier.good_rating
    out_of_fold = _side(fitted.out_of_fold, train, calibration, threshold["threshold"], good_rating)
    held_out = _side(fitted.held_out, train, calibration, threshold["threshold"], good_rating)
    tested = held_out["five_vs_one"]
    reached = tested["network"]["auc"]
    measured = [found for found in tested["baselines"].values() if found["auc"] is not None]
    baseline = max(measured, key=lambda found: found["auc"] or 0.0, default=None)
    flag: BestFlag | None = tested["single"]["best_flag"]
    judged_on, judged = "the held-out sources", tested["network"]
    if reached is None:
        judged_on = "sources left out in turn (the held-out ones have no fives or no ones)"
        judged = out_of_fold["five_vs_one"]["network"]
    return {
        "auc": _headline(judged),
        "baseline_auc": None if baseline is None else _headline(baseline),
        "single_flag_auc": None if flag is None else _headline(flag),
        "brier": held_out["calibration"]["brier"],
        "calibration_error": held_out["calibration"]["expected_error"],
        "labels": {"by_rating": _by_rating(train, held), "train": len(train.clip_ids), "held_out": len(held.clip_ids)},
        "good_rating": good_rating,
        "threshold": threshold,
        "judged": {"on": judged_on, "auc": judged["auc"], "interval": judged["interval"]},
        "beats_baseline": None if reached is None or baseline is None else reached >= (baseline["auc"] or 0.0),
        "beats_best_flag": None if reached is None or flag is None else reached > (flag["auc"] or 0.0),
        "out_of_fold": out_of_fold,
        "held_out": held_out,
        "curve": _curve(fitted.losses),
        "folds": fitted.num_folds,
        "unreadable": dict(train.unreadable),
    }


def _side(
    scored: ScoredExamples, train: Examples, calibration: Calibration, threshold: float, good_rating: int
) -> SideMetrics:
    examples = scored.examples
    probability_N = stored_probabilities(calibration, scored.logits_NK)
    good_N, extreme_N = examples.rating_N >= good_rating, examples.extreme
    extremes = examples.take(extreme_N)
    five_N = extremes.rating_N == 5
    bins, error = reliability(probability_N, good_N)
    return {
        "five_vs_one": {
            "network": auc_metrics(probability_N[extreme_N], five_N, extremes.groups),
            "baselines": {
                name: auc_metrics(score_N[extreme_N], five_N, extremes.groups)
                for name, score_N in scored.baselines.items()
            },
            "single": single_columns(train.take(train.extreme), extremes),
        },
        "all_ratings": {
            "network": auc_metrics(probability_N, good_N, examples.groups),
            "baselines": {
                name: auc_metrics(score_N, good_N, examples.groups) for name, score_N in scored.baselines.items()
            },
        },
        "calibration": {
            "brier": float(brier_score_loss(good_N, probability_N)) if len(good_N) else None,
            "log_loss": float(log_loss(good_N, probability_N, labels=[False, True])) if len(good_N) else None,
            "expected_error": error,
            "bins": bins,
            "histogram": _histogram(probability_N, good_N),
        },
        "at_threshold": at_threshold(probability_N, good_N, examples.groups, threshold),
        "mean_by_rating": {
            str(rating): float(probability_N[examples.rating_N == rating].mean())
            for rating in sorted(set(examples.rating_N.tolist()))
        },
    }


def _headline(found: AucMetrics) -> Headline:
    return {"value": found["auc"], "interval": found["interval"]}


def _histogram(probability_N: Floats, good_N: Bools, num_bins: int = 20) -> Histogram:
    edges = np.linspace(0, 1, num_bins + 1)
    return {
        "edges": edges.round(3).tolist(),
        "good": np.histogram(probability_N[good_N], edges)[0].tolist(),
        "bad": np.histogram(probability_N[~good_N], edges)[0].tolist(),
    }


def _by_rating(*parts: Examples) -> dict[str, int]:
    ratings = np.concatenate([part.rating_N for part in parts])
    return {str(rating): int((ratings == rating).sum()) for rating in range(1, 6)}


def _curve(losses: Sequence[float], points: int = 60) -> list[CurvePoint]:
    stretches = [part for part in np.array_split(np.array(losses), min(points, len(losses))) if len(part)]
    ends = np.cumsum([len(part) for part in stretches])
    return [{"step": int(end), "loss": round(float(part.mean()), 5)} for end, part in zip(ends, stretches, strict=True)]
