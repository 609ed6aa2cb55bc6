"""Decide on every clip (`rule.py` says how) and replace the table `curated`; no clip is deleted.

The decision records what it was made from. It is made again only when clips, scores, labels, copies, takedowns or
the rule have changed; changing the rule repeats this step alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from classifier.decision.advice import advice
from classifier.decision.before import keep_decision_before
from classifier.decision.by_recipe import RecipeRule, recipe_of, recipe_rule
from classifier.decision.content import content_of
from classifier.decision.costs import hard_rule_costs
from classifier.decision.hard_rules import check_flags
from classifier.decision.pool_state import load_state
from classifier.decision.rows import ClipsChangedError, Verdicts, curated_rows
from classifier.decision.rule import DECISIONS, hard_rules, outcomes, percentiles
from classifier.decision.threshold import KeepThreshold, RatedScores, choose_threshold
from classifier.decision.tradeoff import Tradeoff, trade_curve
from classifier.pool import Pool, load_pool
from classifier.training.published import StoredScores, latest_classifier, load_document
from pipeline.clip_spec import clip_spec
from pipeline.config import Config, fingerprint
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.label_events import Labels, load_labels
from pipeline.storage.arrow import counts, pc
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.owner import scratch_folder
from pipeline.storage.rows import rows_table
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

NO_MODEL = "none"
_SORTED_BYTES = 4_000_000


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
    tradeoff: Tradeoff | None
    """Data of the picture of thresholds, and the cost of each hard rule; None in mode recipe."""
    warning: str
    """What a person should know and do about the threshold; empty where its target is reached."""
    written: bool
    """False where nothing changed."""


def decision_is_current(store: Store, config: Config) -> bool:
    """Tell whether `curated` was decided from the present clips, scores, labels, copies, takedowns and rule."""
    recorded = store.inputs("curated")
    return bool(recorded) and recorded.get("decided_from") == _inputs(store, config, load_labels(store, config))


def decide(job: Job) -> DecisionReport:
    """Decide on every clip and replace `curated` in one commit, unless it is current.

    Raises:
        UserError: in mode classifier, where none is published or a batch is not scored by it; a flag is unknown.
    """
    store, config = job.store, job.config
    check_flags(config.decision.drop_flags)
    labels = load_labels(store, config)
    inputs = _inputs(store, config, labels)
    recorded = store.inputs("curated")
    if recorded and recorded.get("decided_from") == inputs:
        return _report(store, config, recorded, written=False)
    pool = load_pool(store, config)
    with scratch_folder(job.home.tmp, "decision") as folder:
        try:
            rows, about = _decided(pool, labels)
            kinds = _spool(rows, spool := folder / "curated.arrow")
        except ClipsChangedError:
            return decide(job)
        content = content_of(_spooled(spool))
        keep_decision_before(store, content, folder)
        if pool.taken_down_since():
            # clips of other videos may be copies of what is hidden now
            return decide(job)
        reasons = dict(sorted(kinds.items()))
        record = {"decided_from": inputs, "reasons": reasons, "content": content, **about}
        store.replace_from("curated", lambda: _spooled(spool), inputs=record)
    return _report(store, config, store.inputs("curated"), written=True)


def _spool(parts: Iterator[pa.Table], path: Path) -> Counter[str]:
    """Write rows to a file, so that memory does not grow with them; return clips by decision and kind of reason."""
    kinds = Counter[str]()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, SCHEMAS["curated"], options=options) as writer:
        for part in parts:
            writer.write_table(part)
            kinds.update(counts(pc.binary_join_element_wise(part["decision"], part["kind"], ": ")))
    return kinds


def _spooled(path: Path) -> pa.RecordBatchReader:
    """Return a reader of the rows: in the order of clip_id where they fit into memory, else in no order."""
    reader = pa.ipc.open_stream(pa.OSFile(str(path), "rb"))
    if path.stat().st_size > _SORTED_BYTES:
        return reader
    rows = reader.read_all().sort_by("clip_id").combine_chunks()
    return pa.RecordBatchReader.from_batches(reader.schema, rows.to_batches())


def _decided(pool: Pool, labels: Labels) -> tuple[Iterator[pa.Table], dict[str, Any]]:
    """Return the rows of `curated`, a batch at a time, and what is recorded with them."""
    config, rule = pool.config, pool.config.decision
    if rule.mode == "recipe":
        return _recipe_rows(pool, recipe_rule(config, labels)), {}
    model = _scoring_model(pool) if rule.mode == "classifier" else None
    state = load_state(pool, model, labels)
    good_rating = config.classifier.good_rating
    hard = hard_rules(state, rule, good_rating)
    open_P = ~hard.any_P & ~(state.by_people_P & (state.rating_P <= 2))
    rated = _rated_scores(pool.store, model, labels.ratings, good_rating) if model is not None else None
    unrated = state.probability_P[open_P & (state.rating_P == 0)]
    pool_scores = state.probability_P[open_P]
    found = choose_threshold(rated, rule, pool_scores, len(state), unrated) if rated is not None else None
    keep_from = found["threshold"] if found is not None else 1.0
    # where the threshold is the lower of the two, there is no band between them
    drop_below = min(rule.drop_below, keep_from)
    verdicts = Verdicts(
        state=state,
        config=rule,
        hard=hard,
        outcome_P=outcomes(state, hard, rule, good_rating, keep_from, drop_below),
        percentile_P=percentiles(state.probability_P),
        keep_from=keep_from,
        drop_below=drop_below,
        rule_version=_rule_version(config),
        model_version=model.model_id if model is not None else NO_MODEL,
    )
    curve = trade_curve(rated, pool_scores, state.length_ms_P[open_P], keep_from) if rated is not None else []
    return curated_rows(pool, verdicts), {
        "threshold": found,
        "tradeoff": Tradeoff(curve=curve, costs=hard_rule_costs(verdicts, good_rating)),
        "warning": advice(found, rule) if found is not None else "",
    }


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
        "clip_spec": clip_spec(config.clips),
        "tables": {name: store.version(name) for name in tables},
    }


def _rule_version(config: Config) -> str:
    return fingerprint(config.decision, config.split, config.classifier.good_rating)


def _scoring_model(pool: Pool) -> ModelRecord:
    """Return the published classifier; UserError where there is none."""
    model = latest_classifier(pool.store)
    if model is None:
        raise UserError(
            "no quality classifier is published, so clips cannot be decided by score: train it (it needs labels), or "
            "set decision.mode = flags to decide by technical flags alone"
        )
    return model


def _rated_scores(store: Store, model: ModelRecord, ratings: Mapping[str, int], good_rating: int) -> RatedScores:
    """Return the out-of-fold scores of a classifier with the ratings of today.

    They differ from those that it learned where it was published before a rating changed, and a challenger lost.
    """
    stored: StoredScores = load_document(store, model)["out_of_fold"]
    rating = [ratings.get(*pair) for pair in zip(stored["clip_id"], stored["rating"], strict=True)]
    good_N = np.array(rating, int) >= good_rating
    weights = stored.get("weight")
    weight_N = None if weights is None else np.array(weights, float)
    return RatedScores(np.array(stored["probability"], float), good_N, stored["group"], weight_N)


def _recipe_rows(pool: Pool, rule: RecipeRule) -> Iterator[pa.Table]:
    """Yield the rows of `curated` of each batch by a recipe; a batch of clips is in memory at a time."""
    splits = {video_id: pool.split(video_id) for video_id in pool.videos}
    rule_version = _rule_version(pool.config)
    for batch, clips in pool.by_batch(rule.columns):
        rows = []
        for clip in clips.to_pylist():
            verdict = rule.verdict(clip, None)
            rows.append({
                "clip_id": clip["clip_id"], "video_id": clip["video_id"], "batch": batch, "decision": verdict.decision,
                "reason": verdict.reason, "kind": verdict.kind, "rating": rule.labels.ratings.get(clip["clip_id"]),
                "split": splits[clip["video_id"]], "rule_version": rule_version, "model_version": NO_MODEL,
            })  # fmt: skip
        yield rows_table("curated", rows)


def _report(store: Store, config: Config, record: Mapping[str, Any], *, written: bool) -> DecisionReport:
    found = counts(store.read("curated", ["decision"])["decision"])
    return DecisionReport(
        mode=config.decision.mode,
        model_version=record["decided_from"]["model_version"],
        rule_version=record["decided_from"]["rule_version"],
        counts={decision: found.get(decision, 0) for decision in DECISIONS},
        keep_rate=found.get("keep", 0) / max(sum(found.values()), 1),
        reasons=record["reasons"],
        threshold=record.get("threshold"),
        tradeoff=record.get("tradeoff"),
        warning=record.get("warning", ""),
        written=written,
    )
