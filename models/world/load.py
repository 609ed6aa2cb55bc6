"""Load a published world from the store."""

from __future__ import annotations

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
        store: holds the table `models` and the weights.
        model_id: id of the world model; the newest one by default.
        compute: device and dtype; chosen for this machine by default.

    Raises:
        UserError: there is no such model, or its weights do not fit its configuration.
    """
    record = require_model(store, WORLD, model_id)
    tokenizer = load_tokenizer(store, record.inputs["tokenizer"])
    lam_config = parse_section(LatentActionConfig, record.config["latent_actions"], record.model_id)
    config = parse_section(DynamicsConfig, record.config["dynamics"], record.model_id)
    codes, grid, size = tokenizer.config.codebook_size, tokenizer.grid, (tokenizer.height, tokenizer.width)
    lam = LatentActionModel(lam_config, *size, config.context, num_codes=codes, grid=grid)
    dynamics = Dynamics(config, num_codes=codes, grid=grid, action_dim=lam_config.latent_dim)
    load_networks(store, record, {"latent_actions": lam, "dynamics": dynamics})
    return WorldModel(
        tokenizer,
        lam,
        dynamics,
        compute=compute or choose_compute(),
        model_id=record.model_id,
        tokenizer_id=record.inputs["tokenizer"],
        metrics=record.metrics,
    )
