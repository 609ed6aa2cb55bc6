"""Mend what a deep check found: damaged files are set aside, and what follows from others can be made again.

Nothing is deleted: set-aside files lie under `damaged/<time>/`. Rows are taken away only where they name what cannot be
read any more, so that the next pass finds it due.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psutil

from pipeline.errors import UserError
from pipeline.inspect.deep import SPARE, TRAINED, Fault
from pipeline.storage.arrow import pc
from pipeline.storage.event_checksums import is_whole
from pipeline.storage.home import Home
from pipeline.storage.mend_tables import ASIDE, DERIVED_AS_A_WHOLE, mend_table
from pipeline.storage.models_table import ModelRecord, replace_model, sound_models
from pipeline.storage.rows import sql_texts
from pipeline.storage.store import Store

_MOST_UNREADABLE = 10_000
"""Events in a row that cannot be read, after which none is looked for."""
_DEPENDS_ON = (*TRAINED, "tokenizer")


def mend(store: Store, home: Home, faults: Sequence[Fault]) -> list[str]:
    """Mend faults, and return a sentence for each thing that was done.

    Args:
        store: nothing else may write to it meanwhile.
        home: of the store.
        faults: as `find_faults` returned them.

    Raises:
        UserError: a table on an object store is damaged, or another process has the damaged journal open.
    """
    if any(fault.kind == "journal" for fault in faults):
        _refuse_open_journal(home)
    stamp = f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%SZ}-{uuid4().hex[:4]}"
    done = _mend_tables(store, stamp, sorted({fault.item["table"] for fault in faults if fault.kind == "table"}))
    for fault in faults:
        if fault.kind == "journal":
            done.append(_mend_journal(home, stamp))
        elif fault.kind in {"raw", "clips", "shards", "tokens"}:
            _set_aside(store, fault.key, stamp)
            done.append(_MEND[fault.kind](store, fault, stamp))
        elif fault.kind == "page":
            _set_aside(store, fault.key, stamp)
            done.append(f"{fault.key} is set aside{fault.item['after']}")
        elif fault.kind == "checkpoint":
            for key in fault.item["keys"]:
                _set_aside(store, key, stamp)
            done.append(f"{fault.key} is set aside; a training goes on from the checkpoint before it")
    done += _mend_models(store, [fault for fault in faults if fault.kind == "model"], stamp)
    return done


def _set_aside(store: Store, key: str, stamp: str) -> None:
    with suppress(UserError):  # a key outside of the root: the file is not ours
        if store.exists(key):
            store.move(key, f"{ASIDE}/{stamp}/{key}")


# -- tables -------------------------------------------------------------------------------------------------------


def _mend_tables(store: Store, stamp: str, names: Sequence[str]) -> list[str]:
    if names and not store.is_local:
        raise UserError(
            f"tables {', '.join(names)} of {store.root} are damaged: restore them from a version of the bucket"
        )
    done = []
    restarted = False
    for name in names:
        mended = mend_table(store, name, stamp)
        restarted |= mended.log_was_damaged
        kept = "is set aside; the next run makes it again" if mended.rows is None else f"has {mended.rows} rows"
        done.append(f"table {name} {kept}")
    if restarted:
        # what they record of their inputs are versions, and the versions of a table made anew begin at 0
        for name in DERIVED_AS_A_WHOLE:
            if name not in names and Path(store.url(f"tables/{name}")).is_dir():
                mend_table(store, name, stamp)
                done.append(f"table {name} is set aside; the next run makes it again")
    if {"clips", "clippings"} & set(names):
        done += _uncut_incomplete(store)
    return done


def _uncut_incomplete(store: Store) -> list[str]:
    """Take away the cut of videos whose clips are not all there, so that they are cut again."""
    columns = ["video_id", "clip_spec", "source_sha256"]
    keys = zip(*(store.read("clips", columns)[name].to_pylist() for name in columns), strict=True)
    counted = Counter(keys)
    done = []
    for row in store.read("clippings", [*columns, "batch", "num_clips"], pc.field("state") == "ok").to_pylist():
        if counted[tuple(row[name] for name in columns)] != row["num_clips"]:
            _uncut(store, row["batch"], row["clip_spec"], row["video_id"])
            done.append(f"video {row['video_id']} is cut again by the next run")
    return done


def _uncut(store: Store, batch: str, clip_spec: str, video_id: str) -> None:
    named = {"batch": batch, "clip_spec": clip_spec, "video_id": video_id}
    where = " AND ".join(f"{column} = {sql_texts([value])}" for column, value in named.items())
    store.replace("clippings", [], where=where)
    store.replace("clips", [], where=where)


# -- files --------------------------------------------------------------------------------------------------------


def _mend_raw(store: Store, fault: Fault, stamp: str) -> str:
    """Record that the raw file is gone: it is downloaded again where its clips are not cut."""
    video_id, sha256 = fault.item["video_id"], fault.item["sha256"]
    mine = pc.field("video_id") == video_id
    attempts = store.read("downloads", ["attempt", "finished_at", "bytes"], mine).to_pylist()
    latest = max(row["finished_at"] for row in attempts)
    row = {
        "attempt_id": str(uuid4()), "video_id": video_id, "batch": fault.item["batch"], "state": "dropped",
        "attempt": max(row["attempt"] or 0 for row in attempts), "sha256": sha256, "path": fault.item["path"],
        "bytes": max((row["bytes"] or 0 for row in attempts), default=0), "error_class": "raw_damaged",
        "message": fault.why[:300],
        # after every attempt, also where the clock was set back
        "finished_at": max(datetime.now(UTC), latest + timedelta(microseconds=1)),
    }  # fmt: skip
    store.append("downloads", [row])
    failed = mine & (pc.field("source_sha256") == sha256) & (pc.field("state") == "failed")
    for cut in store.read("clippings", ["batch", "clip_spec"], failed).to_pylist():
        _uncut(store, cut["batch"], cut["clip_spec"], video_id)
    return f"video {video_id}: its raw file is set aside, and is downloaded again if the video is not cut"


def _mend_clips(store: Store, fault: Fault, stamp: str) -> str:
    _uncut(store, fault.item["batch"], fault.item["clip_spec"], fault.item["video_id"])
    return f"video {fault.item['video_id']}: its clips are set aside; the next run cuts it again"


def _mend_shards(store: Store, fault: Fault, stamp: str) -> str:
    _set_aside(store, f"shards/{fault.item['version']}/manifest.json", stamp)
    # rows must not name what is not there; the tars that are whole stay, and are found again by their names
    store.replace("shards", [])
    return f"{fault.key} is set aside; the next run writes it again"


def _mend_tokens(store: Store, fault: Fault, stamp: str) -> str:
    store.replace("tokens", [], where=f"path = {sql_texts([fault.item['path']])}")
    return f"{fault.key} is set aside; `lampworks run --select token_shards` makes it again"


_MEND = {"raw": _mend_raw, "clips": _mend_clips, "shards": _mend_shards, "tokens": _mend_tokens}


# -- models -------------------------------------------------------------------------------------------------------


def _mend_models(store: Store, faults: Sequence[Fault], stamp: str) -> list[str]:
    """Set damaged files of models aside; forget the models that cannot do without theirs, and what is made of them."""
    damaged: dict[str, set[str]] = {}
    for fault in faults:
        if fault.item["name"]:  # else the row itself is at fault
            _set_aside(store, fault.key, stamp)
        damaged.setdefault(fault.item["model_id"], set()).add(fault.item["name"])
    records, odd = sound_models(store)
    done: list[str] = []
    gone = damaged.keys() & odd.keys()
    for record in records:
        names = damaged.get(record.model_id, set())
        if names and names <= SPARE and record.kind in TRAINED:
            if "config.json" in names:  # a copy of the row's own column
                text = json.dumps(record.config, indent=1, sort_keys=True)
                store.write_blob(f"{record.path}/config.json", text.encode())
            replace_model(store, record)
            done.append(f"{record.kind} {record.model_id} stays, {' and '.join(sorted(names))} is set aside")
        elif names:
            gone.add(record.model_id)
    while more := {record.model_id for record in records if _is_made_from(record, gone)} - gone:
        gone |= more
    if gone:
        store.replace("models", [], where=f"model_id IN ({sql_texts(sorted(gone))})")
        done.append(f"models {', '.join(sorted(gone))} are forgotten; the next run makes them again")
    return done


def _is_made_from(record: ModelRecord, gone: set[str]) -> bool:
    return any(record.inputs.get(kind) in gone for kind in _DEPENDS_ON)


def _refuse_open_journal(home: Home) -> None:
    """Raise where another process has the journal open: what it saved while the file is replaced would be lost."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(file.path == str(home.journal) for file in process.open_files()):
                raise UserError(
                    f"process {process.pid} has the labelling journal {str(home.journal)!r} open: stop it (a "
                    "`lampworks label`), and mend again. Nothing was changed."
                )


