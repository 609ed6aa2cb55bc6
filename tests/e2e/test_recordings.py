"""Real recordings of games, menus and desktops: every second is accounted for, and a good set is kept."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.shards.loader.clips import shard_clips
from pipeline.shards.loader.starts import free_starts
from pipeline.shards.read import current_shards
from pipeline.storage.store import Store
from tests.snapshots import digests

RECORDINGS = os.environ.get("LAMPWORKS_RECORDINGS")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RECORDINGS, reason="LAMPWORKS_RECORDINGS names no folder of real recordings"),
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning"),
]


def test_recordings_become_a_curated_set_whose_precision_is_told_honestly(tmp_path: Path, lampworks: Any) -> None:
    folder, root = Path(RECORDINGS or ""), tmp_path / "root"
    ratings = list(csv.DictReader((folder / "labels.csv").read_text("utf-8").splitlines()))
    files = sorted(path.name for path in (folder / "videos").iterdir())
    # every other recording is rated; the others are what the estimate speaks of
    half = tmp_path / "half.csv"
    rated = [row for row in ratings if files.index(row["video"]) % 2 == 0]
    half.write_text("video,start_s,rating\n" + "".join(f"{r['video']},{r['start_s']},{r['rating']}\n" for r in rated))
    # the other candidates take half a minute longer, and lose
    arguments = (
        "--root", str(root), "--source", f"folder:{folder / 'videos'}", "--select", "+training_shards",
        "--set", "classifier.candidates=[measurements]", "--set", "embedding.enabled=false",
    )  # fmt: skip

    lampworks.here("run", *arguments, "--labels", str(half))
    state = json.loads(lampworks.here("status", "--root", str(root), "--json"))
    store = Store(root)
    threshold = state["curated"]["threshold"]
    assert state["curated"]["keep"] > 0
    assert state["shards"]["current"]
    assert state["shards"]["train"]["samples"] + state["shards"]["val"]["samples"] == state["curated"]["keep"]
    assert threshold["reached"] or " would do, if" in threshold["warning"]
    decided = store.read("curated").to_pylist()
    assert all(row["reason"] and row["kind"] for row in decided)
    assert all(0 <= row["percentile"] <= 1 for row in decided if row["probability"] is not None)

    lampworks.here("run", *arguments, "--labels", str(folder / "labels.csv"))
    now = {row["clip_id"]: row["rating"] for row in store.read("curated").to_pylist()}
    kept = [row["clip_id"] for row in decided if row["rating"] is None and row["decision"] == "keep"]
    good = [now[clip_id] >= 4 for clip_id in kept if now[clip_id] is not None]
    assert len(good) >= 5
    assert threshold["low"] <= sum(good) / len(good) <= threshold["high"]

    state = json.loads(lampworks.here("status", "--root", str(root), "--json"))
    assert state["conserved"] is True
    assert state["videos"]["found"] == state["videos"]["kept"] == len(files)
    downloads, clips = state["downloads"], state["clips"]
    assert downloads["ok"] + sum(downloads["failed"].values()) == len(files)
    assert clips["videos_cut"] + sum(clips["failed"].values()) == downloads["ok"]
    # a rating counts where its recording gave a clip at that second, and is kept as unresolved where it did not
    labels = state["labels"]
    assert sum(labels["by_rating"].values()) + labels["unresolved"] == len(ratings)
    assert sum(labels["by_rating"].values()) >= 0.9 * clips["total"], "hand ratings cover the clips of this folder"
    _no_window_spans_a_cut(store)

    before = digests(root)
    lampworks.here("run", *arguments, "--labels", str(folder / "labels.csv"))
    assert digests(root) == before

    # no game on both sides of a fold: the measurements carry to games that nothing was learned from
    games = f"{folder / 'metadata.jsonl'}:source_game"
    options = ("--candidates", "measurements", "--folds", "5", "--repeats", "5", "--json")
    found = json.loads(lampworks.here("bench", "classifier", "--root", str(root), "--groups", games, *options))
    [by_game] = [row["auc"] for row in found["candidates"] if row["name"] == "measurements"]
    assert not by_game["few"]
    assert by_game["auc"] >= 0.92


def _no_window_spans_a_cut(store: Store) -> None:
    """Compare the cut times of the training set with those of the clips; cut clips are kept with them."""
    cuts = {row["clip_id"]: row["cut_ms"] for row in store.read("clips", ["clip_id", "cut_ms"]).to_pylist()}
    version = current_shards(store)
    assert version is not None
    shards = shard_clips(store, version, "train")
    found = [clip for group in range(len(shards.rows)) for clip in shards.read(group)]
    assert any(clip.cuts for clip in found)
    for clip in found:
        assert len(clip.cuts) == len(cuts[clip.clip_id] or [])
        starts = free_starts(clip.num_frames, clip.cuts, 16)
        spans = [(starts[number], starts[number] + 16) for number in range(starts.total)]
        assert not [span for span in spans for cut in clip.cuts if span[0] < cut < span[1]]
