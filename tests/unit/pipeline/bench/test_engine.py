"""The bench of the engine: what it prints of this machine, and what it refuses."""

from __future__ import annotations

import json

import pytest

from assets.cli.main import main
from pipeline.bench.engine import EngineRun


def test_it_prints_items_a_second_and_the_overhead_of_an_item(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", "--items", "3", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)
    assert [(run["backend"], run["work_ms"], run["items"], run["failed"]) for run in runs] == [
        ("local", 0, 3, 0),
        ("local", 50, 3, 0),
    ]
    assert all(run["items_s"] > 0 for run in runs)
    run = EngineRun("ray", 50, 101, 2, start_s=5.0, seconds=10.0, failed=0)
    assert (run.items_s, run.overhead_ms) == (10.0, 150.0)


def test_too_few_items_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", "--items", "1"]) != 0
    assert "--items = 1: must be at least 2" in capsys.readouterr().err
