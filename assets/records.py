"""What several assets and the driver read of the store: the clips that count, the newest model of a kind."""

import json
from typing import Any

import pyarrow.compute as pc

from pipeline.config import Config
from pipeline.store import Store


def current_clips(store: Store, config: Config, batch: str | None = None) -> set[str]:
    """Return the ids of the clips that count: of the current clip_spec, of a video whose cutting was published.

    Clips of videos that were taken down do not count.
    """
    from pipeline.clips import read_clips

    where = None if batch is None else pc.field("batch") == batch
    return {str(clip_id) for clip_id in read_clips(store, config, ["clip_id"], where)["clip_id"].to_pylist()}


def latest_model(store: Store, kind: str) -> dict[str, Any] | None:
    """Return the newest row of `models` of a kind with `figures`, `config` and `inputs` as values; None without one."""
    rows = store.read("models", where=pc.field("kind") == kind).to_pylist()
    if not rows:
        return None
    newest = max(rows, key=lambda row: (row["created_at"], row["model_id"]))
    for name in ("figures", "config", "inputs"):
        newest[name] = json.loads(newest[name]) if newest[name] else {}
    return newest
