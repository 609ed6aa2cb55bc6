"""Load a published world from the store."""

from __future__ import annotations

import json

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.registry import WORLD, load_networks, load_tokenizer, parse_section, require_model
from models.runtime.compute import Compute, choose_compute
from models.world.world import WorldModel
from pipeline.config.world import DynamicsConfig, LatentActionConfig
from pipeline.storage.store import Store


def load_world(store: Store, model_id: str | None = None, compute: Compute | None = None) -> WorldModel:
    """Load a published world model with its tokenizer.

    Args:
        store: where the `models` table and the weights are.
        model_id: which one; the newest by default.
        compute: device and dtype; chosen from the machine by default.

    Raises:
        UserError: there is none, or its weights do not fit its configuration.
    """
    row = require_model(store, WORLD, model_id)
    about, inputs = json.loads(row["config"]), json.loads(row["inputs"])
    tokenizer = load_tokenizer(store, inputs["tokenizer"])
    lam_config = parse_section(LatentActionConfig, about["latent_actions"], row["model_id"])
    config = parse_section(DynamicsConfig, about["dynamics"], row["model_id"])
    codes, grid, size = tokenizer.config.codebook_size, tokenizer.grid, (tokenizer.height, tokenizer.width)
    lam = LatentActionModel(lam_config, *size, config.context, num_codes=codes, grid=grid)
    dynamics = Dynamics(config, num_codes=codes, grid=grid, action_dim=lam_config.latent_dim)
    load_networks(store, row, {"latent_actions": lam, "dynamics": dynamics})
    return WorldModel(
        tokenizer,
        lam,
        dynamics,
        compute=compute or choose_compute(),
        model_id=row["model_id"],
        tokenizer_id=inputs["tokenizer"],
        figures=json.loads(row["figures"]),
    )
