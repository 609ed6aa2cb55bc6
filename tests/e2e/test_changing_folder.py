"""`lampworks run` and `lampworks retry` on a folder that somebody records into, links and mends."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.folders import play
from tests.media import at_rest, write_video

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning"),
]
TYPESCRIPT = "export function jump(player: Player): void {}\n" * 20


def state(lampworks: Any, root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lampworks.here("status", "--root", str(root), "--json"))
    assert found["conserved"] is True
    return found


def test_a_folder_that_changes_is_followed_and_what_failed_is_tried_again(
    tmp_path: Path, tiny_settings: dict[str, Any], lampworks: Any
) -> None:
    videos, disk, root = tmp_path / "videos", tmp_path / "disk", tmp_path / "root"
    good = write_video(videos / "good.mp4", play(1, 4), fps=10)
    write_video(disk / "linked.mp4", play(2, 4), fps=10)
    (videos / "disk").symlink_to(disk)
    (videos / "good.info.json").write_text('{"title": "Streamer plays", "is_live": true, "live_status": "is_live"}')
    (videos / "bad.mp4").write_bytes(b"no video")
    (videos / "code.ts").write_text(TYPESCRIPT)
    at_rest(tmp_path, hours=2)
    whole = write_video(tmp_path / "whole.mp4", play(3, 4), fps=10).read_bytes()
    (videos / "recording.mp4").write_bytes(whole[: len(whole) // 2])
    # an hour: a run takes a minute on a busy machine, and the recording would be at rest meanwhile
    settings = {**tiny_settings, "clips": {"seconds": 2}, "source": {"settle_s": 3600.0}}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings), "utf-8")
    run = ("run", "--root", str(root), "--source", f"folder:{videos}", "--config", str(config), "--select", "+clips")

    output = lampworks.here(*run)
    assert "1 file not read: 1 .ts (no video by its content)" in output
    found = state(lampworks, root)
    assert (found["downloads"]["ok"], found["downloads"]["failed"]) == (2, {"invalid_media": 1})
    assert found["downloads"]["pending_by_class"] == {"unfinished": 1}
    assert found["clips"]["total"] == 4
    assert "still being written" in lampworks.here("why", "recording.mp4", "--root", str(root))

    # the recording is closed, another one grew, and a class is misspelt
    (videos / "recording.mp4").write_bytes(whole)
    write_video(good, play(1, 6), fps=10)
    for path in (good, videos / "recording.mp4"):
        os.utime(path, (time.time() - 7200,) * 2)
    lampworks.here(*run)
    found = state(lampworks, root)
    assert (found["downloads"]["ok"], found["downloads"]["pending"], found["clips"]["total"]) == (3, 0, 7)
    refused = lampworks.here("retry", "--root", str(root), "--class", "invalid", code=2)
    assert "these classes have: 1 invalid_media" in refused
    made = json.loads(lampworks.here("retry", "--root", str(root), "--json"))
    assert made["due"] == {"downloads": {"invalid_media": 1}}
    lampworks.here(*run)
    assert "failed after 2 attempts" in lampworks.here("why", "bad.mp4", "--root", str(root))
    assert "nothing was started" in lampworks.here(*run)
