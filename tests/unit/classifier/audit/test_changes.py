import numpy as np
import pytest

from classifier.audit.changes import Changes, changes_since
from classifier.audit.pairs import pair_decisions
from classifier.pool import load_pool
from pipeline.clips.features import FEATURE_NAMES
from pipeline.job import Job
from tests.unit.classifier.audit.conftest import Verdict, add_footage, decide_as

KEEP: Verdict = ("keep", "score 0.9 >= 0.7", 0.9)
DROP: Verdict = ("drop", "score 0.1 < 0.3", 0.1)
FLAG: Verdict = ("drop", "flag: still", 0.8)
REVIEW: Verdict = ("review", "score 0.5 between 0.3 and 0.7", 0.5)


def changes_of(job: Job, before: dict[str, Verdict], now: dict[str, Verdict], **versions: str) -> Changes:
    decide_as(job.store, before)
    decide_as(job.store, now, **versions)
    found = changes_since(load_pool(job.store, job.config), part_rows=3)
    assert found is not None
    rows = found[1].to_pylist()
    assert [row["clip_id"] for row in rows] == sorted(row["clip_id"] for row in rows)
    job.store.replace("curation_changes", found[1])
    return found[0]


def test_the_first_decision_has_no_changes(job: Job):
    clips = add_footage(job.store, job.config, ["folder-a"], 2)
    decide_as(job.store, dict.fromkeys(clips, KEEP))
    assert changes_since(load_pool(job.store, job.config)) is None


def test_what_entered_and_left_is_listed_with_the_reason_before_and_now(job: Job):
    a, b, c, d = add_footage(job.store, job.config, ["folder-a"], 4)
    found = changes_of(job, {a: KEEP, b: DROP, c: KEEP, d: REVIEW}, {a: KEEP, b: KEEP, c: FLAG, d: DROP})
    assert {name: found[name] for name in ("clips", "kept_before", "kept", "entered", "left", "flipped")} == {  # type: ignore[literal-required]
        "clips": 4, "kept_before": 2, "kept": 2, "entered": 1, "left": 1, "flipped": 3,
    }  # fmt: skip
    assert found["churn"] == 0.75
    assert found["why"] == [
        {"change": "entered", "before": "drop: score", "now": "keep: score", "clips": 1},
        {"change": "left", "before": "keep: score", "now": "drop: flag still", "clips": 1},
    ]
    entered, left = job.store.read("curation_changes").sort_by("clip_id").to_pylist()
    assert (entered["clip_id"], entered["change"], entered["reason_before"], entered["reason"]) == (
        b, "entered", "score 0.1 < 0.3", "score 0.9 >= 0.7",
    )  # fmt: skip
    assert (left["clip_id"], left["change"], left["reason"], left["probability_before"]) == (
        c,
        "left",
        "flag: still",
        0.9,
    )
    assert left["video_id"] == "folder-a"


def test_new_clips_enter_and_clips_that_are_gone_leave(job: Job):
    a, b = add_footage(job.store, job.config, ["folder-a"], 2)
    c, d = add_footage(job.store, job.config, ["folder-b"], 2, batch="2026w48-0001")
    found = changes_of(job, {a: KEEP, b: DROP}, {c: KEEP, d: DROP})
    assert (found["new"], found["gone"], found["entered"], found["left"]) == (2, 2, 1, 1)
    assert found["churn"] is None
    assert found["why"] == [
        {"change": "entered", "before": "new clip", "now": "keep: score", "clips": 1},
        {"change": "left", "before": "keep: score", "now": "gone", "clips": 1},
    ]
    rows = {row["clip_id"]: row for row in job.store.read("curation_changes").to_pylist()}
    assert (rows[a]["decision"], rows[a]["video_id"], rows[a]["batch"]) == (None, "folder-a", "2026w47-0001")
    assert (rows[c]["decision_before"], rows[c]["batch"]) == (None, "2026w48-0001")


@pytest.mark.parametrize("part_rows", [1, 5, 1000])
def test_parts_hold_every_clip_once_in_whatever_order_it_was_written(job: Job, part_rows: int):
    clips = [
        clip
        for number in range(6)
        for clip in add_footage(job.store, job.config, [f"folder-{number}"], 3, batch=f"2026w4{number}-0001")
    ]
    decide_as(job.store, dict.fromkeys(clips[3:], DROP))
    decide_as(job.store, dict.fromkeys(clips[:15], KEEP))
    pairs = pair_decisions(job.store, part_rows)
    parts = [part["clip_id"].to_pylist() for part in pairs.parts()]
    assert sorted(clip for part in parts for clip in part) == sorted(clips)
    assert (pairs.clips, pairs.clips_before) == (15, 15)
    assert len(parts) == {1: 6, 5: 6, 1000: 1}[part_rows]


def test_probabilities_and_measurements_drift_when_other_footage_comes(job: Job):
    random = np.random.default_rng(0)
    old = add_footage(job.store, job.config, [f"folder-a{k}" for k in range(10)], 4)
    new = add_footage(job.store, job.config, [f"folder-b{k}" for k in range(10)], 4)
    rows = job.store.read("clips").to_pylist()
    for row in rows:
        row["features"] = random.normal(0, 1, len(FEATURE_NAMES)).tolist()
        if row["clip_id"] in new:
            row["features"][3] += 5
    job.store.replace("clips", rows)
    before: dict[str, Verdict] = {clip: ("drop", "score", float(random.uniform(0, 0.5))) for clip in old}
    found = changes_of(job, before, {**before, **dict.fromkeys(new, ("drop", "score", 0.9))})
    assert found["probabilities"] is not None
    assert found["probabilities"]["ks"] == pytest.approx(0.5)
    assert found["probabilities"]["psi"] > 0.25
    assert found["measurements"][0]["name"] == FEATURE_NAMES[3]
    assert found["measurements"][0]["ks"] == pytest.approx(0.5, abs=0.05)
    assert found["measurements"][1]["psi"] < found["measurements"][0]["psi"]


def test_the_same_clips_have_the_same_measurements(job: Job):
    a, b = add_footage(job.store, job.config, ["folder-a"], 2)
    found = changes_of(job, {a: KEEP, b: DROP}, {a: KEEP, b: KEEP})
    assert found["measurements"] == []
    assert found["probabilities"] is not None


def test_two_models_agree_as_far_as_they_rank_the_rated_clips_alike(job: Job):
    clips = add_footage(job.store, job.config, [f"folder-a{k}" for k in range(6)], 4)
    ranks = {clip: ("drop", "score", place / 30) for place, clip in enumerate(clips)}
    backwards = {clip: ("drop", "score", 1 - place / 30) for place, clip in enumerate(clips)}
    found = changes_of(job, ranks, backwards, model="m2", rating=3)
    assert found["models_agree"] == {
        "rank_correlation": pytest.approx(-1), "clips": 24, "sources": 6, "few": False,
    }  # fmt: skip
    assert (found["model_before"], found["model"]) == ("m", "m2")


def test_one_model_has_nothing_to_agree_with(job: Job):
    a, b = add_footage(job.store, job.config, ["folder-a"], 2)
    assert changes_of(job, {a: KEEP, b: DROP}, {a: DROP, b: DROP})["models_agree"] is None
