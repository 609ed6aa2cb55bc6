"""True actions for the clips of a store, as cutting would have left them.

add_actions(store, lambda clip_id, transition: "jump")      # or numbers; None: this clip has none
add_shard_actions(store, ...)                               # the same beside the tars of the training set
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from pipeline.actions.table import SUFFIX, TABLE, table_bytes
from pipeline.clips.stored import decode_stored_clip
from pipeline.shards.actions import actions_key
from pipeline.shards.index import read_shard, samples_of
from pipeline.storage.store import Store

ActionOf = Callable[[str, int], str | Sequence[float] | None]


def table_of(frames: Mapping[str, int], action_of: ActionOf) -> pa.Table:
    """Return the actions of clips, by how many frames each has, one row a transition."""
    found = [
        (clip_id, step, action_of(clip_id, step)) for clip_id, count in frames.items() for step in range(count - 1)
    ]
    entries = [
        {
            "clip_id": clip_id,
            "transition": step,
            "row": step,
            "weight": 1.0,
            "label": action if isinstance(action, str) else None,
            "values": None if isinstance(action, str) else action,
        }
        for clip_id, step, action in found
        if action is not None
    ]
    return pa.Table.from_pylist(entries, TABLE)


def add_actions(store: Store, action_of: ActionOf) -> None:
    """Write the actions of all clips beside their tars, and name them in `clips`."""
    rows = store.read("clips").to_pylist()
    for tar in {row["tar"] for row in rows}:
        mine = [row for row in rows if row["tar"] == tar]
        table = table_of({row["clip_id"]: row["num_frames"] for row in mine}, action_of)
        key = f"{tar.removesuffix('.tar')}{SUFFIX}"
        store.write_blob(key, table_bytes(table))
        for row in mine:
            row["actions"] = key
    store.replace("clips", rows)


def add_shard_actions(store: Store, action_of: ActionOf) -> None:
    """Write the actions of the clips of all tars, as the shards would have been written with them."""
    rows = store.read("shards").to_pylist()
    for row in rows:
        frames = {
            sample.clip_id: len(decode_stored_clip(sample.read_mp4(store)))
            for sample in samples_of(read_shard(store, row), row["path"])
        }
        data = table_bytes(table_of(frames, action_of))
        row |= {"actions": actions_key(row["path"]), "actions_sha256": hashlib.sha256(data).hexdigest()}
        store.write_blob(row["actions"], data)
    store.replace("shards", rows, inputs=store.inputs("shards"))
