"""Commit the rows of videos that were cut, every few videos or seconds: `clips` first, `clippings` last."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from pipeline.clips.cut_video import CutVideo
from pipeline.clips.replaced import append_replaced, replaced_clips
from pipeline.download.due import with_detector, with_measurements
from pipeline.download.ledger import download_states
from pipeline.errors import RAW_MISSING
from pipeline.sources.faults import clean_message
from pipeline.storage.arrow import is_one_of, pc
from pipeline.storage.rows import fitting_rows
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_COMMIT_VIDEOS, _COMMIT_S = 16, 10.0
_COMMIT_REMOTE_S = 60.0
"""On an object store, where a commit takes some eighty requests."""


@dataclass
class RowWriter:
    """Rows of one batch that wait for the next commit.

    Another run may cut the same batch at the same time: what it has published stays, whatever became of the video here.
    A video's rows replace those that are there (an interrupted run's, an older download's), so that no clip has two
    rows.
    """

    store: Store
    batch: str
    clip_spec: str
    cut_detector: str
    added: int = 0
    """Videos whose rows were committed."""
    waiting: list[CutVideo] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        rows = self.store.read("videos", ["video_id", "channel_id"], pc.field("batch") == self.batch).to_pylist()
        self.commit_s = _COMMIT_S if self.store.is_local else _COMMIT_REMOTE_S
        self.channels = {row["video_id"]: row["channel_id"] for row in rows}

    def add(self, cut: CutVideo) -> None:
        """Take the rows of one video."""
        self.waiting.append(cut)
        if len(self.waiting) >= _COMMIT_VIDEOS or time.monotonic() - self.since > self.commit_s:
            self.flush()

    def flush(self) -> None:
        """Commit the waiting rows, without those of videos that were taken down, or cut by another run, meanwhile.

        Where the store does not take them, they wait on for the next flush.
        """
        if not self.waiting:
            return
        fitting = [_fitting(cut) for cut in self.waiting]
        mine = self._rows_of(fitting)
        replaced = replaced_clips(self.store, mine, [row for cut in fitting for row in cut.clips])
        there = self.store.read("clippings", ["video_id", "state"], mine).to_pylist()
        hidden, cut_meanwhile = taken_down(self.store), self._cut()
        dropped_meanwhile = self._dropped(fitting)
        shown = [
            cut
            for cut in fitting
            if not hidden.hides(cut.clipping["video_id"], self.channels.get(cut.clipping["video_id"]))
            and (cut.clipping["video_id"], cut.clipping["source_sha256"]) not in cut_meanwhile | dropped_meanwhile
        ]
        was_ok = {row["video_id"] for row in there if row["state"] == "ok"}
        # of a flush that ended between the two commits of `_write_failures`
        self._take_back(_late(fitting, cut_meanwhile), {row["video_id"] for row in there if row["state"] == "failed"})
        first_failures = [cut for cut in shown if cut.clipping["state"] != "ok" and _name(cut) not in was_ok]
        if first_failures:
            self._write_failures(first_failures)
        self._write([cut for cut in shown if cut not in first_failures], {row["video_id"] for row in there}, replaced)
        self.added += len(shown)
        self.waiting, self.since = [], time.monotonic()

    def _write(self, shown: list[CutVideo], was_cut: set[str], replaced: list[dict[str, Any]]) -> None:
        if not shown:
            return
        names, where = {_name(cut) for cut in shown}, self._where(shown)
        append_replaced(self.store, [row for row in replaced if row["video_id"] in names])
        if was_cut & names:
            # a kill between the next two commits leaves videos that are due, not clips that nobody counts
            self.store.replace("clippings", [], where=where)
        self.store.replace("clips", [row for cut in shown for row in cut.clips], where=where)
        self.store.replace("clippings", [cut.clipping for cut in shown], where=where)

    def _write_failures(self, failures: list[CutVideo]) -> None:
        """Write the failures of videos that had no clips when last looked at.

        Another run may publish the clips of one of them at this very moment: its rows of `clips` are left alone (they
        count once it has written its row of `clippings`), and a failure stands beside no success.
        """
        where = f"{self._where(failures)} AND state = 'failed'"
        self.store.replace("clippings", [cut.clipping for cut in failures], where)
        self._take_back(_late(failures, self._cut()), {_name(cut) for cut in failures})

    def _take_back(self, late: list[CutVideo], failed: set[str]) -> None:
        """Take away those failures that are there of videos which have their clips."""
        late = [cut for cut in late if _name(cut) in failed]
        if late:
            self.store.replace("clippings", [], f"{self._where(late)} AND state = 'failed'")

    def _where(self, cuts: list[CutVideo]) -> str:
        # ids hold no quotes: see pipeline.ids
        ids = ", ".join(f"'{_name(cut)}'" for cut in cuts)
        return f"batch = '{self.batch}' AND clip_spec = '{self.clip_spec}' AND video_id IN ({ids})"

    def _dropped(self, cuts: list[CutVideo]) -> set[tuple[str, str]]:
        """Return the videos whose file was missing because another run dropped it: they are due for download again."""
        missing = [cut.clipping for cut in cuts if cut.clipping.get("error_class") == RAW_MISSING]
        if not missing:
            return set()
        states = download_states(self.store, self.batch)
        files = {video_id: state.sha256 for video_id, state in states.items() if state.path is not None}
        gone = [row for row in missing if files.get(row["video_id"]) != row["source_sha256"]]
        return {(row["video_id"], row["source_sha256"]) for row in gone}

    def _rows_of(self, cuts: list[CutVideo]) -> pc.Expression:
        names = [_name(cut) for cut in cuts]
        mine = (pc.field("batch") == self.batch) & (pc.field("clip_spec") == self.clip_spec)
        return mine & is_one_of("video_id", names)

    def _cut(self) -> set[tuple[str, str]]:
        """Return the videos of the batch that have their clips, each with the hash of the file they are from."""
        same = (pc.field("batch") == self.batch) & (pc.field("clip_spec") == self.clip_spec)
        same &= with_detector(self.cut_detector) & with_measurements()
        columns = ["video_id", "source_sha256"]
        rows = self.store.read("clippings", columns, same & (pc.field("state") == "ok")).to_pylist()
        return {(row["video_id"], row["source_sha256"]) for row in rows}


def _name(cut: CutVideo) -> str:
    return str(cut.clipping["video_id"])


def _late(cuts: list[CutVideo], cut_meanwhile: set[tuple[str, str]]) -> list[CutVideo]:
    """Return the failures of videos that another run could cut."""
    failures = [cut for cut in cuts if cut.clipping["state"] != "ok"]
    return [cut for cut in failures if (_name(cut), cut.clipping["source_sha256"]) in cut_meanwhile]


def _fitting(cut: CutVideo) -> CutVideo:
    """Return the rows of a video, or where a table cannot hold one of them, a failure with the reason."""
    reasons: list[str] = []

    def failure(row: dict[str, Any], reason: str) -> dict[str, Any]:
        reasons.append(reason)
        return row

    (clipping,) = fitting_rows("clippings", [cut.clipping], failure)
    fitting_rows("clips", cut.clips, failure)
    if not reasons:
        return cut
    kept = {name: clipping[name] for name in ("video_id", "batch", "clip_spec", "source_sha256")}
    message = clean_message(f"video {kept['video_id']}: {reasons[0]}")
    return CutVideo({**kept, "state": "failed", "error_class": "internal", "message": message, "num_clips": 0}, [])
