"""What a configuration asks to train: the ids of the run and of its model, the checkpoints' folder, and the row.

plan_run(store, config, WORLD, shards, tokenizer="3f0c...").model_id
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from models.registry import folder_of
from models.training.checkpoint import Checkpoints
from pipeline.config import Config
from pipeline.model_ids import TOKENIZER, Origin, TrainedKind, model_id, run_folder, run_id, settings_id, steps_of
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.run_file import RunFile, write_run
from pipeline.storage.store import Store


@dataclass(frozen=True)
class PlannedRun:
    """A run of training, up to a number of steps."""

    store: Store
    kind: TrainedKind
    run_id: str
    steps: int
    """Steps that it is to take in all."""
    lineage: Sequence[Origin]
    settings: Mapping[str, Any]
    """By section, as they are stored."""
    inputs: Mapping[str, Any]
    """What the row says that the model is made from."""
    folder: str
    """Of its checkpoints."""

    @property
    def model_id(self) -> str:
        """Return the id of the model that it publishes."""
        return model_id(self.run_id, self.steps, self.lineage)

    @property
    def checkpoints(self) -> Checkpoints:
        """Return its checkpoints."""
        return Checkpoints(self.store, self.folder)

    def describe(self) -> None:
        """Write `run.json` beside the checkpoints, so that an unfinished run can be listed."""
        about = RunFile(
            run_id=self.run_id,
            kind=self.kind,
            settings=self.inputs["settings"],
            config=self.settings,
            steps=self.steps,
            inputs=self.inputs,
            lineage=[dict(origin) for origin in self.lineage],
        )
        write_run(self.store, self.folder, about)

    def record(
        self, *, metrics: Mapping[str, Any], inputs: Mapping[str, Any], size: tuple[int, int] | None = None
    ) -> ModelRecord:
        """Return the row of the trained model.

        Args:
            metrics: what was measured.
            inputs: what else it was made from.
            size: height and width of a frame in pixels, of a tokenizer.
        """
        frame = {} if size is None else {"height": size[0], "width": size[1]}
        return ModelRecord(
            model_id=self.model_id,
            kind=self.kind,
            path=folder_of(self.kind, self.model_id),
            config={**self.settings, **frame},
            steps=self.steps,
            metrics=metrics,
            inputs={**self.inputs, **inputs},
            shards_version=str(self.inputs["shards"]),
        )


def plan_run(
    store: Store,
    config: Config,
    kind: TrainedKind,
    shards: str | None,
    *,
    tokenizer: str = "",
    lineage: Sequence[Origin] = (),
) -> PlannedRun:
    """Return the run that a configuration asks for.

    Args:
        store: holds the checkpoints.
        config: the settings.
        kind: what is trained.
        shards: version of the training shards.
        tokenizer: id of the tokenizer below a world.
        lineage: what its weights were before; empty for a plain run.
    """
    run, steps = run_id(kind, config, shards, tokenizer=tokenizer, lineage=lineage), steps_of(kind, config)
    sections = (config.tokenizer,) if kind == TOKENIZER else (config.latent_actions, config.dynamics)
    shared = {"seed": config.training.seed, "dtype": config.training.dtype}
    return PlannedRun(
        store=store,
        kind=kind,
        run_id=run,
        steps=steps,
        lineage=lineage,
        settings={**{section.section_name: asdict(section) for section in sections}, "training": shared},
        inputs={
            "shards": shards,
            "settings": settings_id(kind, config),
            "run": run,
            "lineage": [dict(origin) for origin in lineage],
            "seed": config.training.seed,
            **({"tokenizer": tokenizer} if tokenizer else {}),
        },
        folder=run_folder(store, kind, run, steps),
    )
