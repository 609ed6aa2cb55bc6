"""The benchmark of downloads: both sides fetch everything, and what they cost is counted to the last child."""

from __future__ import annotations

import json

import pytest

from assets.cli.main import main
from pipeline.bench.acquisition import cpu_seconds


@pytest.mark.slow
def test_both_sides_fetch_every_video_and_the_command_prints_what_each_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "acquisition", "--videos", "2", "--rounds", "1", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["videos"] == 2
    assert found["bytes"] > 0
    (bare,), (download,), (search,) = found["bare"], found["download"], found["search"]
    assert min(bare, download, search) > 0
    assert found["ratio"] == download / bare
    assert found["ratio_with_search"] == (search + download) / bare
    assert len([line for line in printed.err.splitlines() if line.startswith("round 1: bare yt-dlp")]) == 1


def test_no_videos_are_refused() -> None:
    assert main(["bench", "acquisition", "--videos", "0"]) == 2


def test_the_cpu_of_children_is_counted() -> None:
    idle = cpu_seconds("pass")
    busy = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}])"
    assert cpu_seconds(child) > idle + 0.4
