"""Compare a new classifier with the published one, on clips that neither had learned from when it scored them.

For clips that the published one was compared on, its stored out-of-fold scores are used; clips of sources that it
never saw are scored by it now. Clips that it learned from without an out-of-fold score are left out.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np

from classifier.embedding.weights import encoder_id
from classifier.pool import Pool
from classifier.training.compare import Comparison, score_rows
from classifier.training.examples import feature_names
from classifier.training.groups import joined_groups
from classifier.training.metrics import PromotionMetrics
from classifier.training.promotion import Choice, contest, no_contest
from classifier.training.published import FORMAT, ModelDocument, latest_classifier, load_document, load_scorer
from pipeline.config import fingerprint
from pipeline.errors import UserError
from pipeline.ids import split_clip_id
from pipeline.storage.models_table import ModelRecord, replace_model
from pipeline.storage.store import Store

_NO_NUMBERS = ("min_auc", "device", "threads")
"""Settings that do not change what a classifier is meant to be."""


def against_champion(
    pool: Pool, champion: ModelRecord | None, comparison: Comparison, choice: Choice
) -> PromotionMetrics:
    """Return whether the new classifier takes the place of the published one, and why."""
    if champion is None:
        return no_contest(None, "no classifier was published before")
    name = champion.model_id
    if champion.metrics.get("format") != FORMAT:
        return no_contest(name, f"{name} is of an older format")
    if champion.inputs["clip_spec"] != pool.spec:
        return no_contest(name, f"{name} learned from clips of clip_spec {champion.inputs['clip_spec']}")
    if _settings(champion.config) != _settings(dataclasses.asdict(pool.config.classifier)):
        return no_contest(name, f"the settings of the classifier are not those that {name} was trained with")
    document = load_document(pool.store, champion)
    learned = {*document["out_of_fold"]["clip_id"], *document["held_out"]["clip_id"]}
    there = set(pool.scan([], clip_ids=learned)["clip_id"].to_pylist())
    if learned - there:
        return no_contest(name, f"{len(learned - there)} clips that {name} learned from are not there any more")
    unusable = _unusable(pool, document)
    if unusable:
        return no_contest(name, f"{name} cannot be used any more: {unusable}")
    return _contest(pool, champion, document, comparison, choice)


def keep_champion(store: Store, promotion: PromotionMetrics, inputs: str) -> ModelRecord:
    """Note on the published classifier that it won against one of these inputs, which is then not trained again."""
    champion = latest_classifier(store)
    assert champion is not None
    kept_for = [*champion.inputs.get("kept_for", ()), inputs]
    kept = dataclasses.replace(
        champion,
        metrics={**champion.metrics, "promotion": promotion},
        inputs={**champion.inputs, "kept_for": kept_for},
    )
    replace_model(store, kept)
    return kept


def _unusable(pool: Pool, document: ModelDocument) -> str:
    """Return why clips of today cannot be scored with a classifier; empty where they can."""
    if "features" in document["needs"]:
        gone = [name for name in document["feature_names"] if name not in feature_names()]
        if gone:
            return f"it learned from measurements that are not made any more ({', '.join(gone)})"
    if document["encoder"] is None:
        return ""
    if not pool.config.embedding.enabled:
        return "it needs embeddings, and embedding.enabled = false"
    try:
        encoder = encoder_id(pool.config.embedding)
    except UserError as exc:
        return str(exc)
    return "" if encoder == document["encoder"] else f"it needs embeddings of {document['encoder']}, not of {encoder}"


def _contest(
    pool: Pool, champion: ModelRecord, document: ModelDocument, comparison: Comparison, choice: Choice
) -> PromotionMetrics:
    examples = comparison.examples
    known = dict(zip(document["out_of_fold"]["clip_id"], document["out_of_fold"]["score"], strict=True))
    # its sources, under the names that they have among the clips of today
    clips = sorted({*known, *document["held_out"]["clip_id"]})
    learned_from = set(joined_groups(pool, [split_clip_id(clip_id)[0] for clip_id in clips]))
    new = np.array([group not in learned_from for group in examples.groups], bool)
    score_N = np.array([known.get(clip_id, np.nan) for clip_id in examples.clip_ids])
    if new.any():
        scorer = load_scorer(pool.store, champion, pool.config.classifier)
        if "frames" not in scorer.needs or examples.frames is not None:
            score_N[new] = score_rows(scorer, examples, np.flatnonzero(new))
    used = np.isfinite(score_N)
    common = examples.take(used)
    return contest(
        champion.model_id,
        score_N[used],
        comparison.of(choice.name).mean_scores[used],
        dataclasses.replace(comparison.sides, good_N=comparison.sides.good_N[used], bad_N=comparison.sides.bad_N[used]),
        common.groups,
    )


def _settings(config: Any) -> str:
    return fingerprint(json.loads(json.dumps({key: value for key, value in config.items() if key not in _NO_NUMBERS})))
