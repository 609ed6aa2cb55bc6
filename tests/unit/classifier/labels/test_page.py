"""The labelling page without a browser: state, events and byte ranges."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from classifier.labels.import_file import import_labels
from classifier.labels.journal import journal_rows
from classifier.labels.page import PAGE, label_app
from classifier.labels.queue import load_queue
from classifier.labels.sync import labels_are_current, sync_journal
from pipeline.errors import UserError
from pipeline.http_guard import Guard, content_policy
from pipeline.job import Job
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.odd_json import ODD_BODIES
from tests.unit.classifier.conftest import PoolWriter, small_config


@pytest.fixture
def client(job, clips) -> Iterator[TestClient]:
    app = label_app(job, ["ann"])
    with TestClient(Guard(app, policy=content_policy(PAGE.read_text("utf-8"))), base_url="http://127.0.0.1") as client:
        yield client
    app.state.journal.close()


@pytest.fixture(scope="module")
def empty_page(tmp_path_factory) -> Job:
    """Work on a store with one clip, of which nobody rates anything."""
    store, config = Store(tmp_path_factory.mktemp("page") / "root"), small_config()
    PoolWriter(store, config).add("level-1", "g")
    return Job(store, config, home_of(store))


@pytest.fixture(scope="module")
def refusing(empty_page) -> Iterator[TestClient]:
    """A page that is sent nothing that it may save: one for all that it refuses."""
    app = label_app(empty_page, ["ann"])
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
    assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
    scripts = {"label.js"}
    for name in [*scripts]:
        script = client.get(f"/static/{name}")
        assert script.headers["content-type"].startswith("text/javascript")
        scripts |= set(re.findall(r'from "\./(\w+\.js)"', script.text))
        assert not re.findall(r"https?:|import\(|innerHTML|eval", script.text)
    assert all(client.get(f"/static/{name}").status_code == 200 for name in [*scripts, "label.css"])
    assert all(client.get(f"/static/{name}").status_code == 404 for name in ("label.html", "..%2Fpage.py", "none.js"))


def answers(client: TestClient, who: str = "") -> list[list[object]]:
    """Return what a person answered, oldest first, as a page that is opened is told."""
    state = client.get(f"/api/state?who={who}").json()
    return [[clip["clip_id"], rating] for clip, rating in state["past"]]


def test_the_state_is_what_is_open_and_what_was_answered(client, job, clips):
    state = client.get("/api/state").json()
    assert [clip["clip_id"] for clip in state["clips"]] == [item["clip_id"] for item in load_queue(job.store)]
    assert (state["past"], state["done"], state["total"], state["next"]) == ([], 0, 3, None)
    assert state["clips"][0]["title"] == 'A <b>"title"</b>'
    post(client, event(clips[1], 4))
    post(client, event(clips[0], 2), event(clips[2], None, "skip"))
    assert answers(client) == [[clips[1], 4], [clips[0], 2], [clips[2], 0]]
    post(client, event(clips[2], None, "undo"))
    assert answers(client) == [[clips[1], 4], [clips[0], 2]]
    state = client.get("/api/state").json()
    assert (state["done"], state["counts"]) == (2, [0, 0, 1, 0, 1, 0])
    assert [clip["clip_id"] for clip in state["clips"]] == [clips[2]]


def test_the_queue_comes_in_pages(client, job):
    order = [item["clip_id"] for item in load_queue(job.store)]
    first = client.get("/api/clips?count=2").json()
    assert ([clip["clip_id"] for clip in first["clips"]], first["next"]) == (order[:2], 2)
    second = client.get(f"/api/clips?count=2&after={first['next']}").json()
    assert ([clip["clip_id"] for clip in second["clips"]], second["next"]) == (order[2:], None)
    assert client.get("/api/clips?after=99").json() == {"clips": [], "next": None}
    for query in ("after=-1", "after=x", "count=9999999999", "after=%D9%A3", "who=a%0Ab"):
        assert client.get(f"/api/clips?{query}").status_code == 400


def test_stream_inclusion_reasons_and_repeats_reach_the_journal(client, job, clips):
    more = {"stream": "uncertain", "inclusion": 0.125, "reasons": ["overlay", "menu"]}
    post(client, {**event(clips[0]), **more}, {**event(clips[0], 3), "stream": "repeat", "repeat": True})
    rows = journal_rows(job.home.journal)
    assert [(row["stream"], row["inclusion"], row["reasons"], row["repeat"]) for row in rows] == [
        ("uncertain", 0.125, ["menu", "overlay"], False),
        ("repeat", None, [], True),
    ]
    assert answers(client) == [[clips[0], 5]]  # the first rating stays


def test_another_person_has_a_queue_and_progress_of_their_own(client, job, clips):
    post(client, event(clips[0], 2))
    sent = client.post("/api/events?who=ben", json={"events": [event(clips[1], 4)]})
    assert sent.status_code == 200
    assert (answers(client), answers(client, "ben")) == ([[clips[0], 2]], [[clips[1], 4]])
    assert {row["annotator"] for row in journal_rows(job.home.journal)} == {"ann", "ben"}
    for name in ("arcade", "a\nb", "x" * 61):
        wrong = client.post("/api/events", params={"who": name}, json={"events": [event(clips[0])]})
        assert (wrong.status_code, "annotator" in wrong.text) == (400, True)


def test_several_people_divide_the_queue_and_must_say_who_they_are(job, clips):
    app = label_app(job, ["anna", "ben", "zo\u00eb"])
    with TestClient(app) as client:
        # one name, whichever way the keyboard writes its accent
        assert client.get("/api/state", params={"who": "zoe\u0308"}).json()["annotator"] == "zo\u00eb"
        parts = [client.get(f"/api/state?who={name}").json() for name in ("anna", "ben", "zo\u00eb")]
        assert sum(part["total"] for part in parts) >= len(clips)
        unnamed = client.get("/api/state")
        assert (unnamed.status_code, unnamed.json()["choose"]) == (409, ["anna", "ben", "zo\u00eb"])
        for query in ("", "?who=eve"):
            refused = client.post(f"/api/events{query}", json={"events": [event(clips[0])]})
            assert (refused.status_code, "anna, ben" in refused.text) == (400, True)
    app.state.journal.close()
    assert journal_rows(job.home.journal) == []


def test_agreement_is_told_while_people_rate(client, clips):
    assert client.get("/api/agreement").json()["alpha"]["clips"] == 0
    post(client, event(clips[0], 5), {**event(clips[0], 4), "repeat": True})
    client.post("/api/events?who=ben", json={"events": [event(clips[0], 4)]})
    told = client.get("/api/agreement").json()
    assert (told["alpha"]["clips"], told["pairs"][0]["raters"], told["alpha"]["few"]) == (1, ["ann", "ben"], True)
    assert told["own"]["ann"]["close"]["value"] == 1


def test_an_audit_opens_the_page_on_its_own_queue(job, clips):
    key = "labels/audit.json"
    with pytest.raises(UserError, match=r"has no labels/audit.json yet"):
        label_app(job, ["ann"], key)
    items = [{"clip_id": clips[2], "stream": "audit_high", "inclusion": 0.5}]
    job.store.write_blob(key, json.dumps({"clips": items}).encode())
    app = label_app(job, ["ann"], key)
    with TestClient(app) as client:
        state = client.get("/api/state").json()
    app.state.journal.close()
    assert state["audit"]
    assert [(clip["clip_id"], clip["stream"], clip["inclusion"]) for clip in state["clips"]] == [
        (clips[2], "audit_high", 0.5)
    ]


def test_an_event_is_saved_once_and_a_bad_one_refused_alone(client, job, clips):
    good, bad = event(clips[0]), event(clips[1], 9)
    answer = post(client, good, bad, good, "what")
    assert answer["saved"] == [good["event_id"]] * 2
    assert set(answer["refused"]) == {bad["event_id"], "#3"}
    assert "rating 9" in answer["refused"][bad["event_id"]]
    assert [row["event_id"] for row in journal_rows(job.home.journal)] == [good["event_id"]]


@pytest.mark.parametrize("body", ["", "[]", '{"events": 3}', "{", '{"event": []}'])
def test_a_body_of_another_form_is_refused(refusing, body):
    answer = refusing.post("/api/events", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert refusing.post("/api/events", content="{}", headers={"content-type": "text/plain"}).status_code == 415


@pytest.mark.parametrize(("body", "says"), ODD_BODIES.values(), ids=ODD_BODIES)
def test_a_body_that_no_page_sends_is_refused_with_what_is_wrong(refusing, empty_page, body, says):
    answer = refusing.post("/api/events", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert says in answer.text
    assert journal_rows(empty_page.home.journal) == []


FIELDS = (
    {"event_id": 1}, {"event_id": ["a"]}, {"clip_id": {}}, {"clip_id": "../x"}, {"clip_id": "x" * 5000},
    {"kind": []}, {"kind": None}, {"rating": 1.0}, {"rating": True}, {"rating": 2**62}, {"rating": "5"},
    {"seconds": -1}, {"seconds": 1e300}, {"seconds": True}, {"seconds": "1"}, {"stream": 3}, {"stream": "x" * 41},
)  # fmt: skip


def test_a_field_of_another_kind_refuses_its_event_alone(client, job, clips):
    sent = []
    for field in FIELDS:
        good = event(clips[0])
        sent.append(good["event_id"])
        answer = post(client, {**event(clips[1]), **field}, good)
        assert answer["saved"] == [good["event_id"]], field
        assert len(answer["refused"]) == 1, field
        assert [row["event_id"] for row in journal_rows(job.home.journal)] == sent, field


def test_labels_that_cannot_be_written_are_not_acknowledged(job, clips):
    app = label_app(job, ["ann"])
    app.state.journal.close()
    with TestClient(app, base_url="http://127.0.0.1") as client:
        answer = client.post("/api/events", json={"events": [event(clips[0])]})
    assert answer.status_code == 503
    assert "cannot be saved" in answer.text
    assert f"Make room for '{job.home.journal}'" in answer.text


def test_ratings_are_saved_while_the_store_is_away(client, job, clips, monkeypatch):
    def away(*args: object) -> int:
        raise OSError("no route to host")

    monkeypatch.setattr(type(job.store), "version", away)
    monkeypatch.setattr("classifier.labels.answers.time", SimpleNamespace(monotonic=lambda: 1e12))
    sent = event(clips[0])
    assert post(client, sent)["saved"] == [sent["event_id"]]
    assert [row["rating"] for row in journal_rows(job.home.journal)] == [5]


def test_a_rating_of_a_video_that_was_taken_down_meanwhile_is_refused(client, job, clips, pool_writer):
    [other] = pool_writer.add("other", "g")
    assert len(post(client, event(clips[0]))["saved"]) == 1
    request_takedown(job.store, "video", "level-1", "its owner asked")
    bad, good = event(clips[1]), event(other)
    assert post(client, bad, good) == {
        "saved": [good["event_id"]], "refused": {bad["event_id"]: "the clip's video was taken down"}
    }  # fmt: skip
    # the first rating is older than the takedown: what is in the journal does not come into the store either
    assert sync_journal(job) == 1
    assert job.store.read("labels")["clip_id"].to_pylist() == [other]
    assert labels_are_current(job)
    (file := job.home.journal.with_name("l.csv")).write_text(f"clip_id,rating\n{clips[0]},5\n{other},4\n")
    assert import_labels(job.store, file, "bob", job.config).added == 1


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
    answer = client.get(f"/clip/{clips[0]}")
    assert (answer.status_code, "bytes are gone" in answer.text) == (410, True)


def test_labels_of_another_session_and_of_files_are_known(job, clips, pool_writer):
    import_labels(job.store, pool_writer.rate({clips[0]: 3}), "ann", job.config)
    app = label_app(job, ["ann"])
    with TestClient(app) as client:
        assert answers(client) == [[clips[0], 3]]
    app.state.journal.close()


def test_a_store_without_clips_and_a_name_that_cannot_be_used_are_refused(job, pool_writer):
    with pytest.raises(UserError, match="there are no clips to rate"):
        label_app(job)
    pool_writer.add("a", "g")
    for name in ("arcade", "", "a\nb"):
        with pytest.raises(UserError, match="annotator"):
            label_app(job, [name])
