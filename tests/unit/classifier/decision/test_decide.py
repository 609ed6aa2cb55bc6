"""Scores and decisions: every clip one row, every decision a reason, and nothing written when nothing changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from classifier.decision.decide import decide, decision_is_current
from classifier.decision.scoring import batch_is_scored, score_batch
from classifier.labels.sync import import_labels
from classifier.training.train import KIND
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from pipeline.storage.models_table import newest_model
from pipeline.storage.takedown import request_takedown
from tests.snapshots import snapshot

BATCHES = ("2026w47-0001", "2026w47-0002")


def score_all(store, config) -> None:
    for batch in BATCHES:
        score_batch(store, config, batch)


def decisions(store) -> dict[str, tuple[str, str]]:
    return {row["clip_id"]: (row["decision"], row["reason"]) for row in store.read("curated").to_pylist()}


def rate(store, config, tmp_path, ratings: dict[str, int], annotator: str = "person") -> None:
    path = tmp_path / "ratings.csv"
    path.write_text("clip_id,rating\n" + "".join(f"{clip},{rating}\n" for clip, rating in ratings.items()))
    import_labels(store, path, annotator, config)


# -- scores


def test_every_clip_of_a_batch_gets_a_score_once(trained, config):
    report = score_batch(trained, config, BATCHES[0])
    assert (report.clips, report.written, report.failed) == (12, True, {})
    assert sum(report.histogram) == 12
    rows = trained.read("scores").to_pylist()
    assert {row["batch"] for row in rows} == {BATCHES[0]}
    good = {row["clip_id"]: row["probability"] for row in rows}
    assert min(p for clip, p in good.items() if int(clip[6:8]) % 2) > max(
        p for clip, p in good.items() if not int(clip[6:8]) % 2
    )
    assert batch_is_scored(trained, BATCHES[0])
    assert not batch_is_scored(trained, BATCHES[1], config)
    before = snapshot(trained.root)
    assert not score_batch(trained, config, BATCHES[0]).written
    assert snapshot(trained.root) == before


def test_scores_do_not_depend_on_what_is_scored_beside(trained, config, make_writer):
    score_all(trained, config)
    before = {row["clip_id"]: row for row in trained.read("scores").to_pylist()}
    make_writer(trained, config).add("a-late-one", "g", batch=BATCHES[0])
    assert not batch_is_scored(trained, BATCHES[0])
    assert score_batch(trained, config, BATCHES[0]).clips == 13
    after = {row["clip_id"]: row for row in trained.read("scores").to_pylist()}
    assert {clip: after[clip] for clip in before} == before


def test_one_unreadable_clip_is_a_row_with_a_reason(trained, config):
    row = trained.read("clips").sort_by("clip_id").to_pylist()[0]
    path = Path(trained.url(row["tar"]))
    data = bytearray(path.read_bytes())
    data[row["frames_offset"] : row["frames_offset"] + 100] = bytes(100)
    path.write_bytes(bytes(data))
    report = score_batch(trained, config, row["batch"])
    assert list(report.failed) == [row["clip_id"]]
    assert batch_is_scored(trained, row["batch"])
    score_batch(trained, config, BATCHES[1])
    trained.replace("labels", [])
    decide(trained, config)
    assert decisions(trained)[row["clip_id"]] == ("drop", "no score: unreadable_frames")


def test_a_tar_that_is_gone_costs_its_own_clips_only(trained, config):
    row = trained.read("clips").sort_by("clip_id").to_pylist()[0]
    Path(trained.url(row["tar"])).unlink()
    assert len(score_batch(trained, config, row["batch"]).failed) == 2


def test_scoring_uses_the_models_own_sizes(trained, config):
    wider = replace(config, classifier=ClassifierConfig(threads=1, device="cpu"))
    score_batch(trained, config, BATCHES[0])
    one = trained.read("scores").to_pylist()
    trained.replace("scores", [])
    score_batch(trained, wider, BATCHES[0])
    assert trained.read("scores").to_pylist() == one


def test_without_a_classifier_nothing_is_scored_or_decided(store, config, pool_writer):
    pool_writer.add("a", "g")
    with pytest.raises(UserError, match="no quality classifier is published"):
        score_batch(store, config, BATCHES[0])
    with pytest.raises(UserError, match=r"decision\.mode = flags"):
        decide(store, config)
    assert not batch_is_scored(store, BATCHES[0])


# -- decisions


def test_every_clip_is_decided_with_a_reason_once(trained, config):
    score_all(trained, config)
    trained.replace("labels", [])  # the score alone
    report = decide(trained, config)
    assert sum(report.counts.values()) == 24
    assert report.counts["keep"] >= 10
    assert report.counts["drop"] >= 10
    assert report.keep_rate == report.counts["keep"] / 24
    assert set(report.reasons) <= {"keep: score", "drop: score", "review: score between"}
    rows = trained.read("curated").to_pylist()
    assert [row["clip_id"] for row in rows] == sorted(row["clip_id"] for row in rows)
    assert {row["model_version"] for row in rows} == {newest_model(trained, KIND).model_id}
    kept = next(row for row in rows if row["decision"] == "keep")
    cut = int(report.threshold["threshold"] * 1000) / 1000
    assert kept["reason"] == f"score {int(kept['probability'] * 1000) / 1000:.3f} >= {cut:.3f}"
    assert {row["split"] for row in rows} == {"train", "val"}
    assert decision_is_current(trained, config)
    before = snapshot(trained.root)
    again = decide(trained, config)
    assert (again.written, again.counts, again.reasons) == (False, report.counts, report.reasons)
    assert snapshot(trained.root) == before


def test_a_rule_that_changes_changes_the_decision_and_nothing_else(trained, config):
    score_all(trained, config)
    trained.replace("labels", [])
    decide(trained, config)
    versions = {name: trained.version(name) for name in ("scores", "models", "clips")}
    strict = replace(config, decision=replace(config.decision, target_precision=0.999, middle="drop", drop_below=0.0))
    assert not decision_is_current(trained, strict)
    assert decide(trained, strict).written
    assert {name: trained.version(name) for name in versions} == versions


def test_a_persons_rating_wins_over_the_score_and_the_stand_ins_does_not(trained, config, tmp_path):
    score_all(trained, config)
    trained.replace("labels", [])
    ids = sorted(trained.read("clips", ["clip_id"])["clip_id"].to_pylist())
    bad, good = ids[0], next(clip for clip in ids if clip.startswith("video-01"))
    rate(trained, config, tmp_path, {bad: 5, good: 1})
    rate(trained, config, tmp_path, {ids[1]: 5}, annotator="arcade")
    decide(trained, config)
    found = decisions(trained)
    assert found[bad] == ("keep", "rated 5")
    assert found[good] == ("drop", "rated 1")
    assert found[ids[1]][0] == "drop"
    assert found[ids[1]][1].startswith("score ")
    assert {r["clip_id"]: r["rating"] for r in trained.read("curated").to_pylist()}[ids[1]] == 5


def test_flags_and_copies_drop_clips_and_a_rating_lifts_a_flag(trained, config, make_writer, tmp_path):
    writer = make_writer(trained, config)
    still, rated = writer.add("flagged", "gg", flags={0: ["still", "overlay"], 1: ["black"]}, batch=BATCHES[1])
    only_overlay = writer.add("overlaid", "g", flags={0: ["overlay"]}, batch=BATCHES[1])[0]
    copy, orphan = writer.add("copies", "gg", batch=BATCHES[1])
    trained.append("duplicates", [
        {"clip_id": copy, "representative": only_overlay, "is_representative": False, "distance": 1, "group_size": 2},
        {"clip_id": only_overlay, "representative": only_overlay, "is_representative": True, "group_size": 2},
        {"clip_id": orphan, "representative": "gone-000000000-ab", "is_representative": False, "group_size": 2},
    ])  # fmt: skip
    rate(trained, config, tmp_path, {rated: 5, copy: 5})
    score_all(trained, config)
    report = decide(trained, config)
    found = decisions(trained)
    assert found[still] == ("drop", "flag: still")
    assert found[rated] == ("keep", "rated 5")
    assert found[only_overlay][1].startswith("score")
    assert found[copy] == ("drop", f"duplicate of {only_overlay}")
    assert found[orphan][1].startswith("score")
    assert report.reasons["drop: flag still"] == 1
    both = replace(config, decision=replace(config.decision, keep_duplicates=True))
    decide(trained, both)
    assert decisions(trained)[copy] == ("keep", "rated 5")


def test_batches_of_another_model_stop_the_decision_by_name(trained, config):
    score_batch(trained, config, BATCHES[0])
    with pytest.raises(UserError, match=r"1 of 2 batches are not scored by .*: 2026w47-0002\. Score them first"):
        decide(trained, config)
    score_batch(trained, config, BATCHES[1])
    rows = trained.read("scores").to_pylist()
    trained.replace("scores", [{**r, "model_version": "older"} if r["batch"] == BATCHES[0] else r for r in rows])
    with pytest.raises(UserError, match="2026w47-0001"):
        decide(trained, config)
    assert trained.version("curated") == -1


def test_flags_alone_decide_without_labels_and_say_so(store, flags_config, pool_writer):
    still, overlay, fine = pool_writer.add("a", "ggg", flags={0: ["still"], 1: ["overlay"]})
    report = decide(store, flags_config)
    assert decisions(store) == {
        still: ("drop", "flags only: still"),
        overlay: ("review", "flags only: overlay"),
        fine: ("keep", "flags only: none"),
    }
    assert (report.mode, report.model_version, report.threshold) == ("flags", "none", {})
    assert decision_is_current(store, flags_config)
    assert not decide(store, flags_config).written


def test_a_takedown_takes_its_clips_out_of_the_decision(trained, config):
    score_all(trained, config)
    decide(trained, config)
    request_takedown(trained, "video", "video-03", "asked")
    assert not decision_is_current(trained, config)
    assert sum(decide(trained, config).counts.values()) == 22
    assert not any(clip.startswith("video-03") for clip in decisions(trained))


def test_all_of_an_empty_store_is_no_clip(store, flags_config):
    report = decide(store, flags_config)
    assert (report.counts, report.keep_rate) == ({"keep": 0, "drop": 0, "review": 0}, 0.0)
