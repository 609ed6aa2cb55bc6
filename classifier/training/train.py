"""Train the quality classifier: candidates compared by source, the best one fitted, calibrated and published.

Every rated clip gets out-of-fold scores of every candidate (`compare.py`). They choose the candidate
(`promotion.py`), calibrate it (`calibration.py`), and later set the keep threshold, over all five ratings, because
most clips to decide on are neither fives nor ones. The published candidate learns from all of these clips.

With fewer than 300 labels all sources take part in cross-validation: a tenth of so few, held out, would be a handful
of clips, whose figures tell nothing, and learning would miss them. From 300 labels on, the sources that are held out
of the world model's training check the published candidate and choose nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa

from classifier.embedding.weights import encoder_id
from classifier.pool import Pool, load_pool
from classifier.training.auc import Sides
from classifier.training.calibration import Calibration, fit_calibration, stored_probabilities
from classifier.training.candidates.choices import needs_of
from classifier.training.candidates.scorer import Scorer
from classifier.training.champion import against_champion, keep_champion
from classifier.training.compare import Comparison, compare_candidates, filled, fit_candidate, score_rows
from classifier.training.examples import FEATURE_COLUMNS, Examples, feature_names, load_examples
from classifier.training.groups import joined_groups
from classifier.training.measure import classifier_metrics, held_out_metrics
from classifier.training.metrics import ClassifierMetrics, HeldOutMetrics, auc_text
from classifier.training.promotion import Choice, best_candidate
from classifier.training.published import (
    FORMAT,
    ModelDocument,
    StoredScores,
    fits,
    latest_classifier,
    publish,
    use_again,
)
from classifier.training.weights import inclusion_of
from pipeline.config import ClassifierConfig, Config, fingerprint
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.label_events import load_labels
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store

HOLD_OUT_FROM = 300
"""Labels from which on sources are held out of cross-validation."""


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
    labels = load_labels(store, config)
    if not fits(model, _fingerprint(pool, _in_pool(pool, labels.ratings), inclusion_of(labels.events))):
        return False
    return not below_floor(cast(ClassifierMetrics, model.metrics), config.classifier)


def rated_clips(pool: Pool) -> dict[str, int]:
    """Return the ratings of the clips that the classifier may learn from: those of the pool."""
    return _in_pool(pool, load_labels(pool.store, pool.config).ratings)


def _in_pool(pool: Pool, ratings: Mapping[str, int]) -> dict[str, int]:
    there = set(pool.scan([], clip_ids=ratings.keys())["clip_id"].to_pylist())
    return {clip_id: rating for clip_id, rating in ratings.items() if clip_id in there}


def train_classifier(job: Job) -> ClassifierReport:
    """Compare, measure and publish the classifier, unless the published one is current.

    Clips and labels are read; one row of `models` and two blobs are written. A video that is taken down during the
    training starts it again without that video: a model that saw it is never published.

    Raises:
        UserError: too few labels, labels of too few sources, no candidate that can be compared, or an out-of-fold AUC
            that cannot reach `classifier.min_auc` (nothing is then published).
    """
    store, config = job.store, job.config
    pool = load_pool(store, config)
    labels = load_labels(store, config)
    ratings, inclusion = _in_pool(pool, labels.ratings), inclusion_of(labels.events)
    inputs = _fingerprint(pool, ratings, inclusion)
    model = latest_classifier(store)
    if model is None or not fits(model, inputs):
        model = use_again(store, inputs)
    if model is not None:
        # a changed floor is judged again, without training
        metrics = cast(ClassifierMetrics, model.metrics)
        _require_floor(metrics, config.classifier)
        return ClassifierReport(model_id=model.model_id, trained=False, metrics=metrics)
    require_labels(ratings, config)
    examples = load_examples(pool, ratings, config.classifier, needs_of(config.classifier), inclusion)
    held_N, why = held_out(examples, config.classifier.good_rating)
    held = examples.take(held_N)
    comparison = compare_candidates(examples.take(~held_N), config.classifier, on_progress=job.on_progress)
    choice = best_candidate(comparison)
    scorer = fit_candidate(choice.name, comparison, config.classifier, job.on_progress)
    calibration = _calibration(comparison, choice, config.classifier)
    held_score_N = filled(score_rows(scorer, held, np.arange(len(held))))
    checked: HeldOutMetrics = {"used": False, "why": why, "auc": None}
    if len(held):
        checked = held_out_metrics(held_score_N, held.rating_N, held.groups, config.classifier.good_rating)
    promotion = against_champion(pool, latest_classifier(store), comparison, choice)
    metrics = classifier_metrics(comparison, choice, calibration, checked, len(held), promotion, config.classifier)
    _require_floor(metrics, config.classifier)
    if pool.taken_down_since():
        return train_classifier(job)
    if not promotion["replaced"]:
        kept = keep_champion(store, promotion, inputs)
        return ClassifierReport(kept.model_id, trained=True, metrics=cast(ClassifierMetrics, kept.metrics))
    document = _document(pool, scorer, comparison, choice, calibration)
    document["held_out"] = _stored(held, held_score_N, calibration)
    model = publish(pool, scorer, document, metrics, inputs)
    return ClassifierReport(model_id=model.model_id, trained=True, metrics=metrics)


def require_labels(ratings: Mapping[str, int], config: Config) -> None:
    """Raise where there are too few good or bad clips, with the number that is missing and the fix."""
    least, good_rating = config.labels.min_per_class, config.classifier.good_rating
    sides = Sides.of_ratings(np.array(list(ratings.values()), np.int64), good_rating)
    bad_rating = min(2, good_rating - 1)
    names = {
        f"good {{}} (rated {good_rating} or more)": least - int(sides.good_N.sum()),
        f"bad {{}} (rated {bad_rating} or less)": least - int(sides.bad_N.sum()),
    }
    if max(names.values()) <= 0:
        return
    more = " and ".join(
        f"{count} more {name.format('clip' if count == 1 else 'clips')}" for name, count in names.items() if count > 0
    )
    raise UserError(
        f"too few labels for the quality classifier: {more} needed (labels.min_per_class = {least}, {len(ratings)} "
        "clips are rated now). Rate some with `lampworks label --root ROOT`, or import a CSV with "
        "`lampworks label import FILE`. Everything before this step stays done; without labels, decision.mode = "
        "flags decides by technical flags alone."
    )


def below_floor(metrics: ClassifierMetrics, config: ClassifierConfig) -> bool:
    """Tell whether even the upper bound of the out-of-fold AUC is below `classifier.min_auc`, on enough clips."""
    reached = metrics["headline"]
    return not reached["few"] and reached["interval"] is not None and reached["interval"][1] < config.min_auc


def _require_floor(metrics: ClassifierMetrics, config: ClassifierConfig) -> None:
    if below_floor(metrics, config):
        raise UserError(
            f"the quality classifier tells good clips from bad ones with an out-of-fold AUC of "
            f"{auc_text(metrics['headline'])}: even its upper bound is below classifier.min_auc = {config.min_auc}, so "
            "nothing was published. More labels of more sources help most (`lampworks label --root ROOT`); otherwise "
            "lower classifier.min_auc on purpose."
        )


def _fingerprint(pool: Pool, ratings: Mapping[str, int], inclusion: Mapping[str, float]) -> str:
    columns = ["sha256", *FEATURE_COLUMNS]
    rows = pool.scan(columns, clip_ids=ratings.keys()).to_pylist()
    labels = [
        [row["clip_id"], ratings[row["clip_id"]], pool.split(row["video_id"]), *(row[name] for name in columns)]
        for row in rows
    ]
    groups = joined_groups(pool, [row["video_id"] for row in rows])
    # the floor is a gate: it changes no number of a model
    settings = dataclasses.replace(pool.config.classifier, min_auc=0.0)
    embedded = _embedded(pool, ratings) if "embedding" in needs_of(settings) else []
    drawn = {clip_id: inclusion[clip_id] for clip_id in sorted(inclusion.keys() & ratings.keys())}
    return fingerprint(FORMAT, labels, drawn, settings, pool.spec, feature_names(), embedded, groups)


def _embedded(pool: Pool, ratings: Mapping[str, int]) -> list[str]:
    """Return the encoder and the rated clips that it has embedded; nothing where it cannot be used."""
    if not pool.config.embedding.enabled:
        return []
    try:
        encoder = encoder_id(pool.config.embedding)
    except UserError:
        return []
    rated = pc.field("clip_id").isin(pa.array(sorted(ratings), pa.string()))
    where = rated & (pc.field("encoder") == encoder) & pc.is_valid(pc.field("mean"))
    return [encoder, *sorted(map(str, pool.store.read("embeddings", ["clip_id"], where)["clip_id"].to_pylist()))]


def held_out(examples: Examples, good_rating: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], str]:
    """Return which clips only check the published candidate, and why none do."""
    if len(examples) < HOLD_OUT_FROM:
        return np.zeros(len(examples), bool), (
            f"with {len(examples)} labels (fewer than {HOLD_OUT_FROM}) all sources are used by cross-validation"
        )
    # joined with a source that is held out, a source is held out too
    held = {group for group, val in zip(examples.groups, examples.val_N, strict=True) if val}
    held_N = np.array([group in held for group in examples.groups], bool)
    learned = Sides.of_ratings(examples.rating_N[~held_N], good_rating)
    if not held_N.any() or not learned.good_N.any() or not learned.bad_N.any():
        return np.zeros(len(examples), bool), "no rated clip is of a source that is held out"
    return held_N, ""


def _calibration(comparison: Comparison, choice: Choice, config: ClassifierConfig) -> Calibration:
    examples = comparison.examples
    good_N = examples.rating_N >= config.good_rating
    return fit_calibration(comparison.of(choice.name).mean_scores, good_N, examples.weight_N)


def _document(
    pool: Pool, scorer: Scorer, comparison: Comparison, choice: Choice, calibration: Calibration
) -> ModelDocument:
    return {
        "format": FORMAT,
        "candidate": choice.name,
        "needs": sorted(scorer.needs),
        "feature_names": list(feature_names()),
        "encoder": encoder_id(pool.config.embedding) if "embedding" in scorer.needs else None,
        "state": scorer.state().document,
        "calibration": calibration,
        "good_rating": pool.config.classifier.good_rating,
        "clip_spec": pool.spec,
        "out_of_fold": _stored(comparison.examples, comparison.of(choice.name).mean_scores, calibration),
        "held_out": {"clip_id": [], "rating": [], "probability": [], "score": [], "group": []},
    }


def _stored(
    examples: Examples, score_N: np.ndarray[tuple[int], np.dtype[np.float64]], calibration: Calibration
) -> StoredScores:
    return {
        "clip_id": list(examples.clip_ids),
        "rating": examples.rating_N.tolist(),
        "probability": stored_probabilities(calibration, score_N).tolist(),
        "score": score_N.tolist(),
        "group": list(examples.groups),
        "weight": examples.weight_N.round(6).tolist(),
    }
