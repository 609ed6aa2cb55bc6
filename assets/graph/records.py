"""What several assets and the driver read of the store: the clips that count, the newest model of a kind."""

import json
from typing import Any

from pipeline.config import Config
from pipeline.storage.arrow import Column, among, pc, total
from pipeline.storage.store import Store


def current_clips(store: Store, config: Config, batch: str | None = None) -> Column:
    """Return the ids of the clips that count, sorted, as an Arrow array: of all batches they are too many for a set.

    Those count that are of the current clip_spec, of a video whose cutting was published and that is not taken down.
    """
    from pipeline.clips.read import read_clips

    where = None if batch is None else pc.field("batch") == batch
    return read_clips(store, config, ["clip_id"], where)["clip_id"]


def same_ids(found: Column, expected: Column) -> bool:
    """Tell whether two columns hold the same ids, each once."""
    distinct = pc.count_distinct(found).as_py()
    return bool(len(found) == distinct == len(expected) and total(among(expected, found)) == len(expected))


def latest_model(store: Store, kind: str) -> dict[str, Any] | None:
    """Return the newest row of `models` of a kind with `figures`, `config` and `inputs` as values; None without one."""
    rows = store.read("models", where=pc.field("kind") == kind).to_pylist()
    if not rows:
        return None
    newest = max(rows, key=lambda row: (row["created_at"], row["model_id"]))
    for name in ("figures", "config", "inputs"):
        newest[name] = json.loads(newest[name]) if newest[name] else {}
    return newest
