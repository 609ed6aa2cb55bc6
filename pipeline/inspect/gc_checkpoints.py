"""Free the checkpoints of trainings: those of abandoned runs, and those that finished runs keep to be extended.

Published weights, configurations and curves are never touched. Nor is a run that may be in progress: one that is not
finished and wrote something within the last hour. (A pass on this machine holds the root's lock, so that nothing is
freed beside it; a training on another machine, or started by a script, shows only in its files.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pipeline.model_ids import EVALUATION, TOKENIZER
from pipeline.storage.blobs import RUN_FILES, BlobStat
from pipeline.storage.models_table import ModelRecord, all_models
from pipeline.storage.run_file import read_run
from pipeline.storage.store import Store

Keep = Literal["none", "last", "best"]
FRESH = timedelta(hours=1)
_KEY = re.compile(r"(models/(\w+)/(?:runs/)?([^/]+)/checkpoints)/([^/]+)")
_STATE = re.compile(r"step-(\d+)\.(?:safetensors|json)")


@dataclass(frozen=True)
class CheckpointReport:
    """What was, or would be, freed."""

    keys: Sequence[str]
    """Of the blobs that go, sorted."""
    bytes_before: int
    """Of all checkpoints."""
    bytes_freed: int
    kept: Sequence[str]
    """A sentence for each run of which checkpoints stay."""


@dataclass(frozen=True)
class _Run:
    folder: str
    kind: str
    name: str
    blobs: Mapping[str, BlobStat]
    """File name -> size and time."""
    model: ModelRecord | None
    """The row that its last checkpoint belongs to; None while it is unfinished."""

    @property
    def last(self) -> int:
        """The step of its last checkpoint; 0 without any."""
        return max((int(match[1]) for name in self.blobs if (match := _STATE.fullmatch(name))), default=0)

    def named(self) -> str:
        return f"{self.kind} {self.model.model_id if self.model else self.name}"


def collect_checkpoints(store: Store, *, keep: Keep, dry_run: bool, now: datetime | None = None) -> CheckpointReport:
    """Delete checkpoints, and return what went.

    Args:
        store: the store.
        keep: `last` keeps the last checkpoint of every run, so that each can go on; `best` keeps it of the best
            published tokenizer (held-out PSNR) and the best world (delta-t PSNR by permuted actions of its evaluation,
            the newest where none was evaluated); `none` keeps none.
        dry_run: delete nothing.
        now: the time to measure ages from; default the present.
    """
    now, rows = now or datetime.now(UTC), all_models(store)
    runs = _runs(store, rows)
    best = _best(runs, rows) if keep == "best" else set()
    going: list[str] = []
    kept: list[str] = []
    for run in runs:
        newest = max(stat.modified for stat in run.blobs.values())
        if run.model is None and now - newest < FRESH:
            kept.append(f"{run.named()}: unfinished, written within the last hour, may be in progress")
            continue
        stays: set[str] = set()
        if run.last and (keep == "last" or run.folder in best):
            stays = {*RUN_FILES, *(f"step-{run.last:08d}.{end}" for end in ("safetensors", "json"))}
            kept.append(f"{run.named()}: the checkpoint of step {run.last}")
        going += [f"{run.folder}/{name}" for name in run.blobs if name not in stays]
    sizes = {f"{run.folder}/{name}": stat.size for run in runs for name, stat in run.blobs.items()}
    # the tensors first: a JSON file alone is ignored, tensors alone would be a broken checkpoint
    for key in sorted(going, key=lambda key: (not key.endswith(".safetensors"), key)):
        if not dry_run:
            store.delete(key)
    return CheckpointReport(sorted(going), sum(sizes.values()), sum(sizes[key] for key in going), kept)


def _runs(store: Store, rows: Sequence[ModelRecord]) -> list[_Run]:
    found: dict[str, dict[str, BlobStat]] = {}
    places: dict[str, tuple[str, str]] = {}
    for key, stat in store.stat_blobs("models").items():
        if match := _KEY.fullmatch(key):
            found.setdefault(match[1], {})[match[4]] = stat
            places[match[1]] = (match[2], match[3])
    runs = []
    for folder, blobs in sorted(found.items()):
        kind, name = places[folder]
        about = read_run(store, folder)
        run = about.run_id if about is not None else name
        last = _Run(folder, kind, name, blobs, None).last
        owner = next(
            (
                row
                for row in rows
                if row.kind == kind and run in (row.inputs.get("run"), row.model_id) and row.steps == last
            ),
            None,
        )
        runs.append(_Run(folder, kind, name, blobs, owner))
    return runs


def _best(runs: Sequence[_Run], rows: Sequence[ModelRecord]) -> set[str]:
    """Return the folders of the best published run of each kind."""
    evaluated = {row.inputs.get("world_model"): row.metrics for row in rows if row.kind == EVALUATION}

    def rank(run: _Run) -> tuple[bool, float, datetime]:
        assert run.model is not None
        if run.kind == TOKENIZER:
            value = run.model.metrics.get("psnr")
        else:
            value = evaluated.get(run.model.model_id, {}).get("delta_t_psnr_permuted")
            value = value.get("value") if isinstance(value, Mapping) else value
        known = isinstance(value, int | float)
        return known, float(value) if isinstance(value, int | float) else 0.0, run.model.created_at

    published = [run for run in runs if run.model is not None and run.last]
    return {
        max((run for run in published if run.kind == kind), key=rank).folder for kind in {r.kind for r in published}
    }
