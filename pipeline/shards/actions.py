"""The true actions of a tar's clips, in a Parquet blob beside it: `clips-000000.actions.parquet`.

A tar without such clips has none. The tar itself says nothing of actions, so no reader of clips meets them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.actions.table import SUFFIX, TABLE, read_table, table_bytes
from pipeline.clips.actions import has_actions
from pipeline.shards.sample import restore_advice
from pipeline.storage.arrow import pc
from pipeline.storage.damage import DamagedError
from pipeline.storage.store import Store

Columns = dict[str, str | None]


def actions_key(tar: str) -> str:
    """Return the blob key of the actions of a tar's clips."""
    return tar.removesuffix(".tar") + SUFFIX


def copy_actions(store: Store, tar: str, members: Sequence[Mapping[str, Any]]) -> Columns:
    """Write the actions of a tar's clips, from those beside the clips; return the columns of its row of `shards`.

    Args:
        store: the store.
        tar: key of the tar.
        members: its clips in order, each with `clip_id` and `actions`, the key of its video's actions.
    """
    wanted: dict[str, list[str]] = {}
    for row in members:
        if has_actions(row["actions"]):
            wanted.setdefault(row["actions"], []).append(row["clip_id"])
    return _write(store, tar, [read_table(store, key, clips) for key, clips in wanted.items()])


def without_clips(store: Store, row: Mapping[str, Any], tar: str, is_gone: Callable[[str], bool]) -> Columns:
    """Write the actions of a row of `shards` for its next tar, without those of some clips; return the columns.

    Where they cannot be read, the next tar has none.
    """
    try:
        table = read_shard_actions(store, row)
    except DamagedError:
        table = None
    if table is None:
        return {"actions": None, "actions_sha256": None}
    gone = [clip_id for clip_id in clips_of(table) if is_gone(clip_id)]
    kept = pc.invert(pc.is_in(table["clip_id"], value_set=pa.array(gone, pa.string())))
    return _write(store, tar, [table.filter(kept)])


def _write(store: Store, tar: str, parts: Sequence[pa.Table]) -> Columns:
    table = pa.concat_tables([TABLE.empty_table(), *parts])
    if not len(table):
        return {"actions": None, "actions_sha256": None}
    key, data = actions_key(tar), table_bytes(table.combine_chunks())
    digest = hashlib.sha256(data).hexdigest()
    if not store.exists(key) or store.sha256(key) != digest:
        store.write_blob(key, data)
    return {"actions": key, "actions_sha256": digest}


def read_shard_actions(store: Store, row: Mapping[str, Any], clips: Collection[str] | None = None) -> pa.Table | None:
    """Return the actions of a tar's clips, or of some of them, as rows of `TABLE`; None where it has none.

    Args:
        store: the store.
        row: of `shards`, or of its manifest.
        clips: ids; None: all.

    Raises:
        DamagedError: they are not what was written.
    """
    key = row.get("actions")
    if not key:
        return None
    if not store.exists(str(key)) or store.sha256(str(key)) != row.get("actions_sha256"):
        raise DamagedError(f"{store.root}/{key} is not what was written. {restore_advice(row.get('version'))}")
    return read_table(store, str(key), clips)


def clips_of(table: pa.Table) -> list[str]:
    """Return the ids of the clips that a table has actions of, in its order."""
    return [str(clip_id) for clip_id in table["clip_id"].unique().to_pylist()]
