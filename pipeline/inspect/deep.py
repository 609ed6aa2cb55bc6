"""Compare every file of a root with the hash that its row or its commit holds: `lampworks doctor --deep`.

    for fault in find_faults(store, home):
        print(fault.key, fault.why, fault.needed_for, fault.mend)

Everything is read once, in pieces. What no row names is not looked at (`lampworks gc` deletes it).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.download.ledger import fold_all
from pipeline.download.sidecars import kept_sidecars
from pipeline.errors import StoreError, UserError
from pipeline.model_ids import PLAYABLE
from pipeline.progress import Progress, ProgressCallback
from pipeline.shards.manifest import LISTED, LISTED_WITH_ACTIONS
from pipeline.shards.read import manifest_key
from pipeline.sources.actions import raw_actions
from pipeline.storage.arrow import pc
from pipeline.storage.checksums import all_checksums
from pipeline.storage.event_checksums import is_whole
from pipeline.storage.home import Home
from pipeline.storage.mend_tables import DERIVED_AS_A_WHOLE, find_table_damage
from pipeline.storage.models_table import ModelRecord, sound_models
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

Kind = Literal["table", "journal", "raw", "clips", "shards", "tokens", "model", "page", "checkpoint"]
SPARE = {"config.json", "curve.json"}
"""Files that a trained network can do without."""
TRAINED = ("world_model", "video_tokenizer")
_NEXT_RUN = ", and the next `lampworks run` writes it again"
_BY_KEY = (
    ("labels/queue.json", "the labelling page", _NEXT_RUN),
    ("labels/audit.json", "the audit of the decision", ": the next `lampworks run` draws a sample of clips anew"),
    ("labels/economy.json", "the report", ": `lampworks bench economy --save` measures it again"),
    ("takedowns/", "the receipt of a takedown", "; what was taken down stays away, and no run writes a receipt again"),
    ("reports/latest/", "the report", _NEXT_RUN),
    ("reports/curation/", "the audit of the decision", _NEXT_RUN),
    ("reports/contact/", "the look at a batch", " and draws it again"),
    ("reports/spot-check", "the look at a search", " and draws it again"),
    ("reports/models/", "the report of a world", ": `lampworks report --model` writes it again"),
    ("reports/compare/", "the comparison of runs", ": `lampworks models --compare` writes it again"),
    ("reports/studies/", "a study", "; the asset `study` writes it again, from the parts that it keeps"),
    ("reports/training/", "a picture of a training", "; no run draws it again, and nothing reads it"),
    ("models/", "what a training run says of itself", ": a training that goes on writes it again"),
)
REMADE = "`--mend` sets it aside, and the next `lampworks run` makes it again"


@dataclass(frozen=True)
class Fault:
    """A file that is not what was written."""

    kind: Kind
    key: str
    """Relative to the root; of the journal, to the home."""
    why: str
    needed_for: str
    """What depends on it."""
    mend: str
    """What `--mend` does, and what is lost."""
    item: Mapping[str, Any] = field(default_factory=dict)
    """Columns of the row that names it, or the table's name."""


def find_faults(store: Store, home: Home, on_progress: ProgressCallback | None = None) -> list[Fault]:
    """Return every damaged file, tables first.

    Where a table is damaged, what its rows name cannot be checked: mend it, and check again.
    """
    faults = [*_tables(store), *_journal(home)]
    broken = {fault.item["table"] for fault in faults if fault.kind == "table"}
    if "models" not in broken:
        faults += _odd_models(store)
    files = list(_named_files(store, broken))
    differing: list[_Expected] = []
    with Progress("deep check", total=len(files), unit="files", on_progress=on_progress) as progress:
        for expected in files:
            if _difference(store, expected):
                differing.append(expected)
            progress.advance(note=expected.key)
    # a pass or a takedown may have replaced or deleted a file since its row was read: the rows as they are now decide
    now = {(one.kind, one.key, one.sha256): one for one in _named_files(store, broken)} if differing else {}
    for seen in differing:
        still = now.get((seen.kind, seen.key, seen.sha256))
        if still is not None and (why := _difference(store, still)):
            faults.append(Fault(still.kind, still.key, why, still.needed_for, still.mend, still.item))
    return faults


@dataclass(frozen=True)
class _Expected:
    kind: Kind
    key: str
    sha256: str | frozenset[str] | None
    """Of a file that is written again under the same key, that of each time."""
    needed_for: str
    mend: str
    item: Mapping[str, Any]
    json_equals: Any = None
    """What the file says as JSON, where it is compared by content."""


def _tables(store: Store) -> Iterator[Fault]:
    for name in SCHEMAS:
        if not store.is_local:
            yield from _unreadable(store, name)
            continue
        for found in find_table_damage(store, name):
            mend = (
                REMADE
                if name in DERIVED_AS_A_WHOLE
                else "`--mend` sets it aside; rows that only this file held are lost, the others stay"
            )
            yield Fault("table", f"tables/{name}/{found.path}", found.why, f"table {name}", mend, {"table": name})


