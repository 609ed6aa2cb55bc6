"""Load a published world from the store."""

from __future__ import annotations

import json

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.registry import WORLD, _load, _row, _section, load_tokenizer
from models.runtime.compute import Compute
from models.world.world import WorldModel
from pipeline.config.world import DynamicsConfig, LatentActionConfig
from pipeline.storage.store import Store


def load_world(store: Store, model_id: str | None, compute: Compute) -> WorldModel:
    """Return a published world, the newest by default, on a compute's device (see `WorldModel.load`)."""
    row = _row(store, WORLD, model_id)
    about, inputs = json.loads(row["config"]), json.loads(row["inputs"])
    tokenizer = load_tokenizer(store, inputs["tokenizer"])
    lam_config = _section(LatentActionConfig, about["latent_actions"], row["model_id"])
    config = _section(DynamicsConfig, about["dynamics"], row["model_id"])
    codes, grid, size = tokenizer.config.codebook_size, tokenizer.grid, (tokenizer.height, tokenizer.width)
    lam = LatentActionModel(lam_config, *size, config.context, num_codes=codes, grid=grid)
    dynamics = Dynamics(config, num_codes=codes, grid=grid, action_dim=lam_config.latent_dim)
    _load(store, row, {"latent_actions": lam, "dynamics": dynamics})
    return WorldModel(
        tokenizer,
        lam,
        dynamics,
        compute=compute,
        model_id=row["model_id"],
        tokenizer_id=inputs["tokenizer"],
        figures=json.loads(row["figures"]),
    )
