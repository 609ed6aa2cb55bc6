import dataclasses
import json

import pytest

from classifier.audit.audit import (
    audit_curation,
    audit_is_current,
    content_of_audit,
    load_curation_audit,
)
from classifier.audit.sample import AUDIT_KEY, load_audit
from pipeline.errors import UserError
from pipeline.inspect.audit_text import CURATION_KEY
from pipeline.job import Job
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.unit.classifier.audit.conftest import Rate, add_footage, by_score, decide_as

VIDEOS = [f"folder-v{k}" for k in range(10)]


def versions(store: Store) -> dict[str, object]:
    return {
        **{table: store.version(table) for table in ("curated", "decided_before", "curation_changes")},
        **{key: store.read_blob(key) for key in (AUDIT_KEY, CURATION_KEY)},
    }


def test_an_audit_is_drawn_rated_and_told_with_its_slices(job: Job, rate: Rate):
    clips = add_footage(job.store, job.config, VIDEOS, 6)
    decide_as(job.store, by_score(clips, keep=30))
    document = audit_curation(job)
    state = document["audit"]
    assert (state["is_present"], state["drawn"], state["rated"]) == (
        True, {"audit_high": 30, "audit_low": 30}, {"audit_high": 0, "audit_low": 0},
    )  # fmt: skip
    assert state["figures"]["precision"]["value"] is None
    assert document["changes"] is None
    assert document["slices"]["channel"]["count"] == 10
    rate(dict.fromkeys(clips[:24], 5) | dict.fromkeys(clips[24:54], 2) | dict.fromkeys(clips[54:], 4))
    found = audit_curation(job)["audit"]
    assert found["rated"] == {"audit_high": 30, "audit_low": 30}
    assert found["figures"]["precision"]["value"] == pytest.approx(0.8)
    assert found["figures"]["recall"]["value"] == pytest.approx(24 / 30)
    assert found["by_stand_in"] is False


def test_a_second_pass_writes_nothing(job: Job, rate: Rate):
    clips = add_footage(job.store, job.config, VIDEOS, 3)
    decide_as(job.store, by_score(clips, keep=10))
    decide_as(job.store, by_score(clips, keep=12))
    rate({clips[0]: 4})
    audit_curation(job)
    assert audit_is_current(job.store, job.config)
    before = versions(job.store)
    assert audit_curation(job) == load_curation_audit(job.store)
    assert versions(job.store) == before


def test_the_same_inputs_in_another_root_give_the_same_data_version(job: Job, tmp_path):
    other = Job(Store(tmp_path / "other"), job.config, home_of(Store(tmp_path / "other")))
    found = []
    for one in (job, other):
        clips = add_footage(one.store, one.config, VIDEOS, 3)
        decide_as(one.store, by_score(clips, keep=10))
        decide_as(one.store, by_score(clips, keep=12))
        found.append(content_of_audit(audit_curation(one)))
    assert found[0] == found[1]


def test_an_audit_that_somebody_rates_stays_until_another_is_asked_for(job: Job, rate: Rate):
    clips = add_footage(job.store, job.config, VIDEOS, 3)
    decide_as(job.store, by_score(clips, keep=10))
    unrated = audit_curation(job)["audit"]["decision"]
    decide_as(job.store, by_score(clips, keep=11))
    fresh = audit_curation(job)["audit"]
    assert fresh["is_present"]
    assert fresh["decision"] != unrated
    audit = load_audit(job.store)
    assert audit is not None
    rate({audit["clips"][0]["clip_id"]: 4})
    decide_as(job.store, by_score(clips, keep=12))
    kept = audit_curation(job)["audit"]
    assert (kept["decision"], kept["is_present"]) == (fresh["decision"], False)
    assert sum(kept["rated"].values()) == 1


@pytest.mark.parametrize("what", ["ratings", "decision", "setting", "takedown", "document", "changes", "audit"])
def test_it_is_made_again_when_something_that_it_says_may_have_changed(job: Job, rate: Rate, what: str):
    store = job.store
    clips = add_footage(store, job.config, VIDEOS, 3)
    decide_as(store, by_score(clips, keep=10))
    decide_as(store, by_score(clips, keep=9))
    audit_curation(job)
    if what == "ratings":
        rate({clips[0]: 5})
    elif what == "decision":
        decide_as(store, by_score(clips, keep=8))
    elif what == "setting":
        job = dataclasses.replace(
            job, config=dataclasses.replace(job.config, audit=dataclasses.replace(job.config.audit, kept=3))
        )
    elif what == "takedown":
        request_takedown(store, "video", VIDEOS[0], "asked by the owner")
    elif what == "document":
        store.write_blob(CURATION_KEY, b"{")
    elif what == "changes":
        store.replace("curation_changes", [])
    else:
        store.delete(AUDIT_KEY)
    assert not audit_is_current(store, job.config)
    audit_curation(job)
    assert audit_is_current(store, job.config)
    if what == "setting":
        audit = load_audit(store)
        assert audit is not None
        assert [one["drawn"] for one in audit["strata"] if one["name"] == "kept"] == [3]


def test_nothing_of_a_video_that_was_taken_down_is_in_what_is_written(job: Job, rate: Rate):
    clips = add_footage(job.store, job.config, VIDEOS, 3)
    decide_as(job.store, by_score(clips, keep=0))
    decide_as(job.store, by_score(clips, keep=30))
    audit_curation(job)
    rate({clips[0]: 4, clips[4]: 4})
    request_takedown(job.store, "video", VIDEOS[0], "asked by the owner")
    document = audit_curation(job)
    assert VIDEOS[0] not in json.dumps(document)
    assert VIDEOS[0] not in str(job.store.read("curation_changes").to_pylist())
    assert sum(document["audit"]["rated"].values()) == 1


def test_without_a_decision_there_is_nothing_to_audit(job: Job):
    assert not audit_is_current(job.store, job.config)
    with pytest.raises(UserError, match="make one with `lampworks run`"):
        audit_curation(job)