def _mend_journal(home: Home, stamp: str) -> str:
    """Copy every readable event of the labelling journal into a new one."""
    aside = home.folder / ASIDE / stamp
    aside.mkdir(parents=True, exist_ok=True)
    names = [home.journal.name + end for end in ("", "-wal", "-shm")]
    for name in names:
        if (home.folder / name).exists():
            (home.folder / name).replace(aside / name)
    count = 0
    with closing(sqlite3.connect(home.journal)) as new, closing(sqlite3.connect(aside / home.journal.name)) as old:
        with suppress(sqlite3.Error):  # without the schema nothing can be read
            made = old.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
            for (statement,) in made.fetchall():
                new.execute(statement)
        for row in _readable_events(old):
            new.execute(f"INSERT OR IGNORE INTO events VALUES ({', '.join('?' * len(row))})", row)
            count += 1
        new.commit()
    return f"the labelling journal is set aside; {count} of its events could be read and are kept"


def _readable_events(journal: sqlite3.Connection) -> Iterator[tuple[object, ...]]:
    """Yield the events of a damaged journal that can be read, one by one; a damaged page costs its own."""
    last, failures = 0, 0
    journal.row_factory = sqlite3.Row
    while failures < _MOST_UNREADABLE:
        try:
            query = "SELECT * FROM events NOT INDEXED WHERE seq > ? ORDER BY seq LIMIT 1"
            row = journal.execute(query, (last,)).fetchone()
        except sqlite3.Error:
            last, failures = last + 1, failures + 1
            continue
        if row is None:
            return
        last, failures = row["seq"], 0
        if is_whole(dict(row)):
            yield tuple(row)
