"""The published classifier: one row of `models`, its numbers, and `model.json` with everything needed to use it.

The blobs are written before the row that names them, so that a reader never sees half a model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from safetensors.torch import load, save
from torch import Tensor

from classifier.pool import Pool
from classifier.training.calibration import Calibration
from classifier.training.candidates.choices import scorer_from_state
from classifier.training.candidates.scorer import Scorer
from classifier.training.fitting import device_of
from classifier.training.metrics import ClassifierMetrics
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from pipeline.storage.models_table import (
    ModelRecord,
    models_of_kind,
    newest_model,
    read_model_file,
    replace_model,
)
from pipeline.storage.store import Store

KIND = "quality_classifier"
FORMAT = 2
"""Of model.json; it is part of the training's fingerprint, so that another format is trained again."""


class StoredScores(TypedDict):
    """Rated clips as models scored them that never saw their source: a later threshold is chosen on them."""

    clip_id: list[str]
    rating: list[int]
    probability: list[float]
    score: list[float]
    """Raw, before calibration; the mean over the repeats."""
    group: list[str]
    weight: NotRequired[list[float]]
    """Clips of the pool that each stands for, 1 on average; models of older versions lack it."""


class ModelDocument(TypedDict):
    """The content of `model.json`."""

    format: int
    candidate: str
    needs: list[str]
    """Arrays that it computes its scores from: `features`, `frames`, `embedding`."""
    feature_names: list[str]
    """Measurements of clips when it was trained, in order."""
    encoder: str | None
    """The frozen network whose embeddings it learned from; None where it needs none."""
    state: Mapping[str, Any]
    """Numbers of the candidate that are not in weights.safetensors."""
    calibration: Calibration
    good_rating: int
    clip_spec: str
    out_of_fold: StoredScores
    """All rated clips that were learned from."""
    held_out: StoredScores
    """Rated clips of sources that nothing was learned from; empty under 300 labels."""


def latest_classifier(store: Store) -> ModelRecord | None:
    """Return the record of the newest published classifier; None where there is none."""
    return newest_model(store, KIND)


def fits(model: ModelRecord, fingerprint: str) -> bool:
    """Tell whether a classifier was learned from these inputs, or won against one that was."""
    return fingerprint in (model.inputs["fingerprint"], *model.inputs.get("kept_for", ()))


def use_again(store: Store, fingerprint: str) -> ModelRecord | None:
    """Make an older classifier of the same labels, clips and configuration the newest, and return it; None without one.

    After a trial with other settings and a return, nothing is trained, scored or decided again.
    """
    older = [row for row in models_of_kind(store, KIND) if fits(row, fingerprint)]
    if not older:
        return None
    again = dataclasses.replace(older[-1], created_at=datetime.now(UTC))
    replace_model(store, again)
    return again


def trained_config(model: ModelRecord) -> ClassifierConfig:
    """Return the configuration that a classifier was trained with."""
    # JSON has no tuples
    settings: dict[str, Any] = {**model.config}
    if "candidates" in settings:
        settings["candidates"] = tuple(settings["candidates"])
    return ClassifierConfig(**settings)


def load_document(store: Store, model: ModelRecord) -> ModelDocument:
    """Return a model's `model.json`.

    Raises:
        UserError: it is of another format.
    """
    document: ModelDocument = json.loads(read_model_file(store, model, "model.json"))
    if document.get("format") != FORMAT:
        raise UserError(
            f"the quality classifier {model.model_id} is of format {document.get('format')}, and this version reads "
            f"format {FORMAT}: train again with `lampworks run`, which scores and decides anew with it"
        )
    return document


def load_scorer(store: Store, model: ModelRecord, config: ClassifierConfig) -> Scorer:
    """Return a published classifier, ready to score.

    Its `needs` say which arrays it reads. Frames must be of the size that it was trained at: `trained_config(model)`.

    Args:
        store: the store.
        model: the record of the classifier.
        config: `device`, for a network.

    Raises:
        UserError: it is of another format.
        DamagedError: a file of it is not there or was changed.
    """
    document = load_document(store, model)
    tensors = load(read_model_file(store, model, "weights.safetensors"))
    return scorer_from_state(document["candidate"], document["state"], tensors, device_of(config))


def publish(
    pool: Pool, scorer: Scorer, document: ModelDocument, metrics: ClassifierMetrics, fingerprint: str
) -> ModelRecord:
    """Write numbers, `model.json` and, last, the row of `models`; the model's id is a hash of both blobs."""
    store, config = pool.store, pool.config
    tensors: dict[str, Tensor] = dict(scorer.state().tensors)
    weights = save(tensors)
    text = json.dumps(document, sort_keys=True).encode()
    model_id = f"quality-classifier-{hashlib.sha256(weights + text).hexdigest()[:12]}"
    path = f"models/{KIND}/{model_id}"
    store.write_blob(f"{path}/weights.safetensors", weights)
    store.write_blob(f"{path}/model.json", text)
    record = ModelRecord(
        model_id=model_id,
        kind=KIND,
        path=path,
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        steps=config.classifier.steps if "frames" in scorer.needs else None,
        config=dataclasses.asdict(config.classifier),
        metrics=metrics,
        inputs={
            "fingerprint": fingerprint,
            "clip_spec": document["clip_spec"],
            "clips": dataclasses.asdict(config.clips),
        },
    )
    # the id is a hash of the numbers: those of an older row may have been learned again
    replace_model(store, record)
    return record
