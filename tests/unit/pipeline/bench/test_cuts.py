"""The comparison of detectors of scene cuts: how cuts are matched, and how ours does on real recordings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assets.cli.bench_cuts import run_cuts
from pipeline.bench import cuts
from pipeline.bench.cuts import adaptive_on_frames, bench_cuts, by_clips, compare, recordings, true_cuts
from pipeline.clips.cuts import detect_cuts
from pipeline.errors import UserError

RECORDINGS = os.environ.get("LAMPWORKS_RECORDINGS")


@pytest.mark.parametrize(
    ("seen", "found", "wrong", "missed"),
    [
        ([3.0, 7.0], 2, 0, 0),
        ([2.9, 6.5], 2, 0, 0),  # a frame off; within a span
        ([3.1, 7.1, 6.4], 2, 1, 0),  # each cut is found once
        ([2.8, 6.3], 0, 2, 2),
        ([], 0, 0, 2),
    ],
)
def test_a_cut_is_found_within_a_frame_and_once(seen: list[float], found: int, wrong: int, missed: int) -> None:
    assert compare([(3.0, 3.0), (6.5, 7.0)], seen) == (found, wrong, missed)


def test_the_true_cuts_are_of_twelve_recordings_and_of_others_that_were_held_out() -> None:
    ours, held_out = true_cuts(held_out=False), true_cuts(held_out=True)
    assert (len(ours), len(held_out)) == (12, 14)
    assert not ours.keys() & held_out.keys()
    for spans in [*ours.values(), *held_out.values()]:
        ends = [second for span in spans for second in span]
        assert ends == sorted(ends)


@pytest.mark.heavy
def test_detectors_are_scored_on_the_same_recordings(
    tmp_path: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    scenes = [np.kron(rng.integers(0, 255, (9, 16, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8)) for _ in "ab"]
    (tmp_path / "videos").mkdir()
    make_video(tmp_path / "videos" / "v.mp4", np.stack([scenes[index >= 23] for index in range(40)]), fps=10)
    monkeypatch.setattr(cuts, "true_cuts", lambda held_out: {"v.mp4": [(2.3, 2.3)]})
    scores = {score.detector: score for score in bench_cuts(tmp_path, False, lambda luma, chroma, fps: [5, 23])}
    assert list(scores) == [
        "ours",
        "AdaptiveDetector, same frames",
        "AdaptiveDetector, file",
        "TransNetV2, same frames",
    ]
    assert [(score.found, score.wrong, score.missed) for score in scores.values()] == [(1, 0, 0)] * 3 + [(1, 1, 0)]
    assert (scores["ours"].f1, scores["ours"].interval) == (1.0, (1.0, 1.0))
    assert scores["TransNetV2, same frames"].precision == 0.5
    assert all(score.cpu_s_per_minute > 0 for score in scores.values())


def test_without_recordings_the_command_says_which_variable_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = argparse.Namespace(held_out=False, json=True)
    monkeypatch.delenv("LAMPWORKS_RECORDINGS", raising=False)
    with pytest.raises(UserError, match="set LAMPWORKS_RECORDINGS"):
        run_cuts(arguments)
    monkeypatch.setenv("LAMPWORKS_RECORDINGS", str(tmp_path))
    with pytest.raises(UserError, match="holds no folder `videos`: set LAMPWORKS_RECORDINGS"):
        run_cuts(arguments)
    (tmp_path / "videos").mkdir()
    with pytest.raises(UserError, match=r"v001.mp4' is not there"):
        next(recordings(tmp_path, held_out=False))


@pytest.mark.slow
@pytest.mark.skipif(not RECORDINGS, reason="LAMPWORKS_RECORDINGS names no folder of real recordings")
@pytest.mark.parametrize("held_out", [False, True], ids=["the twelve", "held out"])
def test_on_real_recordings_ours_sees_most_cuts_and_next_to_nothing_else(held_out: bool) -> None:
    ours, theirs = np.zeros(3, int), np.zeros(3, int)
    for recording in recordings(Path(RECORDINGS or ""), held_out):
        ours += compare(recording.cuts, by_clips(detect_cuts)(recording))
        theirs += compare(recording.cuts, adaptive_on_frames(recording))
    found, wrong, missed = ours
    assert found / (found + missed) > 0.85
    assert found / (found + wrong) > 0.95
    assert found / (2 * found + wrong + missed) > theirs[0] / (2 * theirs[0] + theirs[1] + theirs[2])
