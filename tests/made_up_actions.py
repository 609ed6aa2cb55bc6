"""True actions for the clips of a store, as cutting would have left them.

add_actions(store, lambda clip_id, transition: "jump")      # or numbers; None: this clip has none
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from pipeline.actions.table import SUFFIX, TABLE, table_bytes
from pipeline.storage.store import Store

Action = str | Sequence[float] | None


def add_actions(store: Store, action_of: Callable[[str, int], Action]) -> None:
    """Write the actions of all clips, one row a transition, beside their tars, and name them in `clips`."""
    rows = store.read("clips").to_pylist()
    for video_id in {row["video_id"] for row in rows}:
        mine = [row for row in rows if row["video_id"] == video_id]
        entries = []
        for row in mine:
            found = [(step, action_of(row["clip_id"], step)) for step in range(row["num_frames"] - 1)]
            entries += [
                {"clip_id": row["clip_id"], "transition": step, "row": step, "weight": 1.0}
                | {"label": action if isinstance(action, str) else None}
                | {"values": None if isinstance(action, str) else action}
                for step, action in found
                if action is not None
            ]
        if entries:
            key = f"{mine[0]['tar'].removesuffix('.tar')}{SUFFIX}"
            store.write_blob(key, table_bytes(pa.Table.from_pylist(entries, TABLE)))
            for row in mine:
                row["actions"] = key
    store.replace("clips", rows)
