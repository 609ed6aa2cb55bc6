"""Delete the rows about videos from every table, and take their names out of the rows about others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from pipeline.storage.arrow import Column, among, pc, total
from pipeline.storage.purge import texts_of_column
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.takedown.mentions import CLIP_SUFFIX, Mentions
from pipeline.video_names import find_videos

KEPT = "takedowns"
"""The one table that keeps something: a keyed hash."""
LAST = "videos"
"""Their rows go last: as long as they are there, a takedown that was killed finds the rest by them."""
_OF_CLIPS = ("clip_id", "representative")
_LISTS_OF_CLIPS = ("nearest",)
"""Columns that hold lists of clips: a row that names one of a video's goes with it."""
_LINKS = ("similar_to",)
"""Columns that name another clip, of which a row can do without."""


def delete_rows(store: Store, mentions: Mentions) -> dict[str, int]:
    """Delete the rows about the videos from all tables but `videos`; return table -> rows deleted."""
    deleted: Counter[str] = Counter()
    for table in (name for name in SCHEMAS if name not in {KEPT, LAST}):
        deleted[table] += _delete_from(store, table, mentions)
    return {name: count for name, count in deleted.items() if count}


def delete_videos(store: Store, mentions: Mentions) -> int:
    """Delete the rows of `videos`, and return their number."""
    return store.delete_rows(LAST, "video_id", mentions.videos)


def count_rows(store: Store, mentions: Mentions) -> dict[str, int]:
    """Return how many rows of each table are about the videos; nothing is written."""
    found: Counter[str] = Counter()
    for table, schema in SCHEMAS.items():
        columns = [name for name in ("video_id", *_OF_CLIPS, *_LISTS_OF_CLIPS) if name in schema.names]
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


def _delete_from(store: Store, table: str, mentions: Mentions) -> int:
    names = SCHEMAS[table].names
    deleted = 0
    if "video_id" in names:
        deleted += store.delete_rows(table, "video_id", mentions.videos)
    for column in _OF_CLIPS:
        if column in names:
            deleted += store.delete_rows(table, column, mentions.videos, cut=CLIP_SUFFIX)
    for column in _LISTS_OF_CLIPS:
        if column in names:
            rows = store.read(table, [names[0], column])
            named = rows.filter(_are_about(rows, [column], mentions))[names[0]]
            deleted += store.delete_rows(table, names[0], set(texts_of_column(named)))
    if table == "labels":
        # an import names a video as people do, and may name a clip that was never cut
        written = set(_texts(store, table, "video"))
        stands_for = find_videos(store, written)
        imported = {name for name in written if mentions.in_text(name)}
        imported |= {name for name, ids in stands_for.items() if ids and ids <= mentions.videos}
        deleted += store.delete_rows(table, "video", imported)
    return deleted


def take_names_out(store: Store, mentions: Mentions) -> int:
    """Replace the names of the videos in the texts of rows about others; return the number of rows."""
    changed = 0
    for table in (name for name in SCHEMAS if name != KEPT):
        for column in _free_texts(table):
            named = {text for text in _texts(store, table, column) if mentions.in_text(text)}
            if named and column in _LINKS:
                changed += store.replace_texts(table, column, dict.fromkeys(named))
            elif named:
                changed += store.replace_texts(table, column, {text: mentions.taken_out(text) for text in named})
    return changed


def _free_texts(table: str) -> Iterator[str]:
    """Yield the columns of a table that hold texts which identify nothing."""
    for field in SCHEMAS[table]:
        is_text = pa.types.is_string(field.type) or pa.types.is_list(field.type)
        identifies = field.name.endswith(("_id", "_sha256")) or field.name in _IDENTITY
        if is_text and not identifies:
            yield field.name


_IDENTITY = frozenset(
    {"url", "thumbnail", "title", "channel", "path", "tar", "sha256", "representative", "kind", "state", "batch",
     "clip_spec", "video", "split", "version", "index",
     "actions"}
)  # fmt: skip


def _texts(store: Store, table: str, column: str) -> Iterator[str]:
    """Yield the distinct texts of a column, of each part of the table."""
    for batch in store.scan(table, [column]):
        yield from texts_of_column(batch.column(0))


def delete_stray_files(store: Store, mentions: Mentions) -> int:
    """Delete files that a killed writer left in the folders of tables, where they name one of the videos."""
    deleted = 0
    for table in SCHEMAS:
        for key in store.stray_files(table):
            if any(mentions.in_text(text) for text in store.texts_of_stray(key)):
                store.delete(key)
                deleted += 1
    return deleted


def purge_tables(store: Store) -> list[str]:
    """Delete all old versions of every table; return the tables of which there were any."""
    return [table for table in SCHEMAS if store.purge(table)]
