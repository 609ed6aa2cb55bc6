"""Take videos out of the files of a home: journals of labels and searches, recipes, logs of Dagster, pictures.

Pages and runs of this machine may have the databases open: a transaction waits for them, and a database that stays
locked is named in the receipt.
"""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from pipeline.storage.home import PICTURES, Home
from pipeline.takedown.mentions import CLIP_SUFFIX, Mentions

_WAIT_S = 30.0
_HEADER = b"SQLite format 3\0"
_LOGS = (".out", ".err", ".log", ".txt", ".json", ".jsonl", ".complete", ".yaml")
_MOST_BYTES = 256 << 20


class HomeTaken:
    """What was taken out of a home."""

    def __init__(self) -> None:
        self.events = 0
        """Label events that went from the journal."""
        self.lines = 0
        """Answers that went from the journal of an unfinished search."""
        self.files: list[Path] = []
        """Databases and logs of Dagster from which names were taken out, and pictures of trainings, which were deleted.
        """
        self.locked: list[Path] = []
        """Databases that another process kept locked."""


def take_out_of_home(home: Home, mentions: Mentions, *, dry_run: bool = False) -> HomeTaken:
    """Take the videos out of the home's files; with `dry_run`, only count."""
    taken = HomeTaken()
    taken.lines = _search_journal(home.search_journal, mentions, dry_run=dry_run)
    for path in sorted(home.recipes.glob("*")):
        if _recipe(path, mentions, dry_run=dry_run):
            taken.files.append(path)
    if _is_database(home.journal):
        try:
            taken.events = _label_journal(home.journal, mentions, dry_run=dry_run)
        except sqlite3.OperationalError:
            taken.locked.append(home.journal)
    for path in pictures_of(home, mentions):
        taken.files.append(path)
        if not dry_run:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.json").unlink(missing_ok=True)
    for path in _files_of(home.dagster):
        try:
            changed = _database(path, mentions, dry_run) if _is_database(path) else _log(path, mentions, dry_run)
        except sqlite3.OperationalError:
            taken.locked.append(path)
            continue
        if changed:
            taken.files.append(path)
    return taken


def recordings_of(mentions: Mentions) -> set[str]:
    """Return the native ids of the videos that are recordings of the embedded source."""
    return {name.removeprefix("arcade-") for name in mentions.videos if name.startswith("arcade-")}


def pictures_of(home: Home, mentions: Mentions) -> list[Path]:
    """Return the files of TensorBoard with pictures that show the videos; one that nothing describes may do."""
    found = []
    for path in sorted(home.tensorboard.glob(f"*/{PICTURES}/*")):
        if path.suffix == ".json":
            continue
        try:
            shown = json.loads(path.with_name(f"{path.name}.json").read_text("utf-8"))["clips"]
            named = any(mentions.has_clip(str(clip)) for clip in shown)
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            named = True
        if named:
            found.append(path)
    return found


# -- the labelling page -------------------------------------------------------------------------------------------


def _label_journal(path: Path, mentions: Mentions, *, dry_run: bool) -> int:
    """Delete the events of the videos; the triggers that refuse a deletion are back in the same transaction."""
    with closing(_connect(path)) as journal:
        clips = [str(row[0]) for row in journal.execute("SELECT DISTINCT clip_id FROM events")]
        mine = [(clip_id,) for clip_id in clips if clip_id[:-CLIP_SUFFIX] in mentions.videos]
        if not mine or dry_run:
            count = "SELECT count(*) FROM events WHERE clip_id = ?"
            return sum(int(journal.execute(count, clip).fetchone()[0]) for clip in mine)
        journal.execute("BEGIN IMMEDIATE")
        triggers = journal.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            journal.execute(f'DROP TRIGGER "{name}"')
        before = journal.total_changes
        journal.executemany("DELETE FROM events WHERE clip_id = ?", mine)
        deleted = journal.total_changes - before
        for _, sql in triggers:
            journal.execute(sql)
        journal.execute("COMMIT")
        _compact(journal)
        return deleted


# -- the search ---------------------------------------------------------------------------------------------------


def _search_journal(path: Path, mentions: Mentions, *, dry_run: bool) -> int:
    """Take the answers about the videos out of the journal of an unfinished search."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    kept = [line for line in lines if not mentions.in_text(line, titles=True)]
    if len(kept) < len(lines) and not dry_run:
        _replace(path, "".join(kept).encode())
    return len(lines) - len(kept)


def _recipe(path: Path, mentions: Mentions, *, dry_run: bool) -> bool:
    """Take the lines of the videos out of the copy of a recipe; tell whether there were any."""
    packed = path.suffix == ".gz"
    data = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
    lines = data.splitlines(keepends=True)
    kept = [line for line in lines if not mentions.in_text(line.decode("utf-8", "replace"), titles=True)]
    if len(kept) == len(lines) or dry_run:
        return len(kept) < len(lines)
    _replace(path, gzip.compress(b"".join(kept), mtime=0) if packed else b"".join(kept))
    return True


# -- Dagster ------------------------------------------------------------------------------------------------------


def _files_of(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.endswith(("-wal", "-shm", "-journal")):
            yield path


def _database(path: Path, mentions: Mentions, dry_run: bool) -> bool:
    """Take names out of every text of a database; tell whether there were any."""
    changed = False
    with closing(_connect(path)) as database:
        database.create_function("names_it", 1, lambda text: _in_value(text, mentions), deterministic=True)
        database.create_function("without_it", 1, lambda text: mentions.taken_out(text, titles=True))
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
            for column in columns:
                where = f'typeof("{column}") = \'text\' AND names_it("{column}")'
                found = database.execute(f'SELECT count(*) FROM "{table}" WHERE {where}').fetchone()[0]
                changed |= bool(found)
                if found and not dry_run:
                    database.execute(f'UPDATE "{table}" SET "{column}" = without_it("{column}") WHERE {where}')
        if changed and not dry_run:
            _compact(database)
    return changed


def _in_value(text: object, mentions: Mentions) -> bool:
    return isinstance(text, str) and mentions.in_text(text, titles=True)


def _log(path: Path, mentions: Mentions, dry_run: bool) -> bool:
    """Take names out of a log or another text of Dagster; tell whether there were any."""
    if path.suffix not in _LOGS or path.stat().st_size > _MOST_BYTES:
        return False
    text = path.read_text("utf-8", "surrogateescape")
    if not mentions.in_text(text, titles=True):
        return False
    if not dry_run:
        _replace(path, mentions.taken_out(text, titles=True).encode("utf-8", "surrogateescape"))
    return True


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
    # what is deleted is overwritten, in free pages too
    database.execute("PRAGMA secure_delete = ON")
    return database


def _compact(database: sqlite3.Connection) -> None:
    """Rewrite a database without free pages, and empty its write-ahead log."""
    database.execute("VACUUM")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_HEADER)) == _HEADER
    except OSError:
        return False


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
