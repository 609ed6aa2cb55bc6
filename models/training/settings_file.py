"""The settings of a run as a file beside its checkpoints, which trains the same again.

python -m models.training world --config lampworks-data/models/world_model/runs/3f0c.../checkpoints/config.yaml
"""

from __future__ import annotations

import dataclasses
import json

import yaml

from pipeline.config import Config
from pipeline.storage.store import Store

NAME = "config.yaml"
_SECTIONS = ("clips", "shards", "tokenizer", "latent_actions", "dynamics", "tokens", "training", "evaluation", "play")
"""What a training and its evaluation depend on; the other sections, which may name addresses, stay out."""


def write_settings(store: Store, folder: str, config: Config) -> None:
    """Write the settings into the folder of a run, unless they are there already."""
    values = json.loads(json.dumps({name: dataclasses.asdict(getattr(config, name)) for name in _SECTIONS}))
    text = yaml.safe_dump({"preset": config.preset, **values}, sort_keys=False, allow_unicode=True)
    key, data = f"{folder}/{NAME}", text.encode()
    if not store.exists(key) or store.read_blob(key) != data:
        store.write_blob(key, data)
