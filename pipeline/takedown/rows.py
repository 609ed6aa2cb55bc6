"""Delete the rows about videos from every table, and take their names out of the rows about others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from pipeline.storage.arrow import Column, among, pc, total
from pipeline.storage.purge import texts_of_column
from pipeline.storage.schemas import DERIVED_FROM_CLIP_ID, SCHEMAS
from pipeline.storage.store import Store
from pipeline.takedown.mentions import CLIP_SUFFIX, Mentions
from pipeline.video_names import find_videos

KEPT = "takedowns"
"""The one table that keeps something: a keyed hash."""
LAST = "videos"
"""Their rows go last: as long as they are there, a takedown that was killed finds the rest by them."""
_LABELS = "labels"
_OF_CLIPS = ("clip_id", "representative")
_LISTS_OF_CLIPS = ("nearest",)
"""Columns that hold lists of clips: a row that names one of a video's goes with it."""
_LINKS = ("similar_to",)
"""Columns that name another clip, of which a row can do without."""


@dataclass
class Cleaned:
    """What was taken out of the tables."""

    deleted: dict[str, int] = field(default_factory=dict)
    """Table -> rows about the videos that were deleted."""
    changed: int = 0
    """Rows about others from which a name was taken out."""


def clean_tables(store: Store, mentions: Mentions) -> Cleaned:
    """Delete the rows about the videos, take their names out of other rows, and delete all old versions.

    Of `videos` the names go, and the rows stay (`delete_videos`). Each table is opened and scanned once.
    """
    cleaned = Cleaned()
    for table in present_tables(store):
        if table == KEPT:
            continue
        with store.kept_open(table):
            found = _look_through(store, table, mentions)
            if table != LAST and (count := _delete_from(store, table, mentions, found)):
                cleaned.deleted[table] = count
            cleaned.changed += _take_names_out(store, table, mentions, found)
            if table != LAST:
                _purge(store, table, mentions)
    return cleaned


def _purge(store: Store, table: str, mentions: Mentions) -> None:
    store.purge(table)  # first: afterwards only files that no commit has ever named are stray
    delete_stray_files(store, table, mentions)


def present_tables(store: Store) -> list[str]:
    """Return the tables that a store has, in the order of `SCHEMAS`; one listing instead of a try for each."""
    there = set(store.list_folders("tables"))
    return [name for name in SCHEMAS if name in there]


def delete_videos(store: Store, mentions: Mentions) -> int:
    """Delete the rows of `videos`, and return their number."""
    return store.delete_rows(LAST, "video_id", mentions.videos)


def purge_last(store: Store, mentions: Mentions) -> None:
    """Delete all old versions of the tables that `clean_tables` leaves."""
    for table in (LAST, KEPT):
        with store.kept_open(table):
            _purge(store, table, mentions)


def count_rows(store: Store, mentions: Mentions) -> dict[str, int]:
    """Return how many rows of each table are about the videos; nothing is written."""
    found: Counter[str] = Counter()
    for table in present_tables(store):
        columns = _of_videos(table)
        if table == KEPT or not columns:
            continue
        for batch in store.scan(table, columns):
            found[table] += total(_are_about(pa.Table.from_batches([batch]), columns, mentions))
    return {name: count for name, count in found.items() if count}


def _are_about(rows: pa.Table, columns: Sequence[str], mentions: Mentions) -> Column:
    """Return a mask: which rows name one of the videos, or a clip of one."""
    mask: Column = pa.array([False] * len(rows), pa.bool_())
    for name in columns:
        if name in _LISTS_OF_CLIPS:
            named = [any(map(mentions.has_clip, clip_ids or ())) for clip_ids in rows[name].to_pylist()]
            mask = pc.or_(mask, pa.array(named, pa.bool_()))
            continue
        ids = rows[name].cast(pa.string())
        videos = ids if name == "video_id" else pc.utf8_slice_codeunits(ids, 0, -CLIP_SUFFIX)
        mask = pc.or_(mask, among(videos, mentions.videos))
    return mask


