"""List the training runs of a store: published models, and runs that have checkpoints and no model yet.

    for run in list_runs(store, config):
        print(run.name, run.state, run.differs)

A run is named by the id of its model, or by its own id while it is unfinished.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pipeline.bootstrap import stored_ends
from pipeline.config import Config
from pipeline.config.renamed import with_present_names
from pipeline.errors import UserError
from pipeline.model_choice import ModelsInUse, models_in_use
from pipeline.model_ids import EVALUATION, TOKENIZER, WORLD
from pipeline.storage.blobs import BlobStat
from pipeline.storage.models_table import ModelRecord, all_models
from pipeline.storage.run_file import NAME, RunFile, read_run
from pipeline.storage.store import Store

_CHECKPOINT = re.compile(r"(models/(\w+)/(?:runs/)?([^/]+)/checkpoints)/(?:step-(\d+)\.(safetensors|json)|[^/]+)")
_OFF_LIST = {"tokenizer.min_psnr", "tokenizer.steps", "dynamics.steps"}
_HEADLINES = {
    TOKENIZER: ("psnr", "codebook_usage"),
    WORLD: ("cross_entropy", "accuracy"),
    EVALUATION: ("delta_t_psnr_permuted", "psnr_t1_above_copy", "psnr"),
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value; the ends of its interval are None where it has none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run."""

    name: str
    """Id of its model; of an unfinished run its own id."""
    run_id: str | None
    """None for a model of an older lampworks."""
    kind: str
    state: Literal["published", "unfinished"]
    in_use: bool
    """Whether the configuration stands for it."""
    at: datetime
    """When its model was published, or its last checkpoint was written."""
    steps: int
    """Steps that it has taken."""
    planned_steps: int
    """Steps that it was to take."""
    parameters: int | None
    settings: Mapping[str, Any]
    """By dotted name, those of its tokenizer included."""
    differs: Mapping[str, tuple[Any, Any]]
    """Settings that are not as configured: (of the run, configured); numbers of steps and gates are left out."""
    figures: Mapping[str, Figure]
    """Headlines of its evaluation; without one, those that training measured."""
    evaluation: str | None
    """Id of its evaluation."""
    lineage: Sequence[Mapping[str, Any]]
    model_bytes: int
    checkpoint_bytes: int
    path: str
    """Key of the folder of its weights, or of the checkpoints of an unfinished run."""

    def to_json(self) -> dict[str, Any]:
        """Return what `lampworks models --json` prints."""
        return {**dataclasses.asdict(self), "at": self.at.isoformat()}


def list_runs(store: Store, config: Config) -> list[Run]:
    """Return the runs of tokenizers and worlds, the oldest first."""
    rows, used = all_models(store), models_in_use(store, config)
    blobs = store.stat_blobs("models")
    folders = _checkpoint_folders(store, blobs)
    listing = _Listing(rows, used, config, blobs, folders)
    runs = [listing.published(row) for row in rows if row.kind in (TOKENIZER, WORLD)]
    runs += [listing.unfinished(folder) for folder in folders if listing.owner(folder) is None]
    return sorted(runs, key=lambda run: (run.at, run.name))


