"""The file beside a training run's checkpoints that says what the run is: `run.json`, written before its first step.

write_run(store, folder, run)
read_run(store, folder)     # None where there is no such file, or it is of an older lampworks
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.storage.store import Store

NAME = "run.json"


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """What a run trains, with which settings, and from where."""

    run_id: str
    kind: str
    """`video_tokenizer` or `world_model`."""
    settings: str
    """Settings id."""
    config: Mapping[str, Any]
    """The settings, by section, as in the model's row."""
    steps: int
    """Steps that it is to take."""
    inputs: Mapping[str, Any]
    """Shards, seed, tokenizer, as in the model's row."""
    lineage: Sequence[Mapping[str, Any]] = ()
    code: str = ""
    """Version of the code that takes its steps; that of the last start."""


def write_run(store: Store, folder: str, run: RunFile) -> None:
    """Write the file of a run, unless it says the same already."""
    key, data = f"{folder}/{NAME}", json.dumps(dataclasses.asdict(run), indent=1, sort_keys=True).encode()
    if not store.exists(key) or store.read_blob(key) != data:
        store.write_blob(key, data)


def read_run(store: Store, folder: str) -> RunFile | None:
    """Return what the file of a run says; None where there is none that can be read."""
    try:
        return RunFile(**json.loads(store.read_blob(f"{folder}/{NAME}")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
