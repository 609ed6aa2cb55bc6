import dataclasses

from classifier.audit.slices import slices
from classifier.pool import load_pool
from pipeline.job import Job
from tests.unit.classifier.audit.conftest import Verdict, add_footage, decide_as

KEEP: Verdict = ("keep", "score", 0.9)
DROP: Verdict = ("drop", "score", 0.1)


def test_slices_count_clips_kept_clips_and_what_the_audit_says_of_them(job: Job):
    a = add_footage(job.store, job.config, ["folder-a"], 20, channel_id="one", upload_date="20240131")
    b = add_footage(job.store, job.config, ["folder-b"], 25, channel_id="two", upload_date="20251231")
    c = add_footage(job.store, job.config, ["folder-c"], 3, batch="2026w48-0001")
    job.store.append(
        "downloads",
        [{"video_id": "folder-a", "state": "ok", "height": 720}, {"video_id": "folder-b", "state": "ok", "height": 240},
         {"video_id": "folder-b", "state": "failed", "height": 1080}],
    )  # fmt: skip
    decide_as(job.store, {**dict.fromkeys(a, KEEP), **dict.fromkeys(b, DROP), c[0]: KEEP, c[1]: DROP})
    found = slices(load_pool(job.store, job.config), {a[0]: True, a[1]: False, b[0]: True})
    one = {"name": "folder:channel:one", "clips": 20, "kept": 20, "keep_rate": 1.0, "rated": 2, "good": 1}
    two = {"name": "folder:channel:two", "clips": 25, "kept": 0, "keep_rate": 0.0, "rated": 0, "good": 0}
    three = {"name": "video:folder-c", "clips": 2, "kept": 1, "keep_rate": 0.5, "rated": 0, "good": 0}
    assert found["channel"] == {"count": 3, "largest": [two, one, three], "extremes": [two, one], "num_extremes": 2}
    assert {row["name"]: row["clips"] for row in found["resolution"]["largest"]} == {
        "240p": 25, "720p": 20, "unknown": 2,
    }  # fmt: skip
    assert {row["name"]: row["kept"] for row in found["year"]["largest"]} == {"2024": 20, "2025": 0, "unknown": 1}


def test_fewer_than_twenty_clips_and_flags_that_drop_are_not_pointed_out(job: Job):
    a = add_footage(job.store, job.config, ["folder-a"], 19)
    b = add_footage(job.store, job.config, ["folder-b"], 21)
    rows = job.store.read("clips").to_pylist()
    job.store.replace("clips", [{**row, "flags": ["still", "text"] if row["clip_id"] in b else []} for row in rows])
    decide_as(job.store, {**dict.fromkeys(a, KEEP), **dict.fromkeys(b, DROP)})
    config = dataclasses.replace(job.config, decision=dataclasses.replace(job.config.decision, drop_flags=("still",)))
    found = slices(load_pool(job.store, config), {})
    assert [row["name"] for row in found["channel"]["extremes"]] == ["video:folder-b"]
    assert {row["name"]: row["clips"] for row in found["flag"]["largest"]} == {"still": 21, "text": 21, "none": 19}
    assert [row["name"] for row in found["flag"]["extremes"]] == ["text"]
