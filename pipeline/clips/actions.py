"""Keep the true actions of a recording beside its clips, aside from everything that a training reads.

key = publish_actions(store, raw_path, tar_key)     # a blob beside the tar, named by the rows of its clips
read_actions(store, row)                            # the actions of one clip, by the row of `clips`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.outside import parse_json
from pipeline.sources.actions import raw_actions
from pipeline.storage.store import Store


def publish_actions(store: Store, raw_path: str, tar: str) -> str | None:
    """Copy the actions that were fetched with a raw file to a blob beside its clips, and return its key.

    None where none were fetched (`download.actions` says whether they are).
    """
    try:
        data = store.read_blob(raw_actions(raw_path))
    except FileNotFoundError:
        return None
    key = f"{tar.removesuffix('.tar')}.actions.jsonl"
    if not store.exists(key):
        store.write_blob(key, data)
    return key


def read_actions(store: Store, row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the actions of a clip, by its row in `clips`; None where none are kept.

    Those whose `t` (seconds from the start of the recording) lies within the clip; all of them where they have no `t`.
    """
    if row["actions"] is None:
        return None
    entries = [parse_json(line) for line in store.read_blob(row["actions"]).splitlines() if line.strip()]
    start_s, end_s = row["start_ms"] / 1000, row["end_ms"] / 1000
    return [entry for entry in entries if not _is_number(entry.get("t")) or start_s <= entry["t"] < end_s]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
