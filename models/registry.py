"""Publish and load trained networks: weights in safetensors, configuration in JSON, one row of `models`.

    models/video_tokenizer/<model_id>/{weights.safetensors, config.json, curve.json}
    models/world_model/<model_id>/{weights.safetensors, config.json, curve.json}     LAM and dynamics

`pipeline.model_choice` makes the ids, and says which model a configuration stands for.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from models.networks.tokenizer import VideoTokenizer
from models.runtime.weights import WeightsError, load_states, pack, prefixed, unpack
from pipeline.config import Config
from pipeline.config.renamed import with_present_names
from pipeline.config.world import DynamicsConfig, LatentActionConfig, TokenizerConfig
from pipeline.errors import UserError
from pipeline.model_choice import configured, is_trained, pick_model
from pipeline.model_ids import TOKENIZER, TrainedKind
from pipeline.shards.read import current_shards
from pipeline.storage.models_table import ModelRecord, all_models, append_model, read_model_file
from pipeline.storage.store import Store

Curve = list[dict[str, float]]
"""The metrics of every recorded step, as training returns them and curve.json stores them."""

ReadFile = Callable[[ModelRecord, str], bytes]
"""Returns the bytes of a file of a model by its name, as `read_model_file` does."""

Section = TypeVar("Section", TokenizerConfig, LatentActionConfig, DynamicsConfig)


def folder_of(kind: str, model_id: str) -> str:
    """Return the key of the folder of a model."""
    return f"models/{kind}/{model_id}"


def publish_model(store: Store, record: ModelRecord, networks: Mapping[str, nn.Module], curve: Curve) -> ModelRecord:
    """Write the weights, configuration and curve of a model, then its row, which is returned.

    Args:
        store: where the blobs and the row go.
        record: the row; `parameters` is counted here.
        networks: name -> network; the names become prefixes of the weights.
        curve: metrics of every recorded step.
    """
    tensors: dict[str, Tensor] = {}
    for name, network in networks.items():
        tensors |= prefixed(name, network.state_dict())
    store.write_blob(f"{record.path}/weights.safetensors", pack(tensors))
    store.write_blob(f"{record.path}/config.json", json.dumps(record.config, indent=1, sort_keys=True).encode())
    store.write_blob(f"{record.path}/curve.json", json.dumps(curve).encode())
    parameters = sum(parameters_of(network) for network in networks.values())
    published = dataclasses.replace(record, parameters=parameters)
    append_model(store, published)
    return published


def parameters_of(network: nn.Module) -> int:
    """Return the number of parameters, including codebooks that are updated by moving averages instead of gradients."""
    buffers = sum(buffer.numel() for name, buffer in network.named_buffers() if name.endswith("codebook"))
    return sum(parameter.numel() for parameter in network.parameters()) + buffers


def load_tokenizer(store: Store, model_id: str) -> VideoTokenizer:
    """Return a published tokenizer on the CPU.

    Raises:
        UserError: there is no such model, or its weights do not fit its configuration.
    """
    return tokenizer_of(pick_model(all_models(store), model_id, TOKENIZER), partial(read_model_file, store))


def tokenizer_of(record: ModelRecord, read: ReadFile) -> VideoTokenizer:
    """Return the tokenizer of a row, whose files are read by a function; errors as of `load_tokenizer`."""
    config = parse_section(TokenizerConfig, record.config["tokenizer"], record.model_id)
    tokenizer = VideoTokenizer(config, record.config["height"], record.config["width"])
    load_networks_from(read, record, {"tokenizer": tokenizer})
    return tokenizer


def require_configured(store: Store, config: Config, kind: TrainedKind) -> ModelRecord:
    """Return the row of the configured model of the present shards; UserError where it is not trained yet."""
    if not is_trained(store, config, kind):
        raise UserError(
            f"{store.root} has no {kind} of the present settings and shards yet: materialize {kind} first "
            "(`lampworks run`)."
        )
    record = configured(store, all_models(store), config, kind, current_shards(store))
    assert record is not None
    return record


def with_tokenizer_of(record: ModelRecord, config: Config) -> Config:
    """Return a configuration whose tokenizer is that of a published tokenizer."""
    section = parse_section(TokenizerConfig, record.config["tokenizer"], record.model_id)
    return dataclasses.replace(config, tokenizer=section)


def parse_section(kind: type[Section], values: Mapping[str, Any], model_id: str) -> Section:
    """Return a section of a model's stored configuration, under old names or new ones.

    Raises:
        UserError: this version does not know one of its settings.
    """
    try:
        hashable: Any = kind  # mypy takes a class by the hash of its objects
        section: Section = _checker_of(hashable).validate_python(with_present_names(kind.section_name, values))
        return section
    except ValidationError as exc:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in exc.errors())
        raise UserError(f"model {model_id} was made with settings that this lampworks does not know ({wrong})") from exc


@cache
def _checker_of(kind: type[Any]) -> TypeAdapter[Any]:
    """Return what checks a section of a kind: made once, since that takes longer than reading one."""
    return TypeAdapter(kind)


def load_networks(store: Store, record: ModelRecord, networks: Mapping[str, nn.Module]) -> None:
    """Load the weights of a model into its networks; UserError names the file and the tensors that do not fit."""
    load_networks_from(partial(read_model_file, store), record, networks)


def load_networks_from(read: ReadFile, record: ModelRecord, networks: Mapping[str, nn.Module]) -> None:
    """Load the weights of a model, whose files are read by a function, as `load_networks` does."""
    path = f"{record.path}/weights.safetensors"
    try:
        load_states(networks, {}, unpack(read(record, "weights.safetensors")))
    except (WeightsError, FileNotFoundError) as exc:
        why = exc if isinstance(exc, WeightsError) else "the file is not there"
        raise UserError(
            f"{record.kind} {record.model_id}, {path}: {why}. Restore the file, the settings and the lampworks that "
            "it was trained with, or train again (another training.seed makes another model)."
        ) from exc
