"""An HDR recording is cut, flagged, dropped by the default rule and counted; tone-mapped, it is kept."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from classifier.decision.decide import decide
from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.duplicates import find_duplicates
from pipeline.clips.read import read_clips
from pipeline.config import ClipConfig, Config, DecisionConfig
from pipeline.inspect.status import status
from pipeline.inspect.status_text import format_status
from pipeline.inspect.why import why
from pipeline.inspect.why_text import format_why
from pipeline.job import BatchJob
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.patches import hdr_file

BATCH = "2026w47-0001"
RULE = DecisionConfig(mode="flags", drop_flags=("hdr",), middle="keep")
FLAGGED = Config(clips=ClipConfig(seconds=2, fps=8), decision=RULE)
MAPPED = replace(FLAGGED, clips=replace(FLAGGED.clips, hdr="tone-map"))


@pytest.mark.usefixtures("inline")
def test_hdr_clips_are_flagged_dropped_and_counted_or_tone_mapped(store: Store, tmp_path: Path) -> None:
    assert "hdr" in DecisionConfig().drop_flags
    data = hdr_file(tmp_path / "v.mp4", "smpte2084").read_bytes()
    key, now = f"raw/{BATCH}/folder-a.mp4", datetime.now(UTC)
    store.write_blob(key, data)
    store.append("videos", [{"video_id": "folder-a", "batch": BATCH, "verdict": "kept", "channel_id": "UC1"}])
    attempt = {"attempt_id": "a-1", "video_id": "folder-a", "batch": BATCH, "attempt": 1, "state": "ok", "path": key}
    attempt |= {"started_at": now, "finished_at": now, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    store.append("downloads", [attempt])
    for config, flags, changes, reason in (
        (FLAGGED, ["hdr"], [], "drop: flags only, hdr"),
        (MAPPED, [], ["tone-mapped"], "keep: flags only"),
    ):
        job = BatchJob(store, config, home_of(store), batch=BATCH)
        cut_batch(job)
        (clip,) = read_clips(store, config).to_pylist()
        assert (clip["transfer"], clip["changes"]) == ("smpte2084", changes)
        assert [flag for flag in clip["flags"] if flag == "hdr"] == flags
        find_duplicates(job)
        report = decide(job)
        assert [known for known in report.reasons if known.startswith(reason)]
        assert ("drop: flags only" in format_status(status(store, config))) == bool(flags)
        assert "transfer function smpte2084" in format_why(why(store, config, clip["clip_id"]))