def _unreadable(store: Store, name: str) -> Iterator[Fault]:
    """Yield the fault of a table on an object store, which checks its own bytes."""
    try:
        for _ in store.scan(name, SCHEMAS[name].names):
            pass
    except StoreError:  # nothing is known of the table
        raise
    except Exception as exc:  # whatever a client raises is the finding
        fix = "restore it from a version of the bucket"
        yield Fault("table", f"tables/{name}", " ".join(str(exc).split())[:300], f"table {name}", fix, {"table": name})


def _journal(home: Home) -> Iterator[Fault]:
    if not home.journal.exists():
        return
    try:
        with closing(sqlite3.connect(f"file:{home.journal}?mode=ro", uri=True)) as journal:
            told = [str(row[0]) for row in journal.execute("PRAGMA integrity_check(3)")]
            if told == ["ok"]:
                told = _changed_events(journal) or told
    except sqlite3.Error as exc:
        told = [str(exc)]
    if told != ["ok"]:
        mend = "`--mend` sets it aside and copies every label that can be read; labels in the table stay"
        yield Fault("journal", home.journal.name, "; ".join(told)[:300], "labels of the page", mend)


def _changed_events(journal: sqlite3.Connection) -> list[str]:
    """Return which events are not what was written; SQLite itself has no checksums."""
    if not list(journal.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'events'")):
        return []
    journal.row_factory = sqlite3.Row
    events = (dict(row) for row in journal.execute("SELECT * FROM events ORDER BY seq"))
    changed = [f"event {event['seq']} is not what was written" for event in events if not is_whole(event)]
    return changed[:3]


def _named_files(store: Store, broken: set[str]) -> Iterator[_Expected]:
    """Yield the blobs that rows name, with their hashes; tables that are damaged name none."""
    if not broken & {"videos", "downloads", "takedowns"}:
        yield from _raw_files(store)
    if not broken & {"clippings"}:
        # a takedown deletes tars first and their rows later
        takedowns_read = not broken & {"videos", "takedowns"}
        yield from _clip_tars(store, taken_down(store).hidden_videos(store) if takedowns_read else frozenset())
    if not broken & {"shards"}:
        yield from _shard_files(store)
    if not broken & {"tokens"}:
        yield from _token_files(store)
    if not broken & {"models"}:
        yield from _model_files(store)
    yield from _files_read_by_key(store)


def _odd_models(store: Store) -> Iterator[Fault]:
    """Yield the rows of `models` that say nothing: a forged or damaged column."""
    for model_id, why in sound_models(store)[1].items():
        mend = f"`--mend` forgets {model_id}, and the next `lampworks run` makes it again"
        item = {"model_id": model_id, "name": ""}
        yield Fault("model", "tables/models", why, f"model {model_id}", mend, item)


def _raw_files(store: Store) -> Iterator[_Expected]:
    states = fold_all(store).select(["video_id", "batch", "path", "sha256"])
    sidecars = kept_sidecars(store)
    for row in states.filter(pc.is_valid(states["path"])).to_pylist():
        mend = "`--mend` sets it aside, and the next `lampworks run` downloads it again if it is not cut yet"
        yield _Expected("raw", row["path"], row["sha256"], f"video {row['video_id']}", mend, row)
        if row["path"] in sidecars:
            keys = raw_actions(row["path"])
            key = keys[0]
            with suppress(UserError):  # the row points outside of the root, which is said of the key itself
                key = next((key for key in keys if store.exists(key)), key)
            needed_for = f"true actions of video {row['video_id']}"
            yield _Expected("raw", key, sidecars[row["path"]], needed_for, mend, row)


def _clip_tars(store: Store, hidden: Collection[str]) -> Iterator[_Expected]:
    columns = ["video_id", "batch", "clip_spec", "tar", "tar_sha256", "num_clips", "source_sha256"]
    columns += ["actions", "actions_sha256"]
    for row in store.read("clippings", columns, pc.field("state") == "ok").to_pylist():
        if row["tar"] and row["video_id"] not in hidden:
            mend = "`--mend` sets it aside, and the next `lampworks run` cuts the video again (and downloads it first "
            mend += "where its raw file is gone)"
            needed_for = f"{row['num_clips']} clips of video {row['video_id']}"
            yield _Expected("clips", row["tar"], row["tar_sha256"], needed_for, mend, row)
            if row["actions_sha256"]:
                needed_for = f"true actions of {needed_for}"
                yield _Expected("clips", row["actions"], row["actions_sha256"], needed_for, mend, row)


def _shard_files(store: Store) -> Iterator[_Expected]:
    rows = store.read("shards").to_pylist()
    for row in rows:
        needed_for = f"{row['samples']} {row['split']} samples of shards {row['version']}"
        yield _Expected("shards", row["path"], row["sha256"], needed_for, REMADE, row)
        if row["index"]:  # sets of older versions have none
            yield _Expected("shards", row["index"], row["index_sha256"], needed_for, REMADE, row)
        if row["actions"]:
            yield _Expected("shards", row["actions"], row["actions_sha256"], f"actions of {needed_for}", REMADE, row)
    for version in sorted({row["version"] for row in rows}):
        listed = sorted(_listed(row) for row in rows if row["version"] == version)
        for card in _cards(store, version):
            item = {"version": version, "path": card.get("path")}
            yield _Expected("shards", str(card.get("path")), str(card.get("sha256")), f"shards {version}", REMADE, item)
        item = {"version": version, "path": manifest_key(version)}
        yield _Expected("shards", manifest_key(version), None, f"shards {version}", REMADE, item, listed)


def _cards(store: Store, version: str) -> list[Mapping[str, Any]]:
    """Return path and hash of the files of a set's data card; none where the manifest is damaged."""
    try:
        cards = json.loads(store.read_blob(manifest_key(version))).get("cards")
    except (FileNotFoundError, ValueError, RecursionError, AttributeError):
        return []
    return [card for card in cards if isinstance(card, dict)] if isinstance(cards, list) else []


def _listed(shard: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the manifest and the rows of `shards` must both say of a tar, as texts that can be ordered."""
    return tuple(str(shard.get(name)) for name in (*LISTED, *LISTED_WITH_ACTIONS))


def _token_files(store: Store) -> Iterator[_Expected]:
    mend = "`--mend` sets it aside, and `lampworks run --select token_shards` makes it again"
    for row in store.read("tokens").to_pylist():
        needed_for = f"tokens of {row['clips']} {row['split']} clips"
        yield _Expected("tokens", row["path"], row["sha256"], needed_for, mend, row)
        yield _Expected("tokens", row["index"], row["index_sha256"], needed_for, mend, row)


def _model_files(store: Store) -> Iterator[_Expected]:
    for record in sound_models(store)[0]:
        for name, digest in sorted({**_packed_files(store, record), **record.files}.items()):
            if name in SPARE and record.kind in TRAINED:
                mend = "`--mend` sets it aside, and the model stays"
            else:
                mend = f"`--mend` sets it aside and forgets {record.model_id} with what was made from it, and the "
                mend += "next `lampworks run` makes them again"
            item = {"model_id": record.model_id, "name": name}
            yield _Expected("model", f"{record.path}/{name}", digest, f"{record.kind} {record.model_id}", mend, item)


def _packed_files(store: Store, record: ModelRecord) -> dict[str, str]:
    """Return the files in folders of a packed world with their hashes, which its manifest has; {} for other models."""
    if record.kind != PLAYABLE:
        return {}
    try:
        manifest = store.read_blob(f"{record.path}/manifest.json")
        if hashlib.sha256(manifest).hexdigest() != record.files.get("manifest.json"):
            return {}  # it is the fault itself, and accuses no other file
        files = json.loads(manifest)["files"]
        return {str(name): str(about["sha256"]) for name, about in files.items() if "/" in name}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _files_read_by_key(store: Store) -> Iterator[_Expected]:
    """Yield reports, queues, receipts and what runs say of themselves; a file that is gone was deleted."""
    if not store.is_local:
        return
    for key, checksums in sorted(all_checksums(Path(store.root)).items()):
        if store.exists(key):
            needed_for, after = next((found[1:] for found in _BY_KEY if key.startswith(found[0])), ("a person", ""))
            mend = f"`--mend` sets it aside{after}"
            digests = frozenset(checksum.sha256 for checksum in checksums)
            yield _Expected("page", key, digests, needed_for, mend, {"path": key, "after": after})


def _difference(store: Store, expected: _Expected) -> str:
    """Return in what way a blob is not what its row says; "" where it is."""
    try:
        if expected.json_equals is not None:
            manifest = json.loads(store.read_blob(expected.key))
            listed = sorted(_listed(shard) for shard in manifest["shards"])
            if not all(isinstance(card, dict) for card in manifest.get("cards", [])):
                return "lists no data card"
            return "" if listed == expected.json_equals else "lists other shards than the table"
        digest = store.sha256(expected.key)
        if digest == expected.sha256 or (isinstance(expected.sha256, frozenset) and digest in expected.sha256):
            return ""
        who = "than when it was written" if expected.kind == "page" else "than its row says"
        return f"has another SHA-256 {who} ({store.size(expected.key)} bytes)"
    except FileNotFoundError:
        return "is not there"
    except (UserError, OSError) as exc:
        return f"cannot be read ({exc})"
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        return f"is no manifest ({type(exc).__name__})"
