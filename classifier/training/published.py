"""The published classifier: one row of `models`, the weights, and `model.json` with everything needed to use it.

The blobs are written before the row that names them, so that a reader never sees half a model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import UTC, datetime
from typing import TypedDict

from safetensors.torch import load, save
from torch import Tensor

from classifier.pool import Pool
from classifier.training.calibration import Calibration
from classifier.training.fitting import device_of
from classifier.training.old_metrics import ClassifierMetrics
from classifier.training.resnet import ResNet18, num_parameters
from pipeline.config import ClassifierConfig
from pipeline.storage.models_table import (
    ModelRecord,
    models_of_kind,
    newest_model,
    read_model_file,
    replace_model,
)
from pipeline.storage.store import Store

KIND = "quality_classifier"
FORMAT = 1
"""Of model.json; it is part of the training's fingerprint, so that another format is trained again."""


class StoredScores(TypedDict):
    """Probabilities of rated clips by models that never saw their source: a later threshold is chosen on them."""

    clip_id: list[str]
    rating: list[int]
    probability: list[float]
    group: list[str]


class ModelDocument(TypedDict):
    """The content of `model.json`."""

    format: int
    clip_spec: str
    width: int
    input_height: int
    frames_per_clip: int
    good_rating: int
    calibration: Calibration
    out_of_fold: StoredScores
    held_out: StoredScores


def latest_classifier(store: Store) -> ModelRecord | None:
    """Return the record of the newest published classifier; None where there is none."""
    return newest_model(store, KIND)


def use_again(store: Store, fingerprint: str) -> ModelRecord | None:
    """Make an older classifier of the same labels, clips and configuration the newest, and return it; None without one.

    After a trial with other settings and a return, nothing is trained, scored or decided again.
    """
    older = [row for row in models_of_kind(store, KIND) if row.inputs["fingerprint"] == fingerprint]
    if not older:
        return None
    again = dataclasses.replace(older[-1], created_at=datetime.now(UTC))
    replace_model(store, again)
    return again


def trained_config(model: ModelRecord) -> ClassifierConfig:
    """Return the configuration that a classifier was trained with."""
    return ClassifierConfig(**model.config)


def load_document(store: Store, model: ModelRecord) -> ModelDocument:
    """Return a model's `model.json`."""
    document: ModelDocument = json.loads(read_model_file(store, model, "model.json"))
    return document


def load_network(store: Store, model: ModelRecord, config: ClassifierConfig) -> ResNet18:
    """Return a published network in evaluation mode, on the configured device."""
    network = ResNet18(model.config["width"])
    network.load_state_dict(load(read_model_file(store, model, "weights.safetensors")))
    return network.to(device_of(config)).eval()


def publish(
    pool: Pool, network: ResNet18, document: ModelDocument, metrics: ClassifierMetrics, fingerprint: str
) -> str:
    """Write weights, `model.json` and, last, the row of `models`; return the model's id, a hash of both blobs."""
    store, config = pool.store, pool.config
    tensors: dict[str, Tensor] = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
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
        parameters=num_parameters(network),
        steps=config.classifier.steps,
        config=dataclasses.asdict(config.classifier),
        metrics=metrics,
        inputs={
            "fingerprint": fingerprint,
            "clip_spec": document["clip_spec"],
            "clips": dataclasses.asdict(config.clips),
        },
    )
    # the id is a hash of the weights: those of an older row may have been learned again
    replace_model(store, record)
    return model_id
