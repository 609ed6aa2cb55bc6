"""Tell which clips of a video that is cut again show another picture than before under the same id.

A row of `replaced` is written before the new rows of `clips`, so labels of the earlier picture never count for the new
one (`pipeline.label_pictures`). A clip whose bytes are the same gets no row. One whose bytes differ is decoded and
compared with the earlier one: a re-encode is the same picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.clips.read import read_clip
from pipeline.clips.same_picture import same_picture
from pipeline.storage.arrow import is_one_of, pc
from pipeline.storage.damage import DamagedError
from pipeline.storage.moments import moment_after
from pipeline.storage.rows import sql_texts
from pipeline.storage.store import Store

_COLUMNS = ["clip_id", "video_id", "batch", "clip_spec", "tar", "offset", "size", "sha256"]


def replaced_clips(store: Store, mine: pc.Expression, new: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row of `replaced` for each clip that is gone or has other bytes; the caller appends them.

    Args:
        store: the tars of both must be there.
        mine: a filter of `clips`: the videos that are cut again.
        new: their new rows of `clips`.
    """
    old = store.read("clips", _COLUMNS, mine).to_pylist()
    if not old:
        return []
    now = {row["clip_id"]: row for row in new}
    changed = [row for row in old if row["clip_id"] not in now or now[row["clip_id"]]["sha256"] != row["sha256"]]
    # after every label that is there, also where the clock was set back
    moment = moment_after(store.latest("labels", "labelled_at"))
    return [
        {
            **{name: row[name] for name in ("clip_id", "video_id", "batch", "clip_spec")},
            "old_sha256": row["sha256"],
            "new_sha256": after["sha256"] if after is not None else None,
            "same_picture": after is not None and _are_same(store, row, after),
            "replaced_at": moment,
        }
        for row in changed
        for after in [now.get(row["clip_id"])]
    ]


def append_replaced(store: Store, rows: Sequence[dict[str, Any]]) -> None:
    """Append rows of `replaced`; each takes the place of one that says the same change and that nothing followed.

    Such a row is of a run that ended, or whose store went away, before it wrote the new clips.
    """
    if not rows:
        return
    ids = [row["clip_id"] for row in rows]
    there = store.read("replaced", where=is_one_of("clip_id", ids)).sort_by("replaced_at").to_pylist()
    last = {row["clip_id"]: row for row in there}
    # the clips show the earlier picture to this day: had the change come about, another row would tell the way back
    undone = {row["clip_id"] for row in rows if row["clip_id"] in last and _same_change(last[row["clip_id"]], row)}
    store.append("replaced", [row for row in rows if row["clip_id"] not in undone])
    if undone:
        kept = [row for row in there if row["clip_id"] in undone and row is not last[row["clip_id"]]]
        again = [row for row in rows if row["clip_id"] in undone]
        store.replace("replaced", [*kept, *again], where=f"clip_id IN ({sql_texts(sorted(undone))})")


def _same_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return all(old[name] == new[name] for name in ("old_sha256", "new_sha256"))


def _are_same(store: Store, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    try:
        return same_picture(read_clip(store, old), read_clip(store, new))
    except DamagedError:  # what it showed is not known any more
        return False
