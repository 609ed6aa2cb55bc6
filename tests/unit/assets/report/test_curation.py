"""The audit on the report, and the sheets of a decision: what they show, and that a takedown finds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets.report.curation import curation_view
from assets.report.curation_sheets import BEST, BORDERLINE, FOLDER, WORST, draw_curation_sheets
from assets.report.page import report_html
from classifier.audit.audit import audit_curation
from classifier.decision.content import content_of
from pipeline.inspect.status import status
from pipeline.inspect.status_text import format_status
from pipeline.storage.store import Store
from pipeline.takedown.mentions import Mentions
from pipeline.takedown.pictures import delete_pages
from tests.synthetic import CONFIG, finished_store, job_of


def publish(store: Store, rows: list[dict[str, object]]) -> None:
    store.replace("curated", rows, inputs={**store.inputs("curated"), "threshold": {"threshold": 0.74}})
    content = content_of(store.scan("curated", None))
    store.replace("curated", rows, inputs={**store.inputs("curated"), "content": content})


@pytest.fixture
def finished(tmp_path: Path) -> Store:
    """A store with every stage done."""
    return finished_store(tmp_path / "root")


@pytest.fixture
def audited(finished: Store) -> Store:
    """A store with two decisions, the second of which drops a clip that the first kept."""
    rows = finished.read("curated").sort_by("clip_id").to_pylist()
    rows = [{**row, "kind": str(row["reason"]).split(" ")[0].strip(":")} for row in rows]
    publish(finished, rows)
    before = {"content": "0" * 32, "rule_version": "r0", "model_version": "m0"}
    finished.replace("decided_before", rows, inputs=before)
    place = next(place for place, row in enumerate(rows) if row["decision"] == "keep")
    rows[place] = {**rows[place], "decision": "drop", "kind": "score", "reason": "score 0.1 < 0.3", "probability": 0.1}
    publish(finished, rows)
    audit_curation(job_of(finished))
    return finished


def test_sheets_show_the_best_the_worst_the_borderline_and_every_reason_one_clip_a_video(audited: Store):
    sheets = draw_curation_sheets(audited, CONFIG)
    rows = audited.read("curated").to_pylist()
    assert {BEST, WORST, BORDERLINE} <= sheets.keys()
    assert {f"{row['decision']} {row['kind']}" for row in rows} == sheets.keys() - {BEST, WORST, BORDERLINE}
    score = {row["clip_id"]: row["probability"] for row in rows}
    shown = {name: json.loads(audited.read_blob(f"{FOLDER}/{name}.json"))["shown"] for name in (BEST, WORST)}
    assert [score[clip] for clip in shown[BEST]] == sorted((score[clip] for clip in shown[BEST]), reverse=True)
    assert score[shown[BEST][0]] == max(score.values())
    assert score[shown[WORST][0]] == min(score.values())
    videos = [clip.rsplit("-", 2)[0] for clip in shown[BEST]]
    assert len(set(videos)) == len(videos)
    assert audited.read_blob(sheets[BEST]).startswith(b"\xff\xd8")


def test_sheets_are_drawn_again_only_where_they_change_and_old_ones_go(audited: Store):
    sheets = draw_curation_sheets(audited, CONFIG)
    for key in sheets.values():
        audited.write_blob(key, b"as it was")
    audited.write_blob(f"{FOLDER}/drop-an-older-reason.jpg", b"old")
    assert draw_curation_sheets(audited, CONFIG) == sheets
    assert {audited.read_blob(key) for key in sheets.values()} == {b"as it was"}
    assert not audited.exists(f"{FOLDER}/drop-an-older-reason.jpg")
    assert audited.exists(f"{FOLDER}/audit.json")


def test_a_clip_whose_bytes_are_gone_is_left_out_of_its_sheet(audited: Store):
    tars = audited.read("clips")["tar"].unique().to_pylist()
    audited.delete(str(tars[0]))
    draw_curation_sheets(audited, CONFIG)
    lost = {row["clip_id"] for row in audited.read("clips").to_pylist() if row["tar"] == tars[0]}
    shown = {clip for key in audited.list_blobs(FOLDER) if key.endswith(".json") and "audit" not in key
             for clip in json.loads(audited.read_blob(key))["shown"]}  # fmt: skip
    assert shown
    assert not shown & lost


def test_a_takedown_deletes_the_sheets_and_the_document_that_show_a_video(audited: Store):
    sheets = draw_curation_sheets(audited, CONFIG)
    about = json.loads(audited.read_blob(f"{FOLDER}/{BEST}.json"))
    video = about["shown"][0].rsplit("-", 2)[0]
    gone = delete_pages(audited, Mentions(videos=frozenset({video})))
    assert {sheets[BEST], f"{FOLDER}/{BEST}.json"} <= set(gone)
    left = b"".join(audited.read_blob(key) for key in audited.list_blobs(FOLDER) if key.endswith(".json"))
    assert video.encode() not in left


def test_report_and_status_say_what_the_audit_says_and_what_changed(audited: Store):
    draw_curation_sheets(audited, CONFIG)
    page, clips = report_html(audited, CONFIG)
    view = curation_view(audited)
    assert view is not None
    assert set(view.clip_ids) <= set(clips)
    assert "The audit of the decision" in page
    assert view.changes[0] == "0 entered, 1 left; 4.2% of the others have another verdict"
    assert view.changes[0] in page
    text = format_status(status(audited, CONFIG))
    assert "audit " in text
    assert view.changes[1] in text
    # a decision that was not audited yet is not told by the audit of another
    audited.replace("curated", audited.read("curated"), inputs={**audited.inputs("curated"), "content": "1" * 32})
    assert status(audited, CONFIG).curated.changes == ()


def test_a_report_before_the_first_audit_leaves_it_out(finished: Store):
    assert curation_view(finished) is None
    page, _ = report_html(finished, CONFIG)
    assert "The audit of the decision" not in page