def lineage_lines(lineage: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence per entry of a lineage, the first origin first, with the settings that were changed."""
    said = {"extended": "extends", "go_on": "goes on from", "start_from": "starts from the weights of"}
    lines = []
    for origin in lineage:
        changed = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in origin.get("changed", {}).items())
        line = f"{said[origin['how']]} {origin['model']} at step {origin['step']:,}"
        lines.append(f"{line} ({changed})" if changed else line)
    return lines


def pick_run(runs: Sequence[Run], name: str) -> Run:
    """Return the run whose id is a name or begins with it; UserError where none does, or several do."""
    found = {run.name: run for run in runs if name and run.name.startswith(name)}
    if name in found:
        return found[name]
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise UserError(f"run {name!r}: several ids begin with it ({', '.join(sorted(found))}): give more of one.")
    raise UserError(f"no run has an id that begins with {name!r}: `lampworks models` lists the ids.")


@dataclass(frozen=True)
class _Folder:
    """A folder of checkpoints."""

    key: str
    kind: str
    name: str
    """What the folder is called: the id of the run, in older versions that of the model."""
    about: RunFile | None
    steps: int
    """Of the last checkpoint."""
    at: datetime
    size_bytes: int


@dataclass(frozen=True)
class _Listing:
    rows: Sequence[ModelRecord]
    used: ModelsInUse
    config: Config
    blobs: Mapping[str, BlobStat]
    folders: Sequence[_Folder]

    def owner(self, folder: _Folder) -> ModelRecord | None:
        """Return the row that the last checkpoint of a folder belongs to; None for an unfinished run."""
        run = folder.about.run_id if folder.about is not None else folder.name
        for row in self.rows:
            if row.kind == folder.kind and run in (row.inputs.get("run"), row.model_id) and row.steps == folder.steps:
                return row
        return None

    def published(self, row: ModelRecord) -> Run:
        evaluation = self._evaluation(row)
        settings = self._settings(row.config, row.inputs)
        return Run(
            name=row.model_id,
            run_id=row.inputs.get("run"),
            kind=row.kind,
            state="published",
            in_use=row in (self.used.tokenizer, self.used.world),
            at=row.created_at,
            steps=row.steps or 0,
            planned_steps=row.steps or 0,
            parameters=row.parameters,
            settings=settings,
            differs=self._differs(row.kind, settings),
            figures=_figures(EVALUATION, evaluation.metrics) if evaluation else _figures(row.kind, row.metrics),
            evaluation=evaluation.model_id if evaluation else None,
            lineage=row.inputs.get("lineage", []),
            model_bytes=sum(
                stat.size
                for key, stat in self.blobs.items()
                if key.startswith(f"{row.path}/") and "/checkpoints/" not in key
            ),
            checkpoint_bytes=sum(folder.size_bytes for folder in self.folders if self.owner(folder) is row),
            path=row.path,
        )

    def unfinished(self, folder: _Folder) -> Run:
        about = folder.about
        settings = {} if about is None else self._settings(about.config, about.inputs)
        return Run(
            name=folder.name,
            run_id=None if about is None else about.run_id,
            kind=folder.kind,
            state="unfinished",
            in_use=False,
            at=folder.at,
            steps=folder.steps,
            planned_steps=folder.steps if about is None else about.steps,
            parameters=None,
            settings=settings,
            differs=self._differs(folder.kind, settings),
            figures={},
            evaluation=None,
            lineage=[] if about is None else about.lineage,
            model_bytes=0,
            checkpoint_bytes=folder.size_bytes,
            path=folder.key,
        )

    def _bytes_under(self, folder: str) -> int:
        keys = (key for key in self.blobs if key.startswith(folder) and "/checkpoints/" not in key)
        return sum(self.blobs[key].size for key in keys)

    def _evaluation(self, row: ModelRecord) -> ModelRecord | None:
        if row.kind != WORLD:
            return None
        if row == self.used.world:
            return self.used.evaluation
        own = [one for one in self.rows if one.kind == EVALUATION and one.inputs.get("world_model") == row.model_id]
        return own[-1] if own else None

    def _settings(self, sections: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        found = _flat(sections)
        if "tokenizer" in inputs:
            below = next((row for row in self.rows if row.model_id == inputs["tokenizer"]), None)
            found = {**(_flat({"tokenizer": below.config.get("tokenizer", {})}) if below else {}), **found}
        if "seed" in inputs:
            found.setdefault("training.seed", inputs["seed"])
        return found

    def _differs(self, kind: str, settings: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        configured = _flat(dataclasses.asdict(self.config))
        # the steps of a tokenizer are a setting of the world on it
        left_out = _OFF_LIST - ({"tokenizer.steps"} if kind == WORLD else set())
        return {
            name: (value, configured[name])
            for name, value in settings.items()
            if name not in left_out and name in configured and value != configured[name]
        }


def _checkpoint_folders(store: Store, blobs: Mapping[str, BlobStat]) -> list[_Folder]:
    found: dict[str, list[re.Match[str]]] = {}
    for key in blobs:
        if match := _CHECKPOINT.fullmatch(key):
            found.setdefault(match[1], []).append(match)
    folders = []
    for key, matches in found.items():
        saved = [match for match in matches if match[5] == "safetensors"]
        # a run that was killed before its first checkpoint has nothing to go on from
        if saved:
            folders.append(
                _Folder(
                    key=key,
                    kind=saved[0][2],
                    name=saved[0][3],
                    about=read_run(store, key) if f"{key}/{NAME}" in blobs else None,
                    steps=max(int(match[4]) for match in saved),
                    at=max(blobs[match[0]].modified for match in saved).astimezone(UTC),
                    size_bytes=sum(blobs[match[0]].size for match in matches),
                )
            )
    return folders


def _figures(kind: str, metrics: Mapping[str, Any]) -> dict[str, Figure]:
    found = {}
    for name in _HEADLINES[kind]:
        metric = metrics.get(name)
        if isinstance(metric, Mapping) and metric.get("value") is not None:
            low, high = stored_ends(metric)
            found[name] = Figure(value=metric["value"], low=low, high=high)
        elif isinstance(metric, int | float):
            found[name] = Figure(value=float(metric))
    return found


def _flat(sections: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted name, under present names, tuples as lists."""
    found: dict[str, Any] = {}
    for name, value in sections.items():
        if isinstance(value, Mapping):
            found |= _flat(with_present_names(name, value), f"{prefix}{name}.")
        elif prefix:
            found[prefix + name] = json.loads(json.dumps(value))
    return found
