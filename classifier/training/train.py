"""Train the quality classifier: 5 against 1, split by source, calibrated, compared, published (Genie App. B.1).

The sources that the split holds out are never learned from; the metrics called `held_out` are measured on them. On
the others, folds grouped by source give every rated clip a score by a network that never saw its source. Those
out-of-fold scores calibrate the logits and set the threshold, over all five ratings, because most clips to decide on
are neither fives nor ones. The published network learns from all fives and ones of the training sources.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from classifier.pool import Pool, load_pool
from classifier.training.calibration import Calibration, clip_features, fit_platt, stored_probabilities
from classifier.training.examples import load_examples
from classifier.training.folds import Fitted, ScoredExamples, fit
from classifier.training.old_metrics import ClassifierMetrics, classifier_metrics
from classifier.training.published import FORMAT, ModelDocument, StoredScores, latest_classifier, publish, use_again
from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.label_events import load_labels
from pipeline.storage.store import Store


@dataclass(frozen=True)
class ClassifierReport:
    """The published classifier after a call."""

    model_id: str
    trained: bool
    """False where the published one already fits labels, clips and configuration."""
    metrics: ClassifierMetrics


def classifier_is_current(store: Store, config: Config) -> bool:
    """Tell whether the published classifier is of the present labels, clips and settings, and reaches its floor."""
    model = latest_classifier(store)
    if model is None:
        return False
    pool = load_pool(store, config)
    if model.inputs["fingerprint"] != _fingerprint(pool, rated_clips(pool)):
        return False
    reached = cast(ClassifierMetrics, model.metrics)["judged"]["auc"]
    return reached is not None and reached >= config.classifier.min_auc


def rated_clips(pool: Pool) -> dict[str, int]:
    """Return the ratings of the clips that the classifier may learn from: those of the pool."""
    ratings = load_labels(pool.store, pool.config).ratings
    there = set(pool.scan([], clip_ids=ratings.keys())["clip_id"].to_pylist())
    return {clip_id: rating for clip_id, rating in ratings.items() if clip_id in there}


def train_classifier(job: Job) -> ClassifierReport:
    """Train, measure and publish the classifier, unless the published one is current.

    Clips and labels are read; one row of `models` and two blobs are written. A video that is taken down during the
    training starts it again without that video: a network that saw it is never published.

    Raises:
        UserError: too few labels, labels of too few sources, or an AUC on held-out sources below
            `classifier.min_auc` (nothing is then published).
    """
    store, config = job.store, job.config
    pool = load_pool(store, config)
    ratings = rated_clips(pool)
    inputs = _fingerprint(pool, ratings)
    model = latest_classifier(store)
    if model is None or model.inputs["fingerprint"] != inputs:
        model = use_again(store, inputs)
    if model is not None:
        # a changed floor is judged again, without training
        _require_floor(cast(ClassifierMetrics, model.metrics), config)
        return ClassifierReport(model_id=model.model_id, trained=False, metrics=cast(ClassifierMetrics, model.metrics))
    _require_labels(ratings, config)
    examples = load_examples(pool, ratings, config.classifier)
    fitted = fit(examples.take(~examples.val_N), examples.take(examples.val_N), config.classifier, job.on_progress)
    calibration = _calibration(fitted, config)
    metrics = classifier_metrics(fitted, calibration, config)
    _require_floor(metrics, config)
    if pool.taken_down_since():
        return train_classifier(job)
    model_id = publish(pool, fitted.network, _document(pool, fitted, calibration), metrics, inputs)
    return ClassifierReport(model_id=model_id, trained=True, metrics=metrics)


def _fingerprint(pool: Pool, ratings: Mapping[str, int]) -> str:
    rows = pool.scan(["sha256"], clip_ids=ratings.keys()).to_pylist()
    labels = [[row["clip_id"], row["sha256"], ratings[row["clip_id"]], pool.split(row["video_id"])] for row in rows]
    # the floor is a gate: it changes no weight
    return fingerprint(FORMAT, labels, dataclasses.replace(pool.config.classifier, min_auc=0.0), pool.spec)


def _calibration(fitted: Fitted, config: Config) -> Calibration:
    scored = fitted.out_of_fold
    good_N = scored.examples.rating_N >= config.classifier.good_rating
    return fit_platt(clip_features(scored.logits_NK), good_N)


def _document(pool: Pool, fitted: Fitted, calibration: Calibration) -> ModelDocument:
    config = pool.config.classifier
    return {
        "format": FORMAT,
        "clip_spec": pool.spec,
        "width": config.width,
        "input_height": config.input_height,
        "frames_per_clip": config.frames_per_clip,
        "good_rating": config.good_rating,
        "calibration": calibration,
        "out_of_fold": _stored_scores(fitted.out_of_fold, calibration),
        "held_out": _stored_scores(fitted.held_out, calibration),
    }


def _stored_scores(scored: ScoredExamples, calibration: Calibration) -> StoredScores:
    return {
        "clip_id": list(scored.examples.clip_ids),
        "rating": scored.examples.rating_N.tolist(),
        "probability": [round(float(p), 6) for p in stored_probabilities(calibration, scored.logits_NK)],
        "group": list(scored.examples.groups),
    }


def _require_labels(ratings: Mapping[str, int], config: Config) -> None:
    least = config.labels.min_per_class
    missing = {rating: least - sum(1 for r in ratings.values() if r == rating) for rating in (5, 1)}
    if max(missing.values()) <= 0:
        return
    more = " and ".join(f"{count} more {'clip' if count == 1 else 'clips'} rated {rating}"
                        for rating, count in missing.items() if count > 0)  # fmt: skip
    raise UserError(
        f"too few labels for the quality classifier: {more} needed (labels.min_per_class = {least}, {len(ratings)} "
        "clips are rated now). Rate some with `lampworks label --root ROOT`, or import a CSV with "
        "`lampworks label import FILE`. Everything before this step stays done; without labels, decision.mode = "
        "flags decides by technical flags alone."
    )


def _require_floor(metrics: ClassifierMetrics, config: Config) -> None:
    judged = metrics["judged"]
    reached = judged["auc"]
    assert reached is not None
    if reached < config.classifier.min_auc:
        raise UserError(
            f"the quality classifier tells fives from ones with an AUC of {reached:.3f} on {judged['on']}, below "
            f"classifier.min_auc = {config.classifier.min_auc}: nothing was published. More labels of more sources "
            "help most; otherwise raise classifier.steps, or lower the floor on purpose."
        )
