"""The benchmark of downloads: both sides fetch everything, and what they cost is counted to the last child."""

from __future__ import annotations

import json

import pytest

from assets.cli.main import main
from pipeline.bench.acquisition import _cpu_seconds, bench_acquisition


def test_both_sides_fetch_every_video_and_cost_something() -> None:
    told: list[str] = []
    found = bench_acquisition(videos=3, rounds=1, on_progress=told.append)
    assert (found.videos, len(told)) == (3, 1)
    assert min(found.bare + found.download + found.search) > 0
    assert found.ratio_with_search > found.ratio > 0


def test_the_cpu_of_children_is_counted() -> None:
    idle = _cpu_seconds("pass")
    busy = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}])"
    assert _cpu_seconds(child) > idle + 0.4


def test_the_command_prints_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "acquisition", "--videos", "2", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["videos"] == 2
    assert found["ratio"] == found["download"][0] / found["bare"][0]
    assert main(["bench", "acquisition", "--videos", "0"]) == 2
