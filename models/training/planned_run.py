"""What a configuration asks to train: the ids of the run and of its model, the checkpoints' folder, and the row.

plan_run(store, config, WORLD, shards, tokenizer="3f0c...").model_id
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from models.registry import folder_of
from models.training.checkpoint import Checkpoints
from models.training.keep import Keep, keep_of
from models.training.settings_file import write_settings
from models.training.starting import Changes, check_start, differences
from pipeline.code_version import code_version
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.model_ids import (
    TOKENIZER,
    Origin,
    TrainedKind,
    model_id,
    run_folder,
    run_id,
    saved_steps,
    settings_id,
    steps_of,
)
from pipeline.model_start import Start
from pipeline.storage.models_table import ModelRecord, all_models
from pipeline.storage.run_file import RunFile, read_run, write_run
from pipeline.storage.store import Store

_NAMED = 3
"""Settings that an error names."""


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
    start: Start | None = None
    """The model or run that it begins with."""
    changes: Changes = field(default_factory=dict)
    """The settings that differ from those of its start."""
    keep: Keep = field(default_factory=Keep)
    """Which of its checkpoints stay."""

    @property
    def model_id(self) -> str:
        """Return the id of the model that it publishes."""
        return model_id(self.run_id, self.steps, self.lineage)

    @property
    def folder_name(self) -> str:
        """Return the name by which `training.go_on` finds its checkpoints."""
        return self.folder.split("/")[-2]

    @property
    def checkpoints(self) -> Checkpoints:
        """Return its checkpoints."""
        return Checkpoints(self.store, self.folder, self.keep)

    def describe(self, config: Config) -> None:
        """Write what the run is beside the checkpoints: `run.json`, and the settings as a file that trains it again."""
        about = RunFile(
            run_id=self.run_id,
            kind=self.kind,
            settings=self.inputs["settings"],
            config=self.settings,
            steps=self.steps,
            inputs=self.inputs,
            lineage=[dict(origin) for origin in self.lineage],
            code=code_version(),
        )
        write_run(self.store, self.folder, about)
        write_settings(self.store, self.folder, config)

    def check_folder(self) -> None:
        """Raise a UserError where the folder holds checkpoints of another run, as of another preset."""
        about = read_run(self.store, self.folder)
        if about is None or about.run_id == self.run_id or not self.checkpoints.steps():
            return
        changed = [
            f"{name} = {old!r} instead of {new!r}" for name, old, new in differences(about.config, self.settings)
        ]
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        raise UserError(
            f"checkpoints {self.folder} are those of the run {about.run_id}, which has other settings or shards "
            f"({', '.join(changed[:_NAMED]) or 'the same settings'}{more}): move the folder back to that run, or "
            f"delete {self.folder} of the root to train from the first step."
        )

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
    start: Start | None = None,
) -> PlannedRun:
    """Return the run that a configuration asks for.

    Where a model of the same run with fewer steps is published and its last checkpoint is there, the run extends it.

    Args:
        store: holds the checkpoints.
        config: the settings.
        kind: what is trained.
        shards: version of the training shards.
        tokenizer: id of the tokenizer below a world.
        start: the model or run that training begins with; None at random, or where it is of the other kind.

    Raises:
        UserError: the start has other networks.
    """
    changes = check_start(config, start) if start is not None else {}
    starts = start.lineage_of(kind) if start is not None else []
    run, steps = run_id(kind, config, shards, tokenizer=tokenizer, lineage=starts), steps_of(kind, config)
    folder = run_folder(store, kind, run, steps)
    lineage = [*starts, *_extended(store, kind, run, steps, folder)]
    sections = (config.tokenizer,) if kind == TOKENIZER else (config.latent_actions, config.dynamics)
    names = ("seed", "dtype", "windows_per_clip", "mixed_clips", "shuffle_clips")
    shared = {name: getattr(config.training, name) for name in names}
    if config.training.ema_decay:
        shared["ema_decay"] = config.training.ema_decay
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
            "lineage": [_told(origin, changes if origin in starts[-1:] else {}) for origin in lineage],
            "seed": config.training.seed,
            **({"tokenizer": tokenizer} if tokenizer else {}),
        },
        folder=folder,
        start=start,
        changes=changes,
        keep=keep_of(config.training),
    )


def _extended(store: Store, kind: TrainedKind, run: str, steps: int, folder: str) -> list[Origin]:
    """Return the models of the same run whose steps this one has taken, the fewest first.

    A run that was stopped before it published a model, and now is to take another number of steps, is named by its own
    id: its learning rates so far were those of the other number.
    """
    saved = saved_steps(store, folder)
    if not saved or f"/{run}/" not in folder:
        return []
    most = min(saved[-1], steps - 1)
    rows = [row for row in all_models(store) if row.kind == kind and row.inputs.get("run") == run]
    found: dict[int, str] = {}
    for taken, row in ((row.steps or 0, row) for row in rows):
        # one with fewer steps than an earlier one was trained from the first step, in a folder of its own
        if max(found, default=1) <= taken <= most:
            found[taken] = row.model_id
    about = read_run(store, folder)
    if about is not None:
        found |= {origin["step"]: run for origin in about.lineage if origin["model"] == run}
        if about.steps != steps and saved[-1] <= steps:
            found.setdefault(saved[-1], run)
    return [Origin(how="extended", model=model, step=step) for step, model in sorted(found.items())]


def _told(origin: Origin, changes: Changes) -> dict[str, Any]:
    """Return an entry of the lineage as the row has it, with what was changed."""
    return {**origin, **({"changed": {name: list(values) for name, values in changes.items()}} if changes else {})}
