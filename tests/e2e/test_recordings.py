"""Real recordings of games, menus and desktops go through the path, and every second of them is accounted for."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.snapshots import digests

RECORDINGS = os.environ.get("LAMPWORKS_RECORDINGS")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RECORDINGS, reason="LAMPWORKS_RECORDINGS names no folder of real recordings"),
]


def test_every_recording_ends_as_clips_or_with_a_reason_and_a_second_run_writes_nothing(
    tmp_path: Path, lampworks: Any
) -> None:
    folder = Path(RECORDINGS or "")
    ratings = list(csv.DictReader((folder / "labels.csv").read_text("utf-8").splitlines()))
    files = sorted(path.name for path in (folder / "videos").iterdir())
    root = tmp_path / "root"
    arguments = ("--root", str(root), "--source", f"folder:{folder / 'videos'}", "--select", "+quality_labels")

    lampworks("run", *arguments, "--labels", str(folder / "labels.csv"))
    state = json.loads(lampworks("status", "--root", str(root), "--json"))

    assert state["conserved"] is True
    assert state["videos"]["found"] == state["videos"]["kept"] == len(files)
    downloads, clips = state["downloads"], state["clips"]
    assert downloads["ok"] + sum(downloads["failed"].values()) == len(files)
    assert clips["videos_cut"] + sum(clips["failed"].values()) == downloads["ok"]
    # a rating counts where its recording gave a clip at that second, and is kept as unresolved where it did not
    labels = state["labels"]
    assert sum(labels["by_rating"].values()) + labels["unresolved"] == len(ratings)
    assert sum(labels["by_rating"].values()) >= 0.9 * clips["total"], "hand ratings cover the clips of this folder"

    before = digests(root)
    lampworks("run", *arguments, "--labels", str(folder / "labels.csv"))
    assert digests(root) == before
