"""The disk budget: downloads pause before the disk is full, and raw files that were cut can be removed."""

from __future__ import annotations

import shutil
import uuid
from datetime import timedelta
from pathlib import Path

from pipeline.clip_spec import clip_spec
from pipeline.config import Config
from pipeline.download.ledger import download_states, superseded_files
from pipeline.sources.actions import raw_actions
from pipeline.storage.arrow import pc, rows_with, total
from pipeline.storage.home import Home
from pipeline.storage.moments import moment_after
from pipeline.storage.store import Store


class DiskBudget:
    """The bytes that raw files may still take, checked before every download."""

    def __init__(self, store: Store, config: Config, home: Home) -> None:
        self.config = config.download
        self.folders = {home.tmp, Path(store.root)} if store.is_local else {home.tmp}
        self.raw_bytes = raw_bytes(store) if self.config.max_raw_gb else 0

    def record_bytes(self, size: int) -> None:
        """Add the size of a file that was stored."""
        self.raw_bytes += size

    def shortage(self) -> str:
        """Return why nothing more should be downloaded, and the fix; "" where the budget allows more."""
        for folder in sorted(self.folders):
            free = shutil.disk_usage(folder).free
            if free < self.config.min_free_gb * 1e9:
                return (
                    f"{free / 1e9:.2f} GB are free at {folder}, less than download.min_free_gb = "
                    f"{self.config.min_free_gb:g}: free space, set download.keep_raw: false, or lower the setting"
                )
        if self.config.max_raw_gb and self.raw_bytes >= self.config.max_raw_gb * 1e9:
            return (
                f"raw files take {self.raw_bytes / 1e9:.2f} GB, download.max_raw_gb = {self.config.max_raw_gb:g}: cut "
                "them with download.keep_raw: false, which removes each once it is cut, or raise the setting"
            )
        return ""


def raw_bytes(store: Store) -> int:
    """Return the bytes of all raw files that are kept: those stored, less those dropped."""
    columns = ["path", "finished_at", "state", "bytes"]
    rows = store.read("downloads", columns, pc.field("state").isin(["ok", "dropped"])).sort_by("finished_at")
    # by file: one that was fetched again with the same bytes is one file
    last = rows.group_by("path", use_threads=False).aggregate([("state", "last"), ("bytes", "last")])
    return total(rows_with(last, "state_last", "ok")["bytes_last"])


def drop_superseded_raw(store: Store, batch: str) -> int:
    """Remove the raw files of a batch whose source has another file since, which is fetched; return the bytes removed.

    As `drop_cut_raw` does, whatever `download.keep_raw` says: a new clip format is cut from the newer file.
    """
    gone = [row for row in superseded_files(store, batch) if row["path"] and row["path"] != row["current_path"]]
    kept = ("video_id", "attempt", "sha256", "path", "bytes")
    store.append(
        "downloads",
        [
            {name: row[name] for name in kept}
            | {
                "attempt_id": str(uuid.uuid4()),
                "batch": batch,
                "state": "dropped",
                # right after the attempt that fetched it, and before that of the newer file
                "finished_at": row["finished_at"] + timedelta(microseconds=1),
                "message": "its folder has a newer file since",
            }
            for row in gone
        ],
    )
    for row in gone:
        store.delete(row["path"])
        for key in raw_actions(row["path"]):
            store.delete(key)
    return sum(row["bytes"] or 0 for row in gone)


def drop_cut_raw(store: Store, config: Config, batch: str) -> int:
    """Remove the raw files of a batch whose clips are cut, unless `download.keep_raw`; return the bytes removed.

    The row is written first: a kill in between leaves a file that no row names, which `lampworks gc` removes.
    """
    if config.download.keep_raw:
        return 0
    where = (pc.field("batch") == batch) & (pc.field("clip_spec") == clip_spec(config.clips))
    rows = store.read("clippings", ["video_id", "source_sha256", "state"], where).to_pylist()
    cut = {(row["video_id"], row["source_sha256"]) for row in rows if row["state"] == "ok"}
    states = [state for state in download_states(store, batch).values() if (state.video_id, state.sha256) in cut]
    gone = [state for state in states if state.path is not None]
    attempts = store.read("downloads", ["video_id", "finished_at"], pc.field("batch") == batch).sort_by("finished_at")
    fetched = {row["video_id"]: row["finished_at"] for row in attempts.to_pylist()}
    store.append(
        "downloads",
        [
            {
                "attempt_id": str(uuid.uuid4()),
                "video_id": state.video_id,
                "batch": batch,
                "attempt": state.attempts,
                "state": "dropped",
                # after the attempt that fetched it, also where the clock was set back
                "finished_at": moment_after(fetched.get(state.video_id)),
                "sha256": state.sha256,
                "path": state.path,
                "bytes": state.bytes,
            }
            for state in gone
        ],
    )
    for state in gone:
        assert state.path is not None
        store.delete(state.path)
        for key in raw_actions(state.path):
            store.delete(key)
    return sum(state.bytes for state in gone)
