"""Decisions: every clip is decided once, with a reason, and nothing is written when nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from classifier.decision.decide import decide, decision_is_current
from classifier.decision.pool_state import load_state
from classifier.decision.scoring import score_batch
from classifier.labels.import_file import import_labels
from classifier.training.published import latest_classifier
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.shards.write import write_shards
from pipeline.storage.takedown import request_takedown
from tests.snapshots import snapshot
from tests.synthetic import finished_store, job_of

BATCHES = ("2026w47-0001", "2026w47-0002")


def decisions(job: Job) -> dict[str, tuple[str, str]]:
    return {row["clip_id"]: (row["decision"], row["reason"]) for row in job.store.read("curated").to_pylist()}


def with_rule(job: Job, **rule: object) -> Job:
    """Return the job with other settings of `decision`."""
    return replace(job, config=replace(job.config, decision=replace(job.config.decision, **rule)))


@pytest.fixture
def rate(tmp_path) -> Callable[..., None]:
    """A function that imports ratings by clip id."""

    def rate(job: Job, ratings: dict[str, int], annotator: str = "person") -> None:
        path = tmp_path / "ratings.csv"
        path.write_text("clip_id,rating\n" + "".join(f"{clip},{rating}\n" for clip, rating in ratings.items()))
        import_labels(job.store, path, annotator, job.config)

    return rate


@pytest.fixture
def by_flags(job) -> Job:
    """Work on an empty store that decides without a classifier."""
    return with_rule(job, mode="flags")


def test_every_clip_is_decided_with_a_reason_once(scored):
    report = decide(scored)
    rows = scored.store.read("curated").to_pylist()
    assert len(rows) == sum(report.counts.values()) == 24
    assert [row["clip_id"] for row in rows] == sorted(row["clip_id"] for row in rows)
    assert {row["model_version"] for row in rows} == {latest_classifier(scored.store).model_id}
    assert {row["split"] for row in rows} == {"train", "val"}
    assert set(report.reasons) <= {"keep: score", "drop: score", "review: score between"}
    assert report.counts["keep"] >= 1
    assert report.keep_rate == report.counts["keep"] / 24
    # the clips of videos with an even number are bad
    assert all(row["decision"] == "drop" for row in rows if int(row["clip_id"][6:8]) % 2 == 0)
    assert decision_is_current(scored.store, scored.config)
    before = snapshot(scored.store.root)
    again = decide(scored)
    assert (again.written, again.counts, again.reasons) == (False, report.counts, report.reasons)
    assert snapshot(scored.store.root) == before


def test_the_probability_alone_decides_where_there_are_no_flags_copies_or_labels(scored):
    report = decide(scored)
    keep_from = report.threshold["threshold"]
    drop_below = min(scored.config.decision.drop_below, keep_from)
    for row in scored.store.read("curated").to_pylist():
        probability = row["probability"]
        expected = "keep" if probability >= keep_from else "drop" if probability < drop_below else "review"
        assert row["decision"] == expected
        shown = [f"{int(value * 1000) / 1000:.3f}" for value in (probability, keep_from, drop_below)]
        reasons = {
            "keep": "score {0} >= {1}", "drop": "score {0} < {2}", "review": "score {0} between {2} and {1}",
        }  # fmt: skip
        assert row["reason"] == reasons[expected].format(*shown)


def test_a_rule_that_changes_changes_the_decision_and_nothing_else(scored):
    decide(scored)
    versions = {name: scored.store.version(name) for name in ("scores", "models", "clips")}
    strict = with_rule(scored, target_precision=0.999, middle="drop", drop_below=0.0)
    assert not decision_is_current(strict.store, strict.config)
    assert decide(strict).written
    assert {name: scored.store.version(name) for name in versions} == versions


def test_a_persons_rating_wins_over_the_score_and_the_stand_ins_does_not(scored, rate):
    ids = sorted(scored.store.read("clips", ["clip_id"])["clip_id"].to_pylist())
    bad, other_bad, good = ids[0], ids[1], next(clip for clip in ids if clip.startswith("video-01"))
    rate(scored, {bad: 5, good: 1})
    rate(scored, {other_bad: 5}, annotator="arcade")
    decide(scored)
    found = decisions(scored)
    assert found[bad] == ("keep", "rated 5")
    assert found[good] == ("drop", "rated 1")
    assert found[other_bad][0] == "drop"
    assert found[other_bad][1].startswith("score ")
    rows = scored.store.read("curated").to_pylist()
    assert next(row["rating"] for row in rows if row["clip_id"] == other_bad) == 5


def test_the_threshold_rests_on_the_ratings_of_today(scored, rate):
    before = decide(with_rule(scored, threshold=0.0)).threshold
    ids = sorted(scored.store.read("clips", ["clip_id"])["clip_id"].to_pylist())
    rate(scored, dict.fromkeys(ids, 1))
    now = decide(with_rule(scored, threshold=0.0)).threshold
    assert (before["kept"], before["good"], now["kept"], now["good"]) == (24, 12, 24, 0)


@pytest.mark.heavy
def test_flags_and_copies_drop_clips_and_a_rating_lifts_a_flag(scored, scored_writer, rate):
    still, rated = scored_writer.add("flagged", "gg", flags={0: ["still", "overlay"], 1: ["black"]}, batch=BATCHES[1])
    only_overlay = scored_writer.add("overlaid", "g", flags={0: ["overlay"]}, batch=BATCHES[0])[0]
    copy, orphan = scored_writer.add("copies", "gg", batch=BATCHES[1])
    scored.store.append("duplicates", [
        # as older versions wrote it, without its batch
        {"clip_id": copy, "representative": only_overlay, "is_representative": False, "distance": 1, "group_size": 2},
        {"clip_id": only_overlay, "representative": only_overlay, "is_representative": True, "group_size": 2,
         "batch": BATCHES[0]},
        {"clip_id": orphan, "representative": "gone-000000000-ab", "is_representative": False, "group_size": 2,
         "batch": BATCHES[1]},
    ])  # fmt: skip
    rate(scored, {rated: 5, copy: 5})
    for batch in BATCHES:
        score_batch(scored.of_batch(batch))
    report = decide(scored)
    found = decisions(scored)
    assert found[still] == ("drop", "flag: still")
    assert found[rated] == ("keep", "rated 5")
    assert found[only_overlay][1].startswith("score")
    assert found[copy] == ("drop", f"duplicate of {only_overlay}")
    assert found[orphan][1].startswith("score")
    assert report.reasons["drop: flag still"] == 1
    costs = {cost["rule"]: cost["alone"] for cost in report.tradeoff["costs"]}
    decide(with_rule(scored, keep_duplicates=True))
    assert decisions(scored)[copy] == ("keep", "rated 5")
    assert costs["duplicate"] == 1, (
        "what the rule costs is what is kept without it, a clip that a person rated good too"
    )


def test_a_clip_with_unreadable_frames_is_dropped_with_that_reason(scored):
    row, *others = scored.store.read("scores").to_pylist()
    scored.store.replace("scores", [{**row, "probability": None, "error_class": "unreadable_frames"}, *others])
    decide(scored)
    assert decisions(scored)[row["clip_id"]] == ("drop", "no score: unreadable_frames")


def test_without_a_classifier_clips_cannot_be_decided_by_score(job, clips):
    with pytest.raises(UserError, match=r"decision\.mode = flags"):
        decide(job)


def test_a_batch_that_is_not_scored_stops_the_decision_and_is_named(trained):
    score_batch(trained.of_batch(BATCHES[0]))
    with pytest.raises(UserError, match=r"1 of 2 batches are not scored by .*: 2026w47-0002\. Score them first"):
        decide(trained)
    assert trained.store.version("curated") == -1


def test_a_batch_that_is_scored_by_another_model_stops_the_decision_and_is_named(scored):
    rows = scored.store.read("scores").to_pylist()
    older = [{**row, "model_version": "older"} if row["batch"] == BATCHES[0] else row for row in rows]
    scored.store.replace("scores", older)
    with pytest.raises(UserError, match="2026w47-0001"):
        decide(scored)
    assert scored.store.version("curated") == -1


def test_flags_alone_decide_without_labels_and_say_so(by_flags, pool_writer):
    still, overlay, fine = pool_writer.add("a", "ggg", flags={0: ["still"], 1: ["overlay"]})
    report = decide(by_flags)
    assert decisions(by_flags) == {
        still: ("drop", "flags only: still"),
        overlay: ("review", "flags only: overlay"),
        fine: ("keep", "flags only: none"),
    }
    assert (report.mode, report.model_version, report.threshold) == ("flags", "none", None)
    assert decision_is_current(by_flags.store, by_flags.config)
    assert not decide(by_flags).written


def test_a_takedown_takes_its_clips_out_of_the_decision(scored):
    decide(scored)
    request_takedown(scored.store, "video", "video-03", "asked")
    assert not decision_is_current(scored.store, scored.config)
    assert sum(decide(scored).counts.values()) == 22
    assert not any(clip.startswith("video-03") for clip in decisions(scored))


def test_an_empty_store_is_decided_as_no_clips(by_flags):
    report = decide(by_flags)
    assert (report.counts, report.keep_rate) == ({"keep": 0, "drop": 0, "review": 0}, 0.0)


@pytest.mark.parametrize(
    ("rule", "decisions_by_kind"),
    [
        ({"threshold": 0.0}, {"keep: score": 24}),
        ({"keep_rate": 0.25}, {"keep: score": 6}),
        ({"threshold": 0.0, "max_per_channel": 1}, {"keep: score": 12, "drop: channel cap": 12}),
    ],
)
def test_other_rules_decide_from_the_same_scores(scored, rule, decisions_by_kind):
    versions = {name: scored.store.version(name) for name in ("scores", "models", "clips")}
    report = decide(with_rule(scored, **rule))
    assert decisions_by_kind.items() <= report.reasons.items()
    assert report.warning == ""
    assert {name: scored.store.version(name) for name in versions} == versions
    assert not decide(with_rule(scored, **rule)).written
    assert decide(scored).written


def test_a_wrong_rule_is_refused_with_its_fix(scored):
    with pytest.raises(UserError, match=r"'cutz', which is no flag of a clip: the flags are .*cuts"):
        decide(with_rule(scored, drop_flags=("still", "cutz")))
    with pytest.raises(UserError, match=r"decision\.threshold = 0\.5 and decision\.keep_rate = 0\.1.*unset one"):
        with_rule(scored, threshold=0.5, keep_rate=0.1)


def test_the_decision_tells_what_thresholds_and_hard_rules_cost(scored, scored_writer):
    still = scored_writer.add("flagged", "gg", flags={0: ["still"], 1: ["still", "black"]}, batch=BATCHES[1])
    rows = scored.store.read("clips").to_pylist()
    for row in rows:
        if row["clip_id"] == "video-01-000000000-" + row["clip_spec"]:
            row["cut_ms"] = list(range(1000, 16000, 1000))
    scored.store.replace("clips", rows)
    score_batch(scored.of_batch(BATCHES[1]))
    report = decide(with_rule(scored, threshold=0.0))
    assert [(cost["rule"], cost["clips"], cost["alone"]) for cost in report.tradeoff["costs"]] == [
        ("flag black", 1, 0), ("flag still", 2, 1), ("usable share", 1, 1)
    ]  # fmt: skip
    curve = report.tradeoff["curve"]
    assert (curve[0]["threshold"], curve[0]["clips"], curve[0]["recall"]) == (0, 23, 1)
    assert curve[0]["hours"] == round(23 * 16 / 3600, 4)
    assert [point["clips"] for point in curve] == sorted((point["clips"] for point in curve), reverse=True)
    stored = [point for point in curve if point["precision"] is not None]
    assert all(point["precision_interval"][0] <= point["precision"] <= 1 for point in stored)
    assert decide(with_rule(scored, threshold=0.0)).tradeoff == report.tradeoff
    # where clips between the thresholds are kept, a rule costs those too
    report = decide(with_rule(scored, threshold=1.0, drop_below=0.0, middle="keep"))
    assert [cost["alone"] for cost in report.tradeoff["costs"]] == [0, 1, 1]
    # a flag that is switched off costs nothing
    report = decide(with_rule(scored, threshold=0.0, drop_flags=("black",), min_usable_share=0.0))
    assert [(cost["rule"], cost["alone"]) for cost in report.tradeoff["costs"]] == [("flag black", 1)]
    assert decisions(scored)[still[0]][0] == "keep"


def test_a_batch_that_is_cut_again_meanwhile_is_decided_anew(scored, monkeypatch):
    sizes = []

    def load_then_lose_a_clip(*arguments):
        state = load_state(*arguments)
        if not sizes:
            scored.store.replace("clips", scored.store.read("clips").to_pylist()[1:])
        sizes.append(len(state))
        return state

    monkeypatch.setattr("classifier.decision.decide.load_state", load_then_lose_a_clip)
    assert sum(decide(scored).counts.values()) == 23
    assert sizes == [24, 23]
    assert decision_is_current(scored.store, scored.config)


def test_the_advice_where_flags_keep_no_clip_lets_clips_be_kept(tmp_path):
    store = finished_store(tmp_path / "root")
    store.replace("clips", [row | {"flags": ["black", "overlay"]} for row in store.read("clips").to_pylist()])
    store.replace("labels", store.read("labels").slice(0, 0))
    job = with_rule(job_of(store), mode="flags", drop_flags=("black",), middle="review", min_usable_share=0.0)
    advice = (
        r"no clip is kept \(.*decision.mode = flags .*take a flag out of decision.drop_flags .*decision.middle = keep"
    )
    for rule in ({"drop_flags": ()}, {"middle": "keep"}):
        decide(job)
        with pytest.raises(UserError, match=advice):
            write_shards(job)
        job = with_rule(job, **rule)
    assert decide(job).counts["keep"]
    assert write_shards(job).written
