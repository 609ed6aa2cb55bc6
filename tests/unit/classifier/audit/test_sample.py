import dataclasses
import hashlib
import uuid

import pytest
from starlette.testclient import TestClient

from assets.cli.main import main
from classifier.audit.sample import (
    AUDIT_KEY,
    FAR,
    KEPT,
    MIDDLE,
    NEAR,
    UNSCORED,
    Audit,
    answers_of,
    audit_of_present_decision,
    draw_audit,
    load_audit,
    write_audit,
)
from classifier.labels.page import label_app
from classifier.labels.sync import sync_journal
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.label_events import load_labels
from pipeline.storage.damage import DamagedError
from pipeline.storage.takedown import request_takedown
from tests.unit.classifier.audit.conftest import Rate, add_footage, by_score, decide_as

VIDEOS = [f"folder-v{k:02d}" for k in range(20)]


def asking(job: Job, kept: int, dropped: int) -> Job:
    return dataclasses.replace(
        job,
        config=dataclasses.replace(job.config, audit=dataclasses.replace(job.config.audit, kept=kept, dropped=dropped)),
    )


def mixed(clips: list[str]) -> list[str]:
    return sorted(clips, key=lambda clip: hashlib.sha256(clip.encode()).digest())


def by_stratum(audit: Audit) -> dict[str, list[str]]:
    names = [stratum["name"] for stratum in audit["strata"]]
    found: dict[str, list[str]] = {name: [] for name in names}
    for clip in audit["clips"]:
        found[names[clip["stratum"]]].append(clip["clip_id"])
    return found


def test_kept_clips_are_drawn_at_random_and_more_of_the_others_near_the_cut(job: Job):
    job = asking(job, kept=20, dropped=40)
    clips = mixed(add_footage(job.store, job.config, VIDEOS, 50))
    decide_as(job.store, by_score(clips, keep=200))
    audit = write_audit(job)
    drawn = by_stratum(audit)
    sizes = {stratum["name"]: (stratum["clips"], stratum["drawn"]) for stratum in audit["strata"]}
    assert sizes[KEPT] == (200, 20)
    assert set(drawn[KEPT]) < set(clips[:200])
    assert {name: sizes[name][1] for name in (NEAR, MIDDLE, FAR)} == {NEAR: 20, MIDDLE: 12, FAR: 8}
    # 10 %, 30 % and the rest of the 800 others, as finely as probabilities are counted
    assert sizes[NEAR][0] == pytest.approx(80, abs=2)
    assert sizes[MIDDLE][0] == pytest.approx(240, abs=4)
    assert sum(clips for clips, _ in sizes.values()) == 1000
    assert set(drawn[NEAR]) < set(clips[200:282])
    assert set(drawn[FAR]) < set(clips[515:])
    for clip in audit["clips"]:
        stratum = audit["strata"][clip["stratum"]]
        assert clip["inclusion"] == stratum["drawn"] / stratum["clips"]
        assert clip["stream"] == ("audit_high" if stratum["name"] == KEPT else "audit_low")
    assert load_audit(job.store) == audit


def test_inclusion_is_how_often_a_clip_is_drawn(job: Job):
    job = asking(job, kept=3, dropped=8)
    clips = mixed(add_footage(job.store, job.config, VIDEOS[:6], 5))
    decide_as(job.store, by_score(clips, keep=10))
    times = dict.fromkeys(clips, 0)
    for seed in range(30):
        config = dataclasses.replace(job.config, audit=dataclasses.replace(job.config.audit, seed=seed))
        for clip in draw_audit(job.store, config)["clips"]:
            times[clip["clip_id"]] += 1
    assert sum(times[clip] for clip in clips[:10]) == 30 * 3
    # 30 draws at 0.3: 9 times, give or take 3.5 standard deviations
    assert all(1 <= times[clip] <= 18 for clip in clips[:10])


def test_a_clip_that_a_person_rated_is_counted_and_not_asked_about(job: Job, rate: Rate):
    job = asking(job, kept=100, dropped=100)
    clips = add_footage(job.store, job.config, VIDEOS[:4], 5)
    decide_as(job.store, by_score(clips, keep=10))
    rate({clips[0]: 5, clips[1]: 2, clips[11]: 4, clips[12]: 3})
    audit = write_audit(job)
    assert audit["known"] == {"kept": 2, "kept_good": 1, "left": 2, "left_good": 1}
    assert {clip["clip_id"] for clip in audit["clips"]} == set(clips) - {clips[0], clips[1], clips[11], clips[12]}
    assert all(clip["inclusion"] == 1 for clip in audit["clips"])


def test_copies_and_clips_without_frames_are_left_out(job: Job):
    clips = add_footage(job.store, job.config, VIDEOS[:2], 3)
    verdicts = by_score(clips, keep=2)
    verdicts[clips[4]] = ("drop", f"duplicate of {clips[0]}", 0.9)
    verdicts[clips[5]] = ("drop", "no score: decode_error", None)
    decide_as(job.store, verdicts)
    audit = write_audit(job)
    assert audit["left_out"] == 2
    assert {clip["clip_id"] for clip in audit["clips"]} == set(clips[:4])


