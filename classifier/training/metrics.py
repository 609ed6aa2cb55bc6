"""The classifier's figures: what the report and the checks read, as plain numbers.

    figures["auc"], ["baseline_auc"], ...           -> the headlines, {value, interval}, from held-out sources
    figures["held_out"]["five_vs_one"]["network"]   -> {auc, interval, clips, good, sources}
    figures["held_out"]["all_ratings"]["network"]   -> the same over all ratings, good from `good_rating` on
    figures["held_out"]["five_vs_one"]["single"]    -> every flag alone, the best flag, the best measurement
    figures["judged"]                               -> the AUC that the floor is held against, and on what
    figures["beats_best_flag"], ["beats_baseline"]  -> true, false, or null where it cannot be said

Dimension keys: N clips, K frames of a clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.metrics import brier_score_loss, log_loss

from classifier.training.baseline import single_columns
from classifier.training.calibration import (
    Bools,
    Floats,
    apply_platt,
    at_threshold,
    auc_figures,
    choose_threshold,
    clip_features,
    reliability,
)
from classifier.training.examples import Examples
from pipeline.config import Config


def classifier_figures(
    train: Examples,
    held: Examples,
    train_logits_NK: Floats,
    held_logits_NK: Floats,
    train_baselines: Mapping[str, Floats],
    held_baselines: Mapping[str, Floats],
    calibration: dict[str, Any],
    config: Config,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (figures, scores): what is told of a classifier, and the scores that a later threshold is chosen on.

    Args:
        train: rated clips of the training sources; their scores are out of fold.
        held: rated clips of the sources held out.
        train_logits_NK: frame logits of `train`.
        held_logits_NK: frame logits of `held`.
        train_baselines: out-of-fold scores of each baseline.
        held_baselines: scores of each baseline on `held`.
        calibration: numbers of `fit_platt`.
        config: for the good ratings and the decision's rule.
    """
    # rounded as they are stored, so that a threshold that is chosen later finds the same cut
    out_of_fold = apply_platt(calibration, clip_features(train_logits_NK)).round(6)
    held_out = apply_platt(calibration, clip_features(held_logits_NK)).round(6)
    rule = config.decision
    good_N = train.rating_N >= config.classifier.good_rating
    threshold = choose_threshold(out_of_fold, good_N, rule.target_precision, rule.confidence)
    sides = {
        "out_of_fold": _side(train, train, out_of_fold, train_baselines, threshold["threshold"], config),
        "held_out": _side(train, held, held_out, held_baselines, threshold["threshold"], config),
    }
    tested = sides["held_out"]["five_vs_one"]
    judged = ("the held-out sources", tested["network"])
    if tested["network"]["auc"] is None:
        judged = ("sources left out in turn (the held-out ones have no fives or no ones)",
                  sides["out_of_fold"]["five_vs_one"]["network"])  # fmt: skip
    baselines = [found for found in tested["baselines"].values() if found["auc"] is not None]
    baseline = max(baselines, key=lambda found: float(found["auc"]), default=None)
    flag = tested["single"]["best_flag"]
    reached = tested["network"]["auc"]
    figures = {
        "auc": _value(judged[1]),
        "baseline_auc": _value(baseline),
        "single_flag_auc": _value(flag),
        "brier": sides["held_out"]["calibration"]["brier"],
        "calibration_error": sides["held_out"]["calibration"]["expected_error"],
        "labels": {"by_rating": _by_rating(train, held), "train": len(train.clip_ids), "held_out": len(held.clip_ids)},
        "good_rating": config.classifier.good_rating,
        "threshold": threshold,
        "judged": {"on": judged[0], "auc": judged[1]["auc"], "interval": judged[1]["interval"]},
        "beats_baseline": None if reached is None or baseline is None else reached >= baseline["auc"],
        "beats_best_flag": None if reached is None or flag is None else reached > flag["auc"],
        **sides,
    }
    scores = {"out_of_fold": _scores(train, out_of_fold), "held_out": _scores(held, held_out)}
    return figures, scores


def _side(
    train: Examples,
    examples: Examples,
    probability_N: Floats,
    baselines: Mapping[str, Floats],
    threshold: float,
    config: Config,
) -> dict[str, Any]:
    good_N = examples.rating_N >= config.classifier.good_rating
    extreme_N = examples.extreme
    paper, paper_train = examples.take(extreme_N), train.take(train.extreme)
    five_N = paper.rating_N == 5
    bins, error = reliability(probability_N, good_N)
    return {
        "five_vs_one": {
            "network": auc_figures(probability_N[extreme_N], five_N, paper.groups),
            "baselines": {
                name: auc_figures(score_N[extreme_N], five_N, paper.groups) for name, score_N in baselines.items()
            },
            "single": single_columns(paper_train, paper_train.rating_N == 5, paper, five_N),
        },
        "all_ratings": {
            "network": auc_figures(probability_N, good_N, examples.groups),
            "baselines": {name: auc_figures(score_N, good_N, examples.groups) for name, score_N in baselines.items()},
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


def _value(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if found is None else {"value": found["auc"], "interval": found["interval"]}


def _histogram(probability_N: Floats, good_N: Bools, num_bins: int = 20) -> dict[str, list[float]]:
    edges = np.linspace(0, 1, num_bins + 1)
    return {
        "edges": edges.round(3).tolist(),
        "good": np.histogram(probability_N[good_N], edges)[0].tolist(),
        "bad": np.histogram(probability_N[~good_N], edges)[0].tolist(),
    }


def _by_rating(*parts: Examples) -> dict[str, int]:
    ratings = np.concatenate([part.rating_N for part in parts])
    return {str(rating): int((ratings == rating).sum()) for rating in range(1, 6)}


def _scores(examples: Examples, probability_N: Floats) -> dict[str, list[Any]]:
    return {
        "clip_id": list(examples.clip_ids),
        "rating": examples.rating_N.tolist(),
        "probability": [round(float(p), 6) for p in probability_N],
        "group": list(examples.groups),
    }
