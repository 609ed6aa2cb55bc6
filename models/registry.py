"""Publish trained networks and load them back: weights in safetensors, configuration in JSON, one row of `models`.

    models/video_tokenizer/<model_id>/{weights.safetensors, config.json, curve.json}
    models/world_model/<model_id>/{weights.safetensors, config.json, curve.json}     LAM and dynamics

A model's id is the fingerprint of everything it came from (configuration, seed, shards, tokenizer), so the same
inputs name the same model and training again has nothing to do.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from models.networks.tokenizer import VideoTokenizer
from models.runtime.weights import WeightsError, load_states, pack, prefixed, unpack
from pipeline.config.world import DynamicsConfig, LatentActionConfig, TokenizerConfig
from pipeline.errors import UserError
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store

TOKENIZER, WORLD = "video_tokenizer", "world_model"
# the metrics of every recorded step, as training returns them and curve.json stores them
Curve = list[dict[str, float]]

Section = TypeVar("Section", TokenizerConfig, LatentActionConfig, DynamicsConfig)


def folder_of(kind: str, model_id: str) -> str:
    """Return the key of a model's folder."""
    return f"models/{kind}/{model_id}"


def find_model(store: Store, kind: str, model_id: str | None = None) -> dict[str, Any] | None:
    """Return the row of a model, the newest of its kind by default; None without one."""
    rows = store.read("models", where=pc.field("kind") == kind).to_pylist()
    rows = [row for row in rows if model_id in (None, row["model_id"])]
    return max(rows, key=lambda row: (row["created_at"], row["model_id"]), default=None)


def publish_model(
    store: Store,
    *,
    kind: str,
    model_id: str,
    networks: Mapping[str, nn.Module],
    config: Mapping[str, Any],
    curve: Curve,
    steps: int,
    figures: Mapping[str, Any],
    inputs: Mapping[str, Any],
    shards_version: str,
) -> None:
    """Write the blobs of a model, then its row."""
    folder = folder_of(kind, model_id)
    tensors: dict[str, Tensor] = {}
    for name, network in networks.items():
        tensors |= prefixed(name, network.state_dict())
    store.write_blob(f"{folder}/weights.safetensors", pack(tensors))
    store.write_blob(f"{folder}/config.json", json.dumps(config, indent=1, sort_keys=True).encode())
    store.write_blob(f"{folder}/curve.json", json.dumps(curve).encode())
    row = {
        "model_id": model_id,
        "kind": kind,
        "path": folder,
        "parameters": sum(parameters_of(network) for network in networks.values()),
        "steps": steps,
        "config": json.dumps(config, sort_keys=True),
        "figures": json.dumps(figures, sort_keys=True),
        "inputs": json.dumps(inputs, sort_keys=True),
        "shards_version": shards_version,
        "created_at": datetime.now(UTC),
    }
    store.append("models", [row])


def parameters_of(network: nn.Module) -> int:
    """Return how many numbers a network learns; a codebook that follows means counts like one that has a gradient."""
    buffers = sum(buffer.numel() for name, buffer in network.named_buffers() if name.endswith("codebook"))
    return sum(parameter.numel() for parameter in network.parameters()) + buffers


def load_tokenizer(store: Store, model_id: str) -> VideoTokenizer:
    """Return a published tokenizer on the CPU.

    Raises:
        UserError: there is no such model, or its weights do not fit its configuration.
    """
    row = require_model(store, TOKENIZER, model_id)
    about = json.loads(row["config"])
    config = parse_section(TokenizerConfig, about["tokenizer"], model_id)
    tokenizer = VideoTokenizer(config, about["height"], about["width"])
    load_networks(store, row, {"tokenizer": tokenizer})
    return tokenizer


def require_model(store: Store, kind: str, model_id: str | None) -> dict[str, Any]:
    """Return the row of a model, the newest of its kind by default; UserError without one."""
    row = find_model(store, kind, model_id)
    if row is None:
        what = f"no {kind}" if model_id is None else f"no {kind} {model_id}"
        raise UserError(f"{store.root} has {what} yet: materialize {kind} first (`lampworks run`).")
    return row


def parse_section(kind: type[Section], values: Mapping[str, Any], model_id: str) -> Section:
    """Return a section of a model's stored configuration; UserError where this version does not know it."""
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as exc:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in exc.errors())
        raise UserError(f"model {model_id} was made with settings that this lampworks does not know ({wrong})") from exc


def load_networks(store: Store, row: dict[str, Any], networks: Mapping[str, nn.Module]) -> None:
    """Load a model's weights into its networks; UserError names the file and what does not fit."""
    path = f"{row['path']}/weights.safetensors"
    try:
        load_states(networks, {}, unpack(store.read_blob(path)))
    except (WeightsError, FileNotFoundError) as exc:
        why = exc if isinstance(exc, WeightsError) else "the file is not there"
        raise UserError(
            f"{row['kind']} {row['model_id']}, {path}: {why}. Restore the file, the settings and the lampworks that "
            "it was trained with, or train anew (another training.seed makes another model)."
        ) from exc


def plain(config: TokenizerConfig | LatentActionConfig | DynamicsConfig) -> dict[str, Any]:
    """Return a section as JSON-able values."""
    return dataclasses.asdict(config)
