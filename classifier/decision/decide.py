"""Decide on every clip (`rule.py` says how) and replace the table `curated`; no clip is deleted.

The decision records what it was made from. It is made again only when clips, scores, labels, copies, takedowns or
the rule have changed; changing the rule repeats this step alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from classifier.decision.before import keep_decision_before
from classifier.decision.by_recipe import RecipeRule, recipe_of, recipe_rule
from classifier.decision.content import content_of
from classifier.decision.rule import DECISIONS, Rule
from classifier.decision.scoring import unscored_batches
from classifier.pool import Pool, load_pool
from classifier.training.arrays import Bools, Floats
from classifier.training.published import StoredScores, latest_classifier, load_document
from classifier.training.threshold import Threshold, ThresholdMetrics, at_threshold, choose_threshold
from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.label_events import Labels, load_labels
from pipeline.storage.arrow import pc
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.rows import rows_table
from pipeline.storage.store import Store

NO_MODEL = "none"


class KeepThreshold(Threshold):
    """The threshold that a decision used, with what it reaches on held-out sources."""

    held_out: ThresholdMetrics


@dataclass(frozen=True)
class DecisionReport:
    """The decision as it stands after a call."""

    mode: str
    model_version: str
    rule_version: str
    counts: Mapping[str, int]
    """Clips per decision."""
    keep_rate: float
    """Share of clips kept (12.4 % in the paper)."""
    reasons: Mapping[str, int]
    """Clips per kind of reason, such as `drop: flag still`."""
    threshold: KeepThreshold | None
    """None unless the classifier decides."""
    written: bool
    """False where nothing changed."""


def decision_is_current(store: Store, config: Config) -> bool:
    """Tell whether `curated` was decided from the present clips, scores, labels, copies, takedowns and rule."""
    recorded = store.inputs("curated")
    return bool(recorded) and recorded.get("decided_from") == _inputs(store, config, load_labels(store, config))


def decide(job: Job) -> DecisionReport:
    """Decide on every clip and replace `curated` in one commit, unless it is current.

    Raises:
        UserError: in mode classifier, where none is published or a batch is not scored by it.
    """
    store, config = job.store, job.config
    labels = load_labels(store, config)
    inputs = _inputs(store, config, labels)
    recorded = store.inputs("curated")
    if recorded and recorded.get("decided_from") == inputs:
        return _report(config, store.read("curated"), recorded, written=False)
    pool = load_pool(store, config)
    model = _scoring_model(pool) if config.decision.mode == "classifier" else None
    threshold = _keep_threshold(store, model, config) if model is not None else None
    by_recipe = config.decision.mode == "recipe"
    rule = recipe_rule(config, labels) if by_recipe else _rule(pool, labels, threshold)
    parts, kinds = [rows_table("curated", [])], Counter[str]()
    for rows, found in _decided_batches(pool, rule, model):
        parts.append(rows_table("curated", rows))
        kinds.update(found)
    table = pa.concat_tables(parts).sort_by("clip_id")
    content = content_of(table.to_batches())
    keep_decision_before(store, content)
    if pool.taken_down_since():
        # clips of other videos may be copies of what is hidden now
        return decide(job)
    record = {
        "decided_from": inputs,
        "threshold": threshold or {},
        "reasons": dict(sorted(kinds.items())),
        "content": content,
    }
    store.replace("curated", table, inputs=record)
    return _report(config, table, record, written=True)


def _inputs(store: Store, config: Config, labels: Labels) -> dict[str, Any]:
    """Return everything that the decision depends on, as it stands now."""
    by_people = {clip_id: labels.ratings[clip_id] for clip_id in sorted(labels.by_people)}
    model = latest_classifier(store) if config.decision.mode == "classifier" else None
    tables = ["clips", "clippings", "duplicates", "takedowns"] + (["scores"] if model else [])
    recipe = {"recipe": recipe_of(config).sha256()} if config.decision.mode == "recipe" else {}
    return {
        **recipe,
        "rule_version": _rule_version(config),
        "model_version": model.model_id if model else NO_MODEL,
        "labels": fingerprint(labels.ratings, by_people),
        "clip_spec": load_pool(store, config).spec,
        "tables": {name: store.version(name) for name in tables},
    }


def _rule_version(config: Config) -> str:
    return fingerprint(config.decision, config.split, config.classifier.good_rating)


def _scoring_model(pool: Pool) -> ModelRecord:
    """Return the published classifier; UserError where there is none or it has not scored every batch."""
    model = latest_classifier(pool.store)
    if model is None:
        raise UserError(
            "no quality classifier is published, so clips cannot be decided by score: train it (it needs labels), or "
            "set decision.mode = flags to decide by technical flags alone"
        )
    missing = unscored_batches(pool, model.model_id)
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise UserError(
            f"{len(missing)} of {len(pool.batches)} batches are not scored by the published classifier "
            f"{model.model_id}: {shown}. Score them first (asset clip_scores); one model decides for all batches"
        )
    return model


def _keep_threshold(store: Store, model: ModelRecord, config: Config) -> KeepThreshold:
    document = load_document(store, model)
    chosen_on, tested_on = document["out_of_fold"], document["held_out"]
    good_rating, rule = config.classifier.good_rating, config.decision
    chosen = choose_threshold(*_scores(chosen_on, good_rating), rule.target_precision, rule.confidence)
    tested = at_threshold(*_scores(tested_on, good_rating), tested_on["group"], chosen["threshold"])
    return {**chosen, "held_out": tested}


def _scores(stored: StoredScores, good_rating: int) -> tuple[Floats, Bools]:
    return np.array(stored["probability"], float), np.array(stored["rating"], int) >= good_rating


def _rule(pool: Pool, labels: Labels, threshold: KeepThreshold | None) -> Rule:
    config = pool.config.decision
    keep_from = threshold["threshold"] if threshold else 1.0
    return Rule(
        config=config,
        good_rating=pool.config.classifier.good_rating,
        keep_from=keep_from,
        # where the threshold is the lower of the two, there is no band between them
        drop_below=min(config.drop_below, keep_from),
        copies={} if config.keep_duplicates else _copies(pool),
        labels=labels,
    )


def _copies(pool: Pool) -> dict[str, str]:
    """Return the representative of every copy; a copy whose representative is gone (taken down) is none."""
    table = pool.store.read("duplicates", ["clip_id", "representative"], ~pc.field("is_representative"))
    of = {row["clip_id"]: row["representative"] for row in table.to_pylist()}
    there = set(pool.scan([], clip_ids=set(of.values()))["clip_id"].to_pylist())
    return {clip_id: representative for clip_id, representative in of.items() if representative in there}


def _decided_batches(
    pool: Pool, rule: Rule | RecipeRule, model: ModelRecord | None
) -> Iterator[tuple[list[dict[str, Any]], Counter[str]]]:
    """Yield the rows of `curated` of each batch, with the number of clips by decision and kind of reason."""
    splits = {video_id: pool.split(video_id) for video_id in pool.videos}
    rule_version, model_version = _rule_version(pool.config), model.model_id if model else NO_MODEL
    for batch, clips in pool.by_batch(rule.columns):
        where = pc.field("batch") == batch
        scores = pool.store.read("scores", where=where).to_pylist() if model is not None else []
        score_of = {row["clip_id"]: row for row in scores}
        rows, kinds = [], Counter[str]()
        for clip in clips.to_pylist():
            clip_id, score = clip["clip_id"], score_of.get(clip["clip_id"])
            verdict = rule.verdict(clip, score)
            kinds[f"{verdict.decision}: {verdict.kind}"] += 1
            rows.append({
                "clip_id": clip_id, "video_id": clip["video_id"], "batch": batch, "decision": verdict.decision,
                "reason": verdict.reason, "probability": score["probability"] if score else None,
                "rating": rule.labels.ratings.get(clip_id), "split": splits[clip["video_id"]],
                "rule_version": rule_version, "model_version": model_version,
            })  # fmt: skip
        yield rows, kinds


def _report(config: Config, table: pa.Table, record: Mapping[str, Any], *, written: bool) -> DecisionReport:
    counts = Counter(table["decision"].to_pylist())
    return DecisionReport(
        mode=config.decision.mode,
        model_version=record["decided_from"]["model_version"],
        rule_version=record["decided_from"]["rule_version"],
        counts={decision: counts[decision] for decision in DECISIONS},
        keep_rate=counts["keep"] / max(len(table), 1),
        reasons=record["reasons"],
        threshold=record["threshold"] or None,
        written=written,
    )
