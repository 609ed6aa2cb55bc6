"""Decide on every clip: keep, drop or review, with the reason in words. Nothing is deleted.

Genie App. B.1 decides by "model prediction and confidence"; here that is three bands of the calibrated probability:
keep from a threshold whose precision is certified on out-of-fold scores, drop below another, and between them what
`decision.middle` says. In this order, the first that applies decides:

1. a person rated it 1 or 2: dropped; 2. it is a copy of another clip: dropped; 3. a person rated it good
(`classifier.good_rating` and up): kept, whatever flags and score say; 4. it bears a flag that drops: dropped;
5. its frames were unreadable: dropped; 6. its probability.

The stand-in labeller of the embedded source is no person: its ratings teach, they do not decide. Without labels,
`mode: flags` decides by technical flags alone, and every reason says so. Changing a rule re-runs this step only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from classifier.decision.scoring import unscored_batches
from classifier.pool import Pool, load_pool
from classifier.training.calibration import at_threshold, choose_threshold
from classifier.training.train import KIND, load_document
from pipeline.config import Config, DecisionConfig, fingerprint
from pipeline.errors import UserError
from pipeline.label_events import Labels, load_labels
from pipeline.storage.arrow import pc
from pipeline.storage.models_table import ModelRecord, newest_model
from pipeline.storage.rows import rows_table
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

DECISIONS = ("keep", "drop", "review")
NO_MODEL = "none"


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
    threshold: Mapping[str, Any]
    """The keep threshold and what it rests on; empty in mode flags."""
    written: bool
    """False where nothing changed."""


@dataclass(frozen=True)
class _Rule:
    """What decides about one clip."""

    config: DecisionConfig
    good_rating: int
    keep_from: float
    drop_below: float
    copies: Mapping[str, str]
    """Representative by clip, of copies."""
    labels: Labels

    def decide(self, clip_id: str, flags: list[str], score: Mapping[str, Any] | None) -> tuple[str, str, str]:
        """Return (decision, reason, kind of reason)."""
        rating = self.labels.ratings.get(clip_id) if clip_id in self.labels.by_people else None
        if rating is not None and rating <= 2:
            return "drop", f"rated {rating}", f"rated {rating}"
        if clip_id in self.copies:
            return "drop", f"duplicate of {self.copies[clip_id]}", "duplicate"
        if rating is not None and rating >= self.good_rating:
            return "keep", f"rated {rating}", f"rated {rating}"
        dropping = [flag for flag in flags if flag in self.config.drop_flags]
        if self.config.mode == "flags":
            return self._by_flags(flags, dropping)
        if dropping:
            return "drop", f"flag: {', '.join(dropping)}", f"flag {dropping[0]}"
        assert score is not None
        probability = score["probability"]
        if probability is None:
            return "drop", f"no score: {score['error_class']}", "no score"
        return self._by_score(float(probability))

    def _by_flags(self, flags: list[str], dropping: list[str]) -> tuple[str, str, str]:
        if dropping:
            return "drop", f"flags only: {', '.join(dropping)}", f"flags only, {dropping[0]}"
        if flags:
            return self.config.middle, f"flags only: {', '.join(flags)}", f"flags only, {flags[0]}"
        return "keep", "flags only: none", "flags only, none"

    def _by_score(self, probability: float) -> tuple[str, str, str]:
        if probability >= self.keep_from:
            return "keep", f"score {_cut(probability)} >= {_cut(self.keep_from)}", "score"
        if probability < self.drop_below:
            return "drop", f"score {_cut(probability)} < {_cut(self.drop_below)}", "score"
        between = f"score {_cut(probability)} between {_cut(self.drop_below)} and {_cut(self.keep_from)}"
        return self.config.middle, between, "score between"


def _cut(value: float) -> str:
    # downwards, so that 0.7996 is never printed as having reached 0.80
    return f"{int(value * 1e3 + 1e-9) / 1e3:.3f}"


# -- inputs -------------------------------------------------------------------------------------------------------


def decision_is_current(store: Store, config: Config) -> bool:
    """Tell whether `curated` was decided from today's clips, scores, labels, copies, takedowns and rule."""
    recorded = store.inputs("curated")
    return bool(recorded) and recorded.get("decided_from") == _inputs(store, config, load_labels(store, config))


def _inputs(store: Store, config: Config, labels: Labels) -> dict[str, Any]:
    pool_spec = load_pool(store, config).spec
    people = {clip_id: labels.ratings[clip_id] for clip_id in sorted(labels.by_people)}
    model = newest_model(store, KIND) if config.decision.mode == "classifier" else None
    tables = ["clips", "clippings", "duplicates", "takedowns"] + (["scores"] if model else [])
    return {
        "rule_version": _rule_version(config),
        "model_version": model.model_id if model else NO_MODEL,
        "labels": fingerprint(labels.ratings, people),
        "clip_spec": pool_spec,
        "tables": {name: store.version(name) for name in tables},
    }


def _rule_version(config: Config) -> str:
    return fingerprint(config.decision, config.split, config.classifier.good_rating)


# -- deciding -----------------------------------------------------------------------------------------------------


