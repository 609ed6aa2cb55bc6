"""Load a published world from the store."""

from __future__ import annotations

from functools import partial

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.registry import ReadFile, load_networks_from, parse_section, tokenizer_of
from models.runtime.compute import Compute, choose_compute
from models.world.world import WorldModel
from pipeline.config import Config
from pipeline.config.world import DynamicsConfig, LatentActionConfig
from pipeline.model_choice import pick_model, require_world
from pipeline.model_ids import TOKENIZER, WORLD
from pipeline.storage.models_table import ModelRecord, all_models, read_model_file
from pipeline.storage.store import Store


def load_world(store: Store, chosen: Config | str, compute: Compute | None = None) -> WorldModel:
    """Load a published world model with its tokenizer.

    Args:
        store: holds the table `models` and the weights.
        chosen: the configuration that the world is trained with, or the world's id (the unique start of it is enough).
        compute: device and dtype; chosen for this machine by default.

    Raises:
        UserError: there is no such model, or its weights do not fit its configuration.
    """
    rows = all_models(store)
    record = pick_model(rows, chosen, WORLD) if isinstance(chosen, str) else require_world(store, chosen)
    tokenizer = pick_model(rows, record.inputs["tokenizer"], TOKENIZER)
    return world_of(record, tokenizer, partial(read_model_file, store), compute)


def world_of(
    record: ModelRecord, tokenizer_record: ModelRecord, read: ReadFile, compute: Compute | None = None
) -> WorldModel:
    """Return the world model of two rows, whose files are read by a function; errors as of `load_world`."""
    tokenizer = tokenizer_of(tokenizer_record, read)
    lam_config = parse_section(LatentActionConfig, record.config["latent_actions"], record.model_id)
    config = parse_section(DynamicsConfig, record.config["dynamics"], record.model_id)
    codes, grid, size = tokenizer.config.codebook_size, tokenizer.grid, (tokenizer.height, tokenizer.width)
    lam = LatentActionModel(lam_config, *size, config.context, num_codes=codes, grid=grid)
    dynamics = Dynamics(config, num_codes=codes, grid=grid, action_dim=lam_config.latent_dim)
    load_networks_from(read, record, {"latent_actions": lam, "dynamics": dynamics})
    return WorldModel(
        tokenizer,
        lam,
        dynamics,
        compute=compute or choose_compute(),
        model_id=record.model_id,
        tokenizer_id=tokenizer_record.model_id,
        metrics=record.metrics,
    )