def test_a_decision_without_scores_is_one_stratum_of_kept_and_one_of_the_others(job: Job):
    job = asking(job, kept=4, dropped=6)
    clips = add_footage(job.store, job.config, VIDEOS[:4], 5)
    decide_as(
        job.store,
        {clip: ("keep", "flags only: none", None) if place % 2 else ("drop", "flags only: still", None)
         for place, clip in enumerate(clips)},
    )  # fmt: skip
    audit = write_audit(job)
    assert [(one["name"], one["clips"], one["drawn"]) for one in audit["strata"]] == [(KEPT, 10, 4), (UNSCORED, 10, 6)]


def test_the_same_decision_has_the_same_audit_and_another_decision_another(job: Job, rate: Rate):
    job = asking(job, kept=5, dropped=5)
    clips = add_footage(job.store, job.config, VIDEOS[:8], 5)
    decide_as(job.store, by_score(clips, keep=20))
    first = audit_of_present_decision(job)
    modified = job.store.read_blob(AUDIT_KEY)
    assert audit_of_present_decision(job) == first
    # who stopped in the middle goes on with the same clips
    rate({first["clips"][0]["clip_id"]: 4})
    assert audit_of_present_decision(job) == first
    assert job.store.read_blob(AUDIT_KEY) == modified
    decide_as(job.store, by_score(clips, keep=19))
    second = audit_of_present_decision(job)
    assert second["decision"] != first["decision"]
    assert first["clips"][0]["clip_id"] not in {clip["clip_id"] for clip in second["clips"]}


def test_a_clip_of_a_video_that_was_taken_down_is_not_drawn(job: Job):
    clips = add_footage(job.store, job.config, VIDEOS[:3], 4)
    decide_as(job.store, by_score(clips, keep=6))
    request_takedown(job.store, "video", VIDEOS[1], "asked by the owner")
    drawn = {clip["clip_id"] for clip in write_audit(job)["clips"]}
    assert drawn == {clip for clip in clips if not clip.startswith(VIDEOS[1])}


def test_without_a_decision_the_error_says_how_to_make_one(job: Job):
    with pytest.raises(UserError, match="no decision to audit yet: make one with `lampworks run`"):
        write_audit(job)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"clips": 3}', b"{", b'{"strata": [], "clips": [{"clip_id": "x"}]}'])
def test_a_damaged_audit_is_named_and_another_is_drawn(job: Job, data: bytes):
    job.store.write_blob(AUDIT_KEY, data)
    with pytest.raises(DamagedError, match=r"damaged.*`lampworks label --audit` draws another"):
        load_audit(job.store)
    decide_as(job.store, by_score(add_footage(job.store, job.config, VIDEOS[:2], 3), keep=2))
    said: list[str] = []
    assert audit_of_present_decision(dataclasses.replace(job, on_progress=lambda progress: said.append(str(progress))))
    assert "damaged" in said[0]
    assert load_audit(job.store) is not None


def test_the_labelling_page_offers_the_audit_alone_and_its_ratings_are_answers(job: Job):
    job = asking(job, kept=2, dropped=2)
    clips = add_footage(job.store, job.config, VIDEOS[:3], 4)
    decide_as(job.store, by_score(clips, keep=6))
    audit = audit_of_present_decision(job)
    app = label_app(job, ["ann"], AUDIT_KEY)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        offered = client.get("/api/state").json()["clips"]
        assert [clip["clip_id"] for clip in offered] == [clip["clip_id"] for clip in audit["clips"]]
        rated = offered[1]["clip_id"]
        event = {"event_id": str(uuid.uuid4()), "clip_id": rated, "kind": "rate", "rating": 4}
        assert client.post("/api/events", json={"events": [event]}).status_code == 200
    app.state.journal.close()
    sync_journal(job)
    assert answers_of(audit, load_labels(job.store, job.config)) == [(audit["clips"][1], 4)]


def test_the_command_draws_the_audit_and_serves_it(job: Job, rate: Rate, monkeypatch: pytest.MonkeyPatch, capsys):
    served: list[str] = []
    monkeypatch.setattr("classifier.labels.serve.serve_labels", lambda *_, queue, **__: served.append(queue))
    clips = add_footage(job.store, job.config, VIDEOS[:3], 4)
    root = ["--root", job.store.root, "--audit"]
    assert main(["label", *root]) == 2
    assert "no decision to audit yet" in capsys.readouterr().err
    decide_as(job.store, by_score(clips, keep=6))
    assert (main(["label", *root]), served) == (0, [AUDIT_KEY])
    assert load_audit(job.store) is not None
    # where nobody can be asked, it says so and opens no page
    rate(dict.fromkeys(clips, 3))
    decide_as(job.store, by_score(clips, keep=5))
    assert (main(["label", *root]), served) == (2, [AUDIT_KEY])
    assert "people rated every clip" in capsys.readouterr().err
