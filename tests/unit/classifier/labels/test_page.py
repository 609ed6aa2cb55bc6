"""The labelling page without a browser: state, events and byte ranges."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from classifier.labels.import_file import import_labels
from classifier.labels.journal import journal_rows
from classifier.labels.page import PAGE, label_app
from classifier.labels.queue import load_queue
from pipeline.errors import UserError
from pipeline.http_guard import Guard, content_policy
from tests.odd_json import ODD_BODIES


@pytest.fixture
def client(job, clips) -> Iterator[TestClient]:
    app = label_app(job, "ann")
    with TestClient(Guard(app, policy=content_policy(PAGE.read_text("utf-8"))), base_url="http://127.0.0.1") as client:
        yield client
    app.state.journal.close()


def event(clip: str, rating: int | None = 5, kind: str = "rate") -> dict[str, object]:
    return {"event_id": str(uuid.uuid4()), "clip_id": clip, "kind": kind, "rating": rating}


def post(client: TestClient, *events: object) -> dict[str, object]:
    answer = client.post("/api/events", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_page_needs_no_other_host_and_no_inline_escape(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert not re.findall(r"(?:src|href)=[\"'](?:https?:)?//", answer.text)
    assert " style=" not in answer.text
    assert " onclick=" not in answer.text
    assert "sha256-" in answer.headers["content-security-policy"]


def test_the_state_is_the_queue_and_what_was_answered(client, job, clips):
    state = client.get("/api/state").json()
    assert [clip["clip_id"] for clip in state["clips"]] == [item["clip_id"] for item in load_queue(job.store)]
    assert state["answers"] == []
    assert state["clips"][0]["title"] == 'A <b>"title"</b>'
    post(client, event(clips[1], 4))
    post(client, event(clips[0], 2), event(clips[2], None, "skip"))
    assert client.get("/api/state").json()["answers"] == [[clips[1], 4], [clips[0], 2], [clips[2], 0]]
    post(client, event(clips[2], None, "undo"))
    assert client.get("/api/state").json()["answers"] == [[clips[1], 4], [clips[0], 2]]


def test_an_event_is_saved_once_and_a_bad_one_refused_alone(client, job, clips):
    good, bad = event(clips[0]), event(clips[1], 9)
    answer = post(client, good, bad, good, "what")
    assert answer["saved"] == [good["event_id"]] * 2
    assert set(answer["refused"]) == {bad["event_id"], "#3"}
    assert "rating 9" in answer["refused"][bad["event_id"]]
    assert [row["event_id"] for row in journal_rows(job.home.journal)] == [good["event_id"]]


@pytest.mark.parametrize("body", ["", "[]", '{"events": 3}', "{", '{"event": []}'])
def test_a_body_of_another_form_is_refused(client, body):
    answer = client.post("/api/events", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert client.post("/api/events", content="{}", headers={"content-type": "text/plain"}).status_code == 415


@pytest.mark.parametrize(("body", "says"), ODD_BODIES.values(), ids=ODD_BODIES)
def test_a_body_that_no_page_sends_is_refused_with_what_is_wrong(client, job, body, says):
    answer = client.post("/api/events", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert says in answer.text
    assert journal_rows(job.home.journal) == []


@pytest.mark.parametrize(
    "field",
    [
        {"event_id": 1}, {"event_id": ["a"]}, {"clip_id": {}}, {"clip_id": "../x"}, {"clip_id": "x" * 5000},
        {"kind": []}, {"kind": None}, {"rating": 1.0}, {"rating": True}, {"rating": 2**62}, {"rating": "5"},
        {"seconds": -1}, {"seconds": 1e300}, {"seconds": True}, {"seconds": "1"}, {"stream": 3}, {"stream": "x" * 41},
    ],
)  # fmt: skip
def test_a_field_of_another_kind_refuses_its_event_alone(client, job, clips, field):
    good = event(clips[0])
    answer = post(client, {**event(clips[1]), **field}, good)
    assert answer["saved"] == [good["event_id"]]
    assert len(answer["refused"]) == 1
    assert len(journal_rows(job.home.journal)) == 1


def test_labels_that_cannot_be_written_are_not_acknowledged(job, clips):
    app = label_app(job, "ann")
    app.state.journal.close()
    with TestClient(app, base_url="http://127.0.0.1") as client:
        answer = client.post("/api/events", json={"events": [event(clips[0])]})
    assert answer.status_code == 503
    assert "cannot be saved" in answer.text


def test_a_clip_comes_whole_by_range_and_never_beyond_its_bytes(client, clips):
    data = f"mp4 of {clips[1]}".encode()
    whole = client.get(f"/clip/{clips[1]}")
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, data, "video/mp4")
    part = client.get(f"/clip/{clips[1]}", headers={"range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, data[2:6])
    assert part.headers["content-range"] == f"bytes 2-5/{len(data)}"
    assert client.get(f"/clip/{clips[1]}", headers={"range": "bytes=0-"}).status_code == 206
    assert client.get(f"/clip/{clips[1]}", headers={"range": "bytes=-3"}).content == data[-3:]
    assert client.get(f"/clip/{clips[1]}", headers={"range": "bytes=5-99999"}).content == data[5:]
    beyond = client.get(f"/clip/{clips[1]}", headers={"range": f"bytes={len(data)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")
    head = client.head(f"/clip/{clips[1]}")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(data)), b"")
    again = client.get(f"/clip/{clips[1]}", headers={"if-none-match": whole.headers["etag"]})
    assert again.status_code == 304
    assert client.get("/clip/no-such-clip").status_code == 404
    assert client.get("/frames/no-such-clip").status_code == 404


def test_the_filmstrip_is_the_stored_picture(client, clips):
    answer = client.get(f"/frames/{clips[0]}")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content[:2] == b"\xff\xd8"


def test_a_tar_that_is_gone_is_an_answer_not_a_crash(client, job, clips):
    Path(job.store.url(job.store.read("clips").to_pylist()[0]["tar"])).unlink()
    assert client.get(f"/clip/{clips[0]}").status_code == 503


def test_labels_of_another_session_and_of_files_are_known(job, clips, pool_writer):
    import_labels(job.store, pool_writer.rate({clips[0]: 3}), "ann", job.config)
    app = label_app(job, "ann")
    with TestClient(app) as client:
        assert client.get("/api/state").json()["answers"] == [[clips[0], 3]]
    app.state.journal.close()


def test_a_store_without_clips_and_a_name_that_cannot_be_used_are_refused(job, pool_writer):
    with pytest.raises(UserError, match="there are no clips to rate"):
        label_app(job)
    pool_writer.add("a", "g")
    for name in ("arcade", "", "a\nb"):
        with pytest.raises(UserError, match="annotator"):
            label_app(job, name)
