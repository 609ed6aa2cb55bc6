"""The benchmark of the search for copies: it finds what it planted, and prints what a root holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets.cli.main import main
from pipeline.clips.duplicates import find_duplicates
from pipeline.storage.store import Store
from tests.synthetic import CONFIG, finished_store, job_of


@pytest.mark.slow
def test_made_up_copies_are_found_and_growth_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "dedup", "--clips", "4800", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["clips"] for run in found["runs"]] == [300, 1200, 4800]
    last = found["runs"][-1]
    assert last["planted"] > 200
    assert last["found"] >= 0.98 * last["planted"]
    assert last["wrong"] == 0
    assert last["look_alikes"] > 500, "those of one screen are kept apart"
    assert 0 < last["proven"] < last["tried"]
    assert last["verified_share"] == last["proven"] / last["tried"]
    # each clip is compared with a bounded number of others, however many look alike
    assert last["tried"] <= 16 * last["clips"]
    assert set(found["slopes"]) == {"cpu_s", "memory_mb"}


def test_a_root_is_searched_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store: Store = finished_store(tmp_path / "root")
    find_duplicates(job_of(store, CONFIG))
    versions = {name: store.version(name) for name in ("clips", "duplicates")}
    assert main(["bench", "dedup", "--root", str(tmp_path / "root")]) == 0
    printed = capsys.readouterr().out
    (copy,) = [row for row in store.read("duplicates").to_pylist() if not row["is_representative"]]
    assert f"  {copy['representative']} represents {copy['clip_id']} (+0 s)" in printed
    assert "verified     1 copies (0 mirrored, 0 shifted)" in printed
    assert versions == {name: store.version(name) for name in versions}


def test_too_few_clips_are_refused() -> None:
    assert main(["bench", "dedup", "--clips", "10"]) == 2
