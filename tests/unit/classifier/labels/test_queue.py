"""The labelling queue: sources take turns, flagged clips are rare, copies come last, and the seed decides the order.

Once clips are scored, a model's choices come between the drawn ones, which stay as they are."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifier.decision.rows import _KINDS as KINDS
from classifier.embedding.encoder import encoder_id
from classifier.embedding.stored import packed
from classifier.labels.by_score import SCORE_KINDS
from classifier.labels.import_file import import_labels
from classifier.labels.queue import QUEUE_KEY, load_queue, queue_is_current, write_queue
from pipeline.clip_spec import clip_spec
from pipeline.config import LabelConfig
from pipeline.errors import UserError
from pipeline.ids import clip_id_of
from pipeline.job import Job
from pipeline.model_ids import EVALUATION
from pipeline.storage.models_table import ModelRecord, append_model
from pipeline.storage.takedown import request_takedown


def with_labels(job: Job, **labels: object) -> Job:
    """Return the job with other settings of `labels`."""
    return replace(job, config=replace(job.config, labels=replace(job.config.labels, **labels)))


def videos_of(queue) -> list[str]:
    return [item["clip_id"].split("-")[0] for item in queue]


def test_sources_take_turns_and_none_gives_more_than_its_share(job, pool_writer):
    for name in ("a", "b", "c"):
        pool_writer.add(name, "g" * 6)
    report = write_queue(with_labels(job, max_per_source=4))
    assert (report.size, report.sources, report.strata) == (12, 3, {"random": 12})
    names = videos_of(load_queue(job.store))
    assert all(set(names[i : i + 3]) == {"a", "b", "c"} for i in range(0, 12, 3))


def test_a_channel_is_one_source(job, pool_writer):
    for name in ("a", "b"):
        pool_writer.add(name, "ggg", channel_id="one")
    assert write_queue(with_labels(job, max_per_source=2)).size == 2


def test_flagged_clips_are_rare_and_copies_come_last(job, pool_writer):
    clips = pool_writer.add("a", "g" * 20)
    pool_writer.add("b", "g" * 6, flags={i: ["still"] for i in range(6)})
    job.store.append("duplicates", [{"clip_id": clips[0], "representative": clips[1], "is_representative": False}])
    write_queue(job)
    streams = [item["stream"] for item in load_queue(job.store)]
    # one in ten, evenly among the 19 others
    assert [streams[:12].count("flagged"), streams[:19].count("flagged"), streams[:21].count("flagged")] == [1, 1, 2]
    assert streams[-1] == "duplicate"
    assert load_queue(job.store)[-1]["clip_id"] == clips[0]
    assert len(streams) == 26


def test_the_queue_is_written_when_it_changes_and_only_then(job, pool_writer):
    store, config = job.store, job.config
    pool_writer.add("a", "ggg")
    assert not queue_is_current(store, config)
    assert write_queue(job).written
    path = Path(store.url(QUEUE_KEY))
    before = path.stat().st_mtime_ns
    assert queue_is_current(store, config)
    assert not write_queue(job).written
    assert path.stat().st_mtime_ns == before
    first = load_queue(store)
    assert write_queue(with_labels(job, seed=5)).written
    assert sorted(map(json.dumps, load_queue(store))) == sorted(map(json.dumps, first))
    request_takedown(store, "video", "a", "asked")
    assert not queue_is_current(store, config)
    assert write_queue(job).size == 0


def test_the_queue_is_cut_to_its_size(job, pool_writer):
    pool_writer.add("a", "g" * 9)
    assert write_queue(with_labels(job, queue_size=5)).size == 5


# -- the choices of a model ---------------------------------------------------------------------------------------


def decide(job: Job, clips: list[str], keep_from: float = 0.6, kinds: dict[str, str] | None = None) -> dict[str, float]:
    """Store a decision on clips, whose probabilities go up in their order; return these."""
    rows = []
    for place, clip_id in enumerate(clips):
        probability = place / len(clips)
        decision = "keep" if probability >= keep_from else "review"
        rows.append({
            "clip_id": clip_id, "video_id": clip_id.split("-")[0], "decision": decision, "probability": probability,
            "kind": (kinds or {}).get(clip_id, "score"), "batch": "2026w47-0001",
        })  # fmt: skip
    job.store.replace("curated", rows)
    return {row["clip_id"]: row["probability"] for row in rows}


def clips_of(queue, stream: str) -> list[str]:
    return [item["clip_id"] for item in queue if item["stream"] == stream]


@pytest.fixture
def scored(job) -> tuple[Job, list[str], dict[str, float]]:
    """A store of 60 clips of six sources, which are scored."""
    spec = clip_spec(job.config.clips)
    common = {"batch": "2026w47-0001", "clip_spec": spec, "source_sha256": "0"}
    clips = [
        {**common, "clip_id": clip_id_of(name, 16000 * i, spec), "video_id": name, "flags": []}
        for i in range(10)
        for name in "abcdef"
    ]
    job.store.append("videos", [{"video_id": name, "batch": common["batch"], "verdict": "kept"} for name in "abcdef"])
    job.store.append("clips", clips)
    job.store.append("clippings", [{**common, "video_id": name, "state": "ok", "num_clips": 10} for name in "abcdef"])
    clip_ids = [str(clip["clip_id"]) for clip in clips]
    return job, clip_ids, decide(job, clip_ids)


def test_once_clips_are_scored_each_stream_has_its_share_and_a_clip_is_there_once(scored):
    job, clips, _ = scored
    report = write_queue(job)
    queue = load_queue(job.store)
    assert sorted(item["clip_id"] for item in queue) == sorted(clips)
    # of 60 clips: 0.2 uncertain, 0.05 and 0.05 audited; diverse and uncovered have nothing to go by
    assert len(clips_of(queue, "uncertain")) == 12
    assert len(clips_of(queue, "audit_high")) == 3
    assert report.missing == {
        "diverse": "no clip has an embedding of the configured network",
        "uncovered": "no evaluation of a world model says how well it predicts each clip",
    }
    assert write_queue(job).missing == report.missing
    streams = Counter(item["stream"] for item in queue[:20])
    assert streams["random"] >= 10
    assert streams["uncertain"] >= 3


def test_uncertain_clips_are_those_of_all_nearest_to_the_threshold(scored):
    job, _, probability = scored
    assert write_queue(with_labels(job, queue_size=30)).size == 30
    queue = load_queue(job.store)
    others = {*drawn_of(queue), *clips_of(queue, "audit_high"), *clips_of(queue, "audit_low")}
    distance = {clip_id: round(abs(value - 0.6), 6) for clip_id, value in probability.items()}
    # two clips may be as far from the threshold as each other, above and below
    found = sorted(distance[clip_id] for clip_id in clips_of(queue, "uncertain"))
    assert found == sorted(distance[clip_id] for clip_id in probability.keys() - others)[:6]


def test_audits_state_their_inclusion_and_lie_on_their_side_of_the_threshold(scored):
    job, _, probability = scored
    write_queue(with_labels(job, uncertain_share=0.3, audit_high_share=0.1, audit_low_share=0.1))
    queue = load_queue(job.store)
    drawn = drawn_of(queue)
    for stream, side, count in (("audit_high", True, 6), ("audit_low", False, 6)):
        there = [clip_id for clip_id, p in probability.items() if (p >= 0.6) == side and clip_id not in drawn]
        items = [item for item in queue if item["stream"] == stream]
        assert {item["clip_id"] for item in items} <= set(there)
        assert len(items) == count
        assert {item["inclusion"] for item in items} == {count / len(there)}


def test_the_drawn_clips_stay_drawn_and_say_how_likely_that_was(scored):
    job, clips, _ = scored
    asked = with_labels(job, uncertain_share=0.45, audit_high_share=0, audit_low_share=0)
    write_queue(asked)
    drawn = drawn_of(load_queue(job.store))
    # 33 of 60 clips of six equal sources
    assert list(drawn.values()) == [pytest.approx(33 / 60)] * 33
    job.store.replace("curated", [])
    write_queue(asked)
    plain = drawn_of(load_queue(job.store))
    assert set(plain.values()) == {1.0}
    assert list(drawn) == list(plain)[:33]
    assert plain.keys() == set(clips)


def test_labels_leave_the_order_as_it_is_until_there_is_another_decision(scored, pool_writer):
    job, clips, _ = scored
    write_queue(job)
    before = load_queue(job.store)
    rated = clips_of(before, "uncertain")[:5]
    import_labels(job.store, pool_writer.rate(dict.fromkeys(rated, 5)), "ann", job.config)
    assert queue_is_current(job.store, job.config)
    assert not write_queue(job).written
    decide(job, [item["clip_id"] for item in before])
    assert not queue_is_current(job.store, job.config)
    # a pass decides after it wrote the queue, so it does not ask for that
    assert queue_is_current(job.store, job.config, of_models=False)
    assert write_queue(job).written
    after = load_queue(job.store)
    assert not set(rated) & set(clips_of(after, "uncertain"))
    # the draw grows with what is rated, and goes on where it was
    assert list(drawn_of(after))[: len(drawn_of(before))] == list(drawn_of(before))
    import_labels(job.store, pool_writer.rate(dict.fromkeys(clips, 4), file="all.csv"), "ann", job.config)
    job.store.replace("curated", job.store.read("curated"))
    report = write_queue(job)
    assert report.strata == {"random": 60}
    assert report.missing["uncertain"] == "all of its clips are rated or in another stream"
    assert set(drawn_of(load_queue(job.store)).values()) == {1.0}


def drawn_of(queue) -> dict[str, float]:
    """Return the inclusion probability of each clip that was drawn at random, in order."""
    return {
        item["clip_id"]: item["inclusion"]
        for item in queue
        if item["stream"] == "random" and item["inclusion"] is not None
    }


def test_what_the_score_did_not_decide_is_not_chosen_by_it(scored):
    job, _, probability = scored
    near = min(probability, key=lambda clip_id: abs(probability[clip_id] - 0.6))
    write_queue(with_labels(job, uncertain_share=0.5))
    assert near in {*drawn_of(load_queue(job.store)), *clips_of(load_queue(job.store), "uncertain")}
    decide(job, list(probability), kinds=dict.fromkeys(probability, "flag still") | {near: "score between"})
    write_queue(with_labels(job, uncertain_share=0.5))
    assert {*clips_of(load_queue(job.store), "uncertain"), *clips_of(load_queue(job.store), "audit_low")} <= {near}
    of_score = {kind for outcome, kind in KINDS.items() if outcome.name.startswith("SCORE")}
    assert of_score == set(SCORE_KINDS)


def test_a_tenth_is_always_drawn_at_random():
    with pytest.raises(UserError, match=r"labels\.uncertain_share = 0\.8.*at least a tenth.*Lower one of them"):
        LabelConfig(uncertain_share=0.8)


def test_clips_unlike_the_others_and_badly_predicted_ones_have_their_streams(scored):
    job, clips, _ = scored
    asked = with_labels(job, uncertain_share=0, audit_high_share=0, audit_low_share=0)
    look = np.ones(8, np.float32)
    unlike = set(clips[1::7])
    rows = [
        {
            "clip_id": clip_id, "batch": "2026w47-0001", "encoder": encoder_id(job.config.embedding),
            "mean": packed(look * (1 if clip_id not in unlike else np.eye(8)[place % 8])), "spread": packed(0 * look),
        }
        for place, clip_id in enumerate(clips)
    ]  # fmt: skip
    write_queue(asked)
    job.store.append("embeddings", rows)
    psnr = [{"clip_id": clip_id, "psnr_t1": 30.0 - place % 13} for place, clip_id in enumerate(clips)]
    job.store.write_blob("models/e/pictures.json", json.dumps({"clip_psnr": psnr}).encode())
    record = ModelRecord(model_id="e", kind=EVALUATION, path="models/e", config={}, metrics={}, inputs={})
    append_model(job.store, record)
    assert not queue_is_current(job.store, asked.config)
    assert write_queue(asked).missing == {}
    queue = load_queue(job.store)
    drawn = drawn_of(queue)
    # six of 60, and three of 60
    assert len(clips_of(queue, "diverse")) == 6
    there = unlike - drawn.keys()
    assert len(there & set(clips_of(queue, "diverse"))) >= min(5, len(there))
    of_clip = {row["clip_id"]: row["psnr_t1"] for row in psnr}
    left = of_clip.keys() - drawn.keys() - set(clips_of(queue, "diverse"))
    assert [of_clip[clip_id] for clip_id in clips_of(queue, "uncovered")] == sorted(of_clip[c] for c in left)[:3]
    assert sorted(item["clip_id"] for item in queue) == sorted(clips)
