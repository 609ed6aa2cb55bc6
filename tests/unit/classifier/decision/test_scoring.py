"""Scores: every clip of a batch has one row, whatever happens to its frames, and nothing is written twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from classifier.decision.scoring import batch_is_scored, score_batch
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from tests.snapshots import snapshot

FIRST, SECOND = "2026w47-0001", "2026w47-0002"


def test_every_clip_of_a_batch_gets_a_score_once(trained):
    report = score_batch(trained.of_batch(FIRST))
    assert (report.clips, report.written, report.failed) == (12, True, {})
    assert sum(report.histogram) == 12
    rows = trained.store.read("scores").to_pylist()
    assert {row["batch"] for row in rows} == {FIRST}
    # the clips of videos with an odd number are good
    good = [row["probability"] for row in rows if int(row["clip_id"][6:8]) % 2]
    bad = [row["probability"] for row in rows if not int(row["clip_id"][6:8]) % 2]
    assert min(good) > max(bad)
    assert batch_is_scored(trained.store, FIRST)
    assert not batch_is_scored(trained.store, SECOND, trained.config)
    before = snapshot(trained.store.root)
    assert not score_batch(trained.of_batch(FIRST)).written
    assert snapshot(trained.store.root) == before


def test_scores_do_not_depend_on_what_is_scored_beside(scored, scored_writer):
    before = {row["clip_id"]: row for row in scored.store.read("scores").to_pylist()}
    scored_writer.add("a-late-one", "g", batch=FIRST)
    assert not batch_is_scored(scored.store, FIRST)
    assert score_batch(scored.of_batch(FIRST)).clips == 13
    after = {row["clip_id"]: row for row in scored.store.read("scores").to_pylist()}
    assert {clip: after[clip] for clip in before} == before


def test_a_clip_that_shows_another_picture_since_is_scored_again(scored):
    rows = scored.store.read("clips").to_pylist()
    changed = next(row for row in rows if row["batch"] == FIRST)
    assert batch_is_scored(scored.store, FIRST)
    scored.store.replace("clips", [row | {"sha256": "0" * 64} if row is changed else row for row in rows])
    assert not batch_is_scored(scored.store, FIRST)
    assert score_batch(scored.of_batch(FIRST)).written
    assert batch_is_scored(scored.store, FIRST)
    # a score from before the hash was kept counts
    scores = scored.store.read("scores").to_pylist()
    scored.store.replace("scores", [row | {"clip_sha256": None} for row in scores])
    assert batch_is_scored(scored.store, FIRST)


def test_a_clip_with_unreadable_frames_gets_a_row_with_the_reason(trained, damage_frames):
    damaged = damage_frames(trained.store)
    report = score_batch(trained.of_batch(damaged["batch"]))
    assert list(report.failed) == [damaged["clip_id"]]
    assert batch_is_scored(trained.store, damaged["batch"])
    row = next(row for row in trained.store.read("scores").to_pylist() if row["clip_id"] == damaged["clip_id"])
    assert (row["probability"], row["error_class"]) == (None, "unreadable_frames")


def test_a_tar_that_is_gone_costs_only_its_own_clips(trained):
    row = trained.store.read("clips").sort_by("clip_id").to_pylist()[0]
    Path(trained.store.url(row["tar"])).unlink()
    assert len(score_batch(trained.of_batch(row["batch"])).failed) == 2


def test_scoring_uses_the_models_own_sizes(trained):
    wider = replace(trained, config=replace(trained.config, classifier=ClassifierConfig(threads=1, device="cpu")))
    score_batch(trained.of_batch(FIRST))
    expected = trained.store.read("scores").to_pylist()
    trained.store.replace("scores", [])
    score_batch(wider.of_batch(FIRST))
    assert trained.store.read("scores").to_pylist() == expected


def test_without_a_classifier_nothing_is_scored(job, clips):
    with pytest.raises(UserError, match="no quality classifier is published"):
        score_batch(job.of_batch(FIRST))
    assert not batch_is_scored(job.store, FIRST)
