"""Name runs and models by what decides their weights.

    run = run_id(WORLD, config, shards, tokenizer="3f0c...")
    model_id(run, steps_of(WORLD, config))

Ids, from the inside out:

- settings id: every setting that changes the weights that are published: seed, dtype, the average of the weights and
  the order of windows included. Not a gate
  (`tokenizer.min_psnr`), not the number of steps (`tokenizer.steps`, `dynamics.steps`), nothing that changes numbers by
  rounding at most (device, threads, compilation, activation checkpointing), nothing that says how often something is
  saved, cached or measured. A setting of the networks that is new counts unless `OFF_PATH` names it.
- run id: settings id, shards, tokenizer (of a world), and the model that the run started from, if any. More steps of
  the same settings are the same run: its checkpoints lie in one folder.
- model id: run id, steps, and lineage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypedDict

from pipeline.config import Config, fingerprint
from pipeline.config.renamed import with_first_names
from pipeline.config.section import Section
from pipeline.storage.store import Store

CLASSIFIER: Final = "quality_classifier"
TOKENIZER: Final = "video_tokenizer"
WORLD: Final = "world_model"
EVALUATION: Final = "world_evaluation"
PLAYABLE: Final = "playable_world"
TrainedKind = Literal["video_tokenizer", "world_model"]
METHOD = 3
"""Part of every settings id: rises when models of the same settings and shards must be trained again."""
EVALUATION_METHOD = 2
"""Part of every evaluation's id: rises when a metric changes its meaning, so that worlds are measured again."""
OFF_PATH: Mapping[str, frozenset[str]] = {
    "tokenizer": frozenset({"steps", "min_psnr"}),
    "dynamics": frozenset({"steps"}),
}
"""By section: settings of the networks that do not change the path of the weights."""
NEUTRAL: Mapping[str, Mapping[str, Any]] = {
    "latent_actions": {"motion_weight": 1.0, "loss_margin": 0, "latent_noise": 0.0, "update_every": 1},
    "dynamics": {
        "window_stride": 1,
        "own_frames": 1,
        "changed_weight": 1.0,
        "unseen_actions": 0.0,
        "recalled_share": 0.0,
        "recalled_frames": 50_000,
        "led_by": "latent_actions",
        "join_actions": "auto",
    },
    "optimizer": {"decay_share": 0.2, "algorithm": "adamw", "muon_lr_scale": 1.0, "muon_momentum": 0.95},
    "training": {"ema_decay": 0.0},
}
"""By section (`optimizer`: of each network): later settings, and the value of each at which weights go the same path as
before there was the setting. At that value it is left out of ids, so that models from before keep theirs."""
_STATE = re.compile(r"step-(\d+)\.safetensors")


class Origin(TypedDict):
    """One entry of a model's lineage: what its weights were before."""

    how: Literal["start_from", "go_on", "extended"]
    """Weights alone (`start_from`), weights and optimizer under changed settings (`go_on`), or the same run with more
    steps (`extended`)."""
    model: str
    """Id of the model or run that they come from."""
    step: int
    """The steps that it had taken."""


def tokenizer_settings_id(config: Config) -> str:
    """Return the fingerprint of what changes the path of a tokenizer's weights."""
    return fingerprint("tokenizer", METHOD, _on_path(config.tokenizer), shared_training(config))


def world_settings_id(config: Config) -> str:
    """Return the fingerprint of what changes the path of a world's weights; its tokenizer and steps of that included.

    `latent_actions.unquantized_steps` counts: the codes begin after them.
    """
    parts = (_on_path(config.latent_actions), _on_path(config.dynamics), shared_training(config))
    return fingerprint("world", METHOD, *parts, tokenizer_settings_id(config), config.tokenizer.steps)


def settings_id(kind: TrainedKind, config: Config) -> str:
    """Return the settings id of a kind of model."""
    return tokenizer_settings_id(config) if kind == TOKENIZER else world_settings_id(config)


def steps_of(kind: TrainedKind, config: Config) -> int:
    """Return the steps that a configuration asks of a kind of model; a world's are those of the LAM alone and joint."""
    if kind == TOKENIZER:
        return config.tokenizer.steps
    return config.dynamics.alone_steps(config.latent_actions) + config.dynamics.steps


def run_id(
    kind: TrainedKind, config: Config, shards: str | None, *, tokenizer: str = "", lineage: Sequence[Origin] = ()
) -> str:
    """Return the id of a run: everything but its steps.

    Args:
        kind: what it trains.
        config: the settings.
        shards: version of the training shards.
        tokenizer: id of the tokenizer below a world.
        lineage: of the run; more steps of the same run (`extended`) do not count.
    """
    return fingerprint("run", kind, settings_id(kind, config), shards, tokenizer, starts_of(lineage))


def model_id(run: str, steps: int, lineage: Sequence[Origin] = ()) -> str:
    """Return the id of the model that a run publishes after so many steps."""
    return fingerprint("model", run, steps, list(lineage))


def starts_of(lineage: Sequence[Origin]) -> list[Origin]:
    """Return the part of a lineage that lies before a run's first step."""
    return [origin for origin in lineage if origin["how"] != "extended"]


def playable_id(world: str) -> str:
    """Return the id of the row that says whether a world can be played."""
    return f"playable-{world}"


def run_folder(store: Store, kind: TrainedKind, run: str, steps: int) -> str:
    """Return the folder of the checkpoints of a run that is to take so many steps.

    A run that was continued beyond them keeps its folder: fewer steps are then a training from the first step, in a
    folder of its own.
    """
    folder = f"models/{kind}/runs/{run}/checkpoints"
    taken = saved_steps(store, folder)
    return f"models/{kind}/runs/{run}-{steps}/checkpoints" if taken and taken[-1] > steps else folder


def saved_steps(store: Store, folder: str) -> list[int]:
    """Return the steps of the checkpoints in a folder, the fewest first."""
    names = (key.rsplit("/", 1)[-1] for key in store.list_blobs(folder))
    return sorted(int(match[1]) for name in names if (match := _STATE.fullmatch(name)))


def _on_path(section: Section) -> dict[str, Any]:
    name = section.section_name
    neutral = NEUTRAL.get(name, {})
    values = {
        field: _on_path(value) if isinstance(value, Section) else value
        for field, value in vars(section).items()
        if field not in OFF_PATH.get(name, ()) and (field not in neutral or neutral[field] != value)
    }
    # a setting that was renamed enters under its first name, so that ids stay what they were
    return with_first_names(name, values)


def shared_training(config: Config) -> tuple[Any, ...]:
    """Return the settings of `training` on which weights depend."""
    training = config.training
    order = (training.windows_per_clip, training.mixed_clips, training.shuffle_clips)
    values = {name: getattr(training, name) for name in NEUTRAL["training"]}
    later = [(name, value) for name, value in values.items() if value != NEUTRAL["training"][name]]
    return training.seed, training.dtype, *order, *later
