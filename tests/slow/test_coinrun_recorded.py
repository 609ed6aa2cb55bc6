"""CoinRun is recorded by real procgen, and its recordings are what the folder source reads, with their actions.

`make coinrun` makes the environment; another one can be named by LAMPWORKS_COINRUN_PYTHON.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.actions.sidecar import read_sidecar
from pipeline.coinrun.player import ACTIONS
from pipeline.coinrun.record import CoinRunSettings, check_environment, record_coinrun
from pipeline.sources.folder import FolderSource

_DEFAULT = Path(__file__).parents[2] / "build" / "coinrun" / ".venv" / "bin" / "python"
PYTHON = Path(os.environ.get("LAMPWORKS_COINRUN_PYTHON") or _DEFAULT)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PYTHON.is_file(), reason=f"{PYTHON} is not there: `make coinrun` makes it"),
]
SMALL = CoinRunSettings(levels=3, steps=60)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_the_environment_has_the_pinned_procgen_and_a_numpy_of_its_own() -> None:
    versions = check_environment(PYTHON)
    assert versions["procgen"].startswith("0.10.7")
    assert versions["numpy"].startswith("1.")


def test_recordings_have_a_row_of_actions_for_each_transition_and_are_what_the_folder_source_reads(
    tmp_path: Path,
) -> None:
    found = record_coinrun(SMALL, tmp_path, PYTHON)
    assert found.new == len(SMALL.episodes) == 6
    assert found.manifest == {**json.loads((tmp_path / "coinrun.json").read_text("utf-8")), "agents": SMALL.agents}
    candidates = list(FolderSource(tmp_path).search())
    assert len(candidates) == 6
    # all recordings of a level are of one channel, so that none of them is held out without the others
    assert {candidate.channel_id for candidate in candidates} == {f"coinrun-level-{level}" for level in range(3)}
    moved = []
    for video in sorted(tmp_path.glob("*.mp4")):
        frames = frames_of(video)
        assert frames.shape[1:] == (128, 128, 3)
        sidecar = video.with_suffix(".actions.jsonl")
        rows = read_sidecar(sidecar.name, sidecar.read_bytes())
        assert len(rows) in (len(frames), len(frames) - 1)
        assert rows.labels is not None
        assert set(rows.labels) <= set(ACTIONS)
        moved.append(np.abs(np.diff(frames.astype(int), axis=0)).mean())
    assert min(moved) > 0.5, "the picture changes: the game was played"
    runner = read_sidecar("a.jsonl", (tmp_path / "level-00000-runner.actions.jsonl").read_bytes())
    assert set(runner.labels or ()) <= {"right", "right-up", "left"}


def test_what_is_recorded_is_kept_and_what_is_missing_becomes_the_same_again(tmp_path: Path) -> None:
    record_coinrun(SMALL, tmp_path, PYTHON)
    first = hashes(tmp_path)
    # as after a kill: a video without its actions, and a temporary file
    (tmp_path / "level-00001-runner.actions.jsonl").unlink()
    (tmp_path / "coinrun.json").unlink()
    assert record_coinrun(SMALL, tmp_path, PYTHON).new == 1
    assert hashes(tmp_path) == first
    more = CoinRunSettings(levels=4, steps=60)
    assert record_coinrun(more, tmp_path, PYTHON).new == 2
    again = hashes(tmp_path)
    assert {name: again[name] for name in first if name != "coinrun.json"} == {
        name: value for name, value in first.items() if name != "coinrun.json"
    }
