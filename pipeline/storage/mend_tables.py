"""Make a damaged table readable again with every row that can still be read; damaged files are set aside, not deleted.

Where the log is whole, damaged data files are taken out of it. Where the log is damaged, the table is made anew of its
readable data files; of two rows with the same id the one that was written last counts. Tables that are derived as a
whole are set aside entirely, and the next pass makes them again.

    mended = mend_table(store, "labels", "2026-11-26T04-00-00Z")
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.storage.checksums import LOG, add_checksums, read_checksums
from pipeline.storage.damage import Damage, table_damage
from pipeline.storage.rewrites import names_in_log
from pipeline.storage.rows import rows_table
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

IDS: dict[str, tuple[str, ...]] = {
    "searches": ("search_id",),
    "videos": ("video_id",),
    "downloads": ("attempt_id",),
    "breakers": ("event_id",),
    "clippings": ("video_id", "clip_spec"),
    "clips": ("clip_id",),
    "replaced": ("clip_id", "old_sha256", "replaced_at"),
    "labels": ("event_id",),
    "embeddings": ("clip_id", "encoder"),
    "scores": ("clip_id", "model_version"),
    "models": ("model_id",),
    "uncovered": ("situation_id",),
    "costs": ("cost_id",),
    "takedowns": ("takedown_id",),
}
"""What identifies a row, by table."""
DERIVED_AS_A_WHOLE = tuple(name for name in SCHEMAS if name not in IDS)
"""Tables whose rows follow from other tables, all at once."""
_LOOKS = 3
ASIDE = "damaged"
"""Folder of the root that set-aside files are moved to, below the time of the mending."""


@dataclass(frozen=True)
class MendedTable:
    """What became of a table."""

    name: str
    rows: int | None
    """Rows that it has now; None: it was set aside as a whole, and the next pass makes it again."""
    log_was_damaged: bool


def find_table_damage(store: Store, name: str) -> list[Damage]:
    """Return the damaged files that the present version of a table needs; reads the table once, all of it.

    Files without a checksum that read well (an older lampworks wrote them) get one. A look beside which the log changed
    may accuse files that a takedown deleted: what the next looks do not find either is no damage.
    """
    folder = Path(store.url(f"tables/{name}"))
    if not folder.is_dir():
        return []
    found, looks = None, 0
    while True:
        before = names_in_log(folder / LOG)
        seen = _damage_at_a_look(store, name, folder)
        found = seen if found is None else [damage for damage in found if damage in seen]
        looks += 1
        if not found or looks == _LOOKS or names_in_log(folder / LOG) == before:
            return found


def _damage_at_a_look(store: Store, name: str, folder: Path) -> list[Damage]:
    found = table_damage(folder)
    live = _live_files(store, name)
    if live is None:
        return found or [Damage(f"{LOG}/", "cannot be read")]
    missing = [Damage(path, "is gone") for path in live if not (folder / path).exists()]
    needed = [damage for damage in found if damage.path.startswith(LOG) or damage.path in live]
    if not needed and not missing:
        known = read_checksums(folder)
        logs = [path.relative_to(folder).as_posix() for path in sorted(folder.glob(f"{LOG}/*.json"))]
        with suppress(OSError):  # a root that can only be read is checked all the same
            add_checksums(folder, [path for path in (*logs, *sorted(live)) if path not in known])
        needed = _strange(store, name)
    return sorted({*needed, *missing})


def mend_table(store: Store, name: str, stamp: str) -> MendedTable:
    """Make a table readable again; see the module.

    Args:
        store: in a folder.
        name: of the table, which `find_table_damage` found damaged.
        stamp: names the folder that damaged files are moved to.
    """
    folder, aside = Path(store.url(f"tables/{name}")), Path(store.url(f"{ASIDE}/{stamp}/tables/{name}"))
    found = find_table_damage(store, name)
    log_damaged = any(damage.path.startswith(LOG) for damage in found) or _live_files(store, name) is None
    if name in DERIVED_AS_A_WHOLE:
        aside.parent.mkdir(parents=True, exist_ok=True)
        folder.replace(aside)
        return MendedTable(name, None, log_damaged)
    if not log_damaged:
        aside.mkdir(parents=True, exist_ok=True)
        for damage in found:
            if (folder / damage.path).exists():
                (folder / damage.path).replace(aside / damage.path)
        store.forget_missing_files(name)
        return MendedTable(name, len(store.read(name, SCHEMAS[name].names[:1])), False)
    fresh = Store(store.url(f"{ASIDE}/{stamp}/fresh"))
    rows = _readable_rows(folder, name)
    fresh.append(name, rows)
    aside.parent.mkdir(parents=True, exist_ok=True)
    folder.replace(aside)
    if len(rows):
        Path(fresh.url(f"tables/{name}")).replace(folder)
    return MendedTable(name, len(rows), True)


def _live_files(store: Store, name: str) -> set[str] | None:
    """Return the data files of the present version; None where the log cannot be read."""
    try:
        return store.data_files(name)
    except UserError:
        return None


def _strange(store: Store, name: str) -> list[Damage]:
    """Return what a full read finds although every file has its checksum: damage that came before the checksums."""
    try:
        for _ in store.scan(name, SCHEMAS[name].names):
            pass
    except UserError as exc:
        return [Damage(f"{LOG}/", f"cannot be read ({exc})")]
    return []


def _readable_rows(folder: Path, name: str) -> pa.Table:
    """Return the rows of all data files that can be read, each id once: as it was written last."""
    order = {path: place for place, path in enumerate(read_checksums(folder))}
    damaged = {damage.path for damage in table_damage(folder)}
    files = [path for path in folder.glob("*.parquet") if path.name not in damaged]
    files.sort(key=lambda path: (order.get(path.name, -1), path.stat().st_mtime_ns, path.name))
    rows = pa.concat_tables([SCHEMAS[name].empty_table(), *(rows_table(name, _read(path)) for path in files)])
    places = pa.array(range(len(rows)), pa.int64())
    last = rows.append_column("place", places).group_by(list(IDS[name])).aggregate([("place", "max")])
    return rows.take(last["place_max"].combine_chunks().sort())


def _read(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read()
