"""Where the weights of a configured training begin, if not at random: `training.start_from` and `training.go_on`.

- `start_from`: the weights of a published model, with a fresh optimizer, at step 0.
- `go_on`: the last checkpoint of a run, finished or not, with its optimizer, at its step.

A world that is named brings its tokenizer with it, as it is. A tokenizer that is named says where the tokenizer begins;
the world on it is trained from its first step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.model_ids import TOKENIZER, WORLD, Origin, TrainedKind, saved_steps, starts_of
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.run_file import NAME, read_run
from pipeline.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Start:
    """A model or run from which a training begins."""

    how: Literal["start_from", "go_on"]
    kind: TrainedKind
    name: str
    """Id of the model; of a run without a model its own id."""
    step: int
    """Steps that it has taken."""
    tokenizer: str
    """Id of the tokenizer below a world."""
    settings: Mapping[str, Any]
    """By section, as they are stored."""
    lineage: Sequence[Origin]
    """What its weights were before."""
    folder: str
    """Of its weights (`start_from`) or its checkpoints (`go_on`)."""
    record: ModelRecord | None
    """Its row; None for a run without a model."""

    def lineage_of(self, kind: TrainedKind) -> list[Origin]:
        """Return the lineage with which a run of a kind begins; empty where it begins at random."""
        if kind != self.kind:
            return []
        return [*self.lineage, Origin(how=self.how, model=self.name, step=self.step)]


def named_start(config: Config) -> tuple[Literal["start_from", "go_on"], str] | None:
    """Return how a configured training begins and the id that is named; None where it begins at random."""
    if config.training.start_from:
        return "start_from", config.training.start_from
    return ("go_on", config.training.go_on.partition("@")[0]) if config.training.go_on else None


def named_step(config: Config) -> int | None:
    """Return the step that `training.go_on` names after its id; None where it names none."""
    step = config.training.go_on.partition("@")[2]
    return int(step) if step else None


def at_random(config: Config) -> Config:
    """Return a configuration whose training begins at random."""
    return dataclasses.replace(config, training=dataclasses.replace(config.training, start_from="", go_on=""))


def is_start_of(row: ModelRecord, config: Config) -> bool:
    """Tell whether a model began where the configuration says."""
    named, starts = named_start(config), starts_of(row.inputs.get("lineage", ()))
    if named is None or not starts:
        return named is None and not starts
    if config.training.go_on and named_step(config) not in (None, starts[-1]["step"]):
        return False
    return starts[-1]["how"] == named[0] and starts[-1]["model"].startswith(named[1])


def find_start(store: Store, rows: Sequence[ModelRecord], config: Config) -> Start | None:
    """Return where a configured training begins; None where that is at random.

    Raises:
        UserError: nothing has the id that the configuration names, several do, or what is needed of it is gone.
    """
    named = named_start(config)
    if named is None:
        return None
    how, name = named
    starts = _published(rows, how, name) + (_unfinished(store, name) if how == "go_on" else [])
    starts = [start for start in starts if start.name == name] or starts
    if len(starts) > 1:
        ids = ", ".join(sorted(start.name for start in starts))
        raise UserError(f"training.{how} = {name!r}: several ids begin with it ({ids}): give more of one.")
    if not starts:
        if how == "start_from" and _unfinished(store, name):
            raise UserError(
                f"training.start_from = {name!r}: this run has published no model yet; go on from its last checkpoint "
                f"with training.go_on = {name!r}."
            )
        what = "model" if how == "start_from" else "model or run"
        raise UserError(f"training.{how} = {name!r}: no {what} has such an id; `lampworks models` lists them.")
    [start] = starts
    if how == "go_on" and (step := named_step(config)) is not None:
        return _at(store, start, step)
    if how == "go_on" and start.record is not None:
        return dataclasses.replace(start, folder=_folder_of(store, start.record))
    return start


def find_kind(store: Store, rows: Sequence[ModelRecord], config: Config) -> tuple[TrainedKind | None, str]:
    """Return the kind of model that a configured training begins with, and the tokenizer of a world.

    Never an error, as readers ask too: the kind is None where what was named cannot be told any more.
    """
    named = named_start(config)
    if named is None:
        return None, ""
    starts = _published(rows, *named) or _unfinished(store, named[1])
    starts = [start for start in starts if start.name == named[1]] or starts
    if len(starts) == 1:
        return starts[0].kind, starts[0].tokenizer
    began = next((row for row in reversed(rows) if is_start_of(row, config)), None)
    if began is None:
        return None, ""
    return _kind(began.kind), str(began.inputs.get("tokenizer", ""))


def _published(rows: Sequence[ModelRecord], how: Literal["start_from", "go_on"], name: str) -> list[Start]:
    found = {row.model_id: row for row in rows if row.kind in (TOKENIZER, WORLD) and row.model_id.startswith(name)}
    return [
        Start(
            how=how,
            kind=_kind(row.kind),
            name=row.model_id,
            step=row.steps or 0,
            tokenizer=str(row.inputs.get("tokenizer", "")),
            settings=row.config,
            lineage=_plain(row.inputs.get("lineage", [])),
            folder=row.path,
            record=row,
        )
        for row in found.values()
    ]


def _at(store: Store, start: Start, step: int) -> Start:
    """Return a start at an earlier checkpoint of its run, which was kept.

    Raises:
        UserError: there is none of this step; those that there are, are named.
    """
    folders = [start.folder]
    if start.record is not None:
        names = (f"{start.record.inputs.get('run')}", f"{start.record.inputs.get('run')}-{start.step}")
        folders = [f"models/{start.kind}/runs/{name}/checkpoints" for name in names]
    saved = {each: folder for folder in folders for each in saved_steps(store, folder)}
    if step in saved:
        return dataclasses.replace(start, step=step, folder=saved[step])
    there = f"there are those of {', '.join(map(str, sorted(saved)))}" if saved else "there is none any more"
    raise UserError(
        f"training.go_on = '{start.name}@{step}': no checkpoint of step {step} was kept of it; {there} "
        "(training.keep_last, keep_every and keep_best say which ones are kept of later runs)."
    )


def _folder_of(store: Store, row: ModelRecord) -> str:
    """Return the folder of the checkpoint after a model's last step."""
    run, step = row.inputs.get("run"), row.steps or 0
    left: list[int] = []
    for name in (f"{run}", f"{run}-{step}"):
        folder = f"models/{row.kind}/runs/{name}/checkpoints"
        saved = saved_steps(store, folder)
        if step in saved:
            return folder
        left += saved
    way = f"start with its weights: training.start_from = {row.model_id!r}"
    if run and left:
        way = f"go on from step {left[-1]} of its run with training.go_on = {run!r}, or {way}"
    raise UserError(
        f"training.go_on = {row.model_id!r}: the checkpoint after its step {step} is not there any more. To go on "
        f"without it, {way}."
    )


def _unfinished(store: Store, name: str) -> list[Start]:
    """Return the runs with checkpoints whose id begins with a name."""
    found = []
    for key in store.list_blobs("models"):
        parts = key.split("/")
        if len(parts) != 6 or parts[2] != "runs" or parts[5] != NAME or not parts[3].startswith(name):
            continue
        folder = "/".join(parts[:5])
        about, saved = read_run(store, folder), saved_steps(store, folder)
        if about is not None and saved and about.kind in (TOKENIZER, WORLD):
            found.append(
                Start(
                    how="go_on",
                    kind=_kind(about.kind),
                    name=parts[3],
                    step=saved[-1],
                    tokenizer=str(about.inputs.get("tokenizer", "")),
                    settings=about.config,
                    lineage=_plain(about.lineage),
                    folder=folder,
                    record=None,
                )
            )
    return found


def _plain(lineage: Sequence[Mapping[str, Any]]) -> list[Origin]:
    """Return a stored lineage without what was changed, which ids are not made of."""
    return [Origin(how=origin["how"], model=origin["model"], step=origin["step"]) for origin in lineage]


def _kind(kind: str) -> TrainedKind:
    return TOKENIZER if kind == TOKENIZER else WORLD