class _Found(NamedTuple):
    """What a scan of a table has found."""

    columns: list[str]
    """Columns by which the rows about the videos are deleted: each has one that the columns before it do not name."""
    keys: set[str]
    """First column of the rows that only their list of clips names."""
    written: set[str]
    """How the labels of the table name their videos."""
    named: dict[str, set[str]]
    """Column -> texts of other rows that name one of the videos."""


def _of_videos(table: str) -> list[str]:
    """Return the columns of a table that name videos and clips."""
    names = [name for name in ("video_id", *_OF_CLIPS, *_LISTS_OF_CLIPS) if name in SCHEMAS[table].names]
    # older files lack the columns that are derived from a clip's id: their rows are deleted by that
    derived = DERIVED_FROM_CLIP_ID.get(table, ())
    return sorted(names, key=lambda name: (name in _LISTS_OF_CLIPS, name in derived))


def _look_through(store: Store, table: str, mentions: Mentions) -> _Found:
    """Scan all texts of a table once."""
    columns, free = _of_videos(table), list(_free_texts(table))
    found = _Found([], set(), set(), {name: set() for name in free})
    first = SCHEMAS[table].names[0]
    others = ["video"] if table == _LABELS else []
    for batch in store.scan(table, list(dict.fromkeys([first, *columns, *free, *others]))):
        rows = pa.Table.from_batches([batch])
        for name in columns:
            mine = _are_about(rows, [name], mentions)
            if not pc.any(mine, min_count=0).as_py():
                continue
            if name in _LISTS_OF_CLIPS:
                found.keys.update(texts_of_column(rows.filter(mine)[first]))
            elif name not in found.columns:
                found.columns.append(name)
            rows = rows.filter(pc.invert(mine))
        for name in others:
            found.written.update(texts_of_column(rows[name]))
        for name in free:
            found.named[name].update(text for text in texts_of_column(rows[name]) if mentions.in_text(text))
    return found


def _delete_from(store: Store, table: str, mentions: Mentions, found: _Found) -> int:
    deleted = 0
    for column in found.columns:
        deleted += store.delete_rows(table, column, mentions.videos, cut=CLIP_SUFFIX if column in _OF_CLIPS else 0)
    if found.keys:
        deleted += store.delete_rows(table, SCHEMAS[table].names[0], found.keys)
    # an import names a video as people do, and may name a clip that was never cut
    stands_for = find_videos(store, found.written) if found.written else {}
    imported = {name for name in found.written if mentions.in_text(name)}
    imported |= {name for name, ids in stands_for.items() if ids and ids <= mentions.videos}
    return deleted + (store.delete_rows(table, "video", imported) if imported else 0)


def _take_names_out(store: Store, table: str, mentions: Mentions, found: _Found) -> int:
    changed = 0
    for column, named in found.named.items():
        if named:
            new = {text: None if column in _LINKS else mentions.taken_out(text) for text in named}
            changed += store.replace_texts(table, column, new)
    return changed


def _free_texts(table: str) -> Iterator[str]:
    """Yield the columns of a table that hold texts which identify nothing."""
    for column in SCHEMAS[table]:
        is_text = pa.types.is_string(column.type) or pa.types.is_list(column.type)
        identifies = column.name.endswith(("_id", "_sha256")) or column.name in _IDENTITY
        if is_text and not identifies:
            yield column.name


_IDENTITY = frozenset(
    {"url", "thumbnail", "title", "channel", "path", "tar", "sha256", "representative", "kind", "state", "batch",
     "clip_spec", "video", "split", "version", "index",
     "actions"}
)  # fmt: skip


def delete_stray_files(store: Store, table: str, mentions: Mentions) -> int:
    """Delete files that a killed writer left in the folder of a table, where they name one of the videos."""
    # a writer at work has not named its file yet: without it, its commit would lose the rows of others, too
    with store.held_alone(table):
        stray = [
            key for key in store.stray_files(table) if any(mentions.in_text(text) for text in store.texts_of_stray(key))
        ]
        store.delete_all(stray)
    return len(stray)