def decide(store: Store, config: Config) -> DecisionReport:
    """Decide on every clip and replace `curated` in one commit, unless it is current.

    Raises:
        UserError: mode classifier without a published classifier, or batches that are not scored by it.
    """
    labels = load_labels(store, config)
    inputs = _inputs(store, config, labels)
    recorded = store.inputs("curated")
    if recorded and recorded.get("decided_from") == inputs:
        return _report(config, store.read("curated"), recorded, written=False)
    pool = load_pool(store, config)
    model = _scoring_model(store, pool) if config.decision.mode == "classifier" else None
    threshold = _threshold(store, model, config) if model is not None else {}
    rule = _rule(store, pool, config, labels, threshold)
    batches, kinds = [], Counter[str]()
    for batch, rows, found in _decided(store, pool, rule, model, config):
        batches.append(rows_table("curated", rows).sort_by("clip_id"))
        kinds.update(found)
        assert all(row["batch"] == batch for row in rows)
    empty = rows_table("curated", [])
    table = pa.concat_tables([empty, *batches]).sort_by("clip_id")
    if _hidden(store, pool):
        # a takedown came while deciding: clips of other videos may be copies of what it hides, so decide again
        return decide(store, config)
    told = {"decided_from": inputs, "threshold": threshold, "reasons": dict(sorted(kinds.items()))}
    store.replace("curated", table, inputs=told)
    return _report(config, table, told, written=True)


def _scoring_model(store: Store, pool: Pool) -> ModelRecord:
    model = newest_model(store, KIND)
    if model is None:
        raise UserError(
            "no quality classifier is published, so clips cannot be decided by score: train it (it needs labels), or "
            "set decision.mode = flags to decide by technical flags alone"
        )
    missing = unscored_batches(store, pool, model.model_id)
    if missing:
        shown = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise UserError(
            f"{len(missing)} of {len(pool.batches)} batches are not scored by the published classifier "
            f"{model.model_id}: {shown}. Score them first (asset clip_scores); one model decides for all batches"
        )
    return model


def _threshold(store: Store, model: ModelRecord, config: Config) -> dict[str, Any]:
    document = load_document(store, model)
    sides = {}
    for side in ("out_of_fold", "held_out"):
        scores = document[side]
        good = np.array(scores["rating"], int) >= config.classifier.good_rating
        sides[side] = (np.array(scores["probability"], float), good, scores["group"])
    chosen = choose_threshold(*sides["out_of_fold"][:2], config.decision.target_precision, config.decision.confidence)
    return {**chosen, "held_out": at_threshold(*sides["held_out"], chosen["threshold"])}


def _rule(store: Store, pool: Pool, config: Config, labels: Labels, threshold: Mapping[str, Any]) -> _Rule:
    copies: dict[str, str] = {}
    if not config.decision.keep_duplicates:
        where = ~pc.field("is_representative")
        table = store.read("duplicates", ["clip_id", "representative"], where)
        # a copy whose representative is gone (taken down, say) stands for itself
        of = {row["clip_id"]: row["representative"] for row in table.to_pylist()}
        there = set(pool.scan([], clip_ids=set(of.values()))["clip_id"].to_pylist())
        copies = {clip_id: representative for clip_id, representative in of.items() if representative in there}
    keep_from = float(threshold.get("threshold", 1.0))
    return _Rule(
        config=config.decision,
        good_rating=config.classifier.good_rating,
        keep_from=keep_from,
        # a threshold below the dropping cut leaves no band between
        drop_below=min(config.decision.drop_below, keep_from),
        copies=copies,
        labels=labels,
    )


def _decided(
    store: Store, pool: Pool, rule: _Rule, model: ModelRecord | None, config: Config
) -> Iterator[tuple[str, list[dict[str, Any]], Counter[str]]]:
    splits = {video_id: pool.split(video_id) for video_id in pool.videos}
    for batch, clips in pool.by_batch(["flags"]):
        where = pc.field("batch") == batch
        scores = store.read("scores", where=where).to_pylist() if model is not None else []
        by_clip = {row["clip_id"]: row for row in scores}
        rows, kinds = [], Counter[str]()
        for clip in clips.to_pylist():
            score = by_clip.get(clip["clip_id"])
            decision, reason, kind = rule.decide(clip["clip_id"], list(clip["flags"] or ()), score)
            kinds[f"{decision}: {kind}"] += 1
            rows.append({
                "clip_id": clip["clip_id"], "video_id": clip["video_id"], "batch": batch, "decision": decision,
                "reason": reason, "probability": score["probability"] if score else None,
                "rating": rule.labels.ratings.get(clip["clip_id"]), "split": splits[clip["video_id"]],
                "rule_version": _rule_version(config), "model_version": model.model_id if model else NO_MODEL,
            })  # fmt: skip
        yield batch, rows, kinds


def _hidden(store: Store, pool: Pool) -> list[str]:
    gone = taken_down(store)
    return sorted(video_id for video_id, row in pool.videos.items() if gone.hides(video_id, row["channel_id"]))


def _report(config: Config, table: pa.Table, told: Mapping[str, Any], *, written: bool) -> DecisionReport:
    counts = Counter(table["decision"].to_pylist())
    return DecisionReport(
        mode=config.decision.mode,
        model_version=told["decided_from"]["model_version"],
        rule_version=told["decided_from"]["rule_version"],
        counts={decision: counts[decision] for decision in DECISIONS},
        keep_rate=counts["keep"] / max(len(table), 1),
        reasons=told["reasons"],
        threshold=told["threshold"],
        written=written,
    )
