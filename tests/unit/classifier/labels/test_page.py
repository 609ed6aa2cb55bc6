"""The labelling server without a browser: state, events, byte ranges, and labels that survive its death."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from classifier.labels.journal import journal_rows
from classifier.labels.page import PAGE, label_app, parse_range, serve_labels
from classifier.labels.queue import label_queue, load_queue
from classifier.labels.sync import current_labels, import_labels
from pipeline.errors import UserError
from pipeline.http_guard import Guard, content_policy
from pipeline.storage.home import home_of


@pytest.fixture
def clips(pool_writer) -> list[str]:
    return pool_writer.add("a", "ggb", title='A <b>"title"</b>')


@pytest.fixture
def client(store, config, clips) -> Iterator[TestClient]:
    app = label_app(store, config, home_of(store), annotator="ann")
    with TestClient(Guard(app, policy=content_policy(PAGE.read_text("utf-8"))), base_url="http://127.0.0.1") as client:
        yield client
    app.state.labelling.journal.close()


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


def test_the_state_is_the_queue_and_what_was_answered(client, store, clips):
    state = client.get("/api/state").json()
    assert [clip["clip_id"] for clip in state["clips"]] == [item["clip_id"] for item in load_queue(store)]
    assert state["answers"] == []
    assert state["clips"][0]["title"] == 'A <b>"title"</b>'
    post(client, event(clips[1], 4))
    post(client, event(clips[0], 2), event(clips[2], None, "skip"))
    assert client.get("/api/state").json()["answers"] == [[clips[1], 4], [clips[0], 2], [clips[2], 0]]
    post(client, event(clips[2], None, "undo"))
    assert client.get("/api/state").json()["answers"] == [[clips[1], 4], [clips[0], 2]]


def test_an_event_is_saved_once_and_a_bad_one_refused_alone(client, store, clips):
    good, bad = event(clips[0]), event(clips[1], 9)
    told = post(client, good, bad, good, "what")
    assert told["saved"] == [good["event_id"]] * 2
    assert set(told["refused"]) == {bad["event_id"], "#3"}
    assert "rating 9" in told["refused"][bad["event_id"]]
    assert [row["event_id"] for row in journal_rows(home_of(store).journal)] == [good["event_id"]]


@pytest.mark.parametrize("body", ["", "[]", '{"events": 3}', "{", '{"event": []}'])
def test_a_body_of_another_form_is_refused(client, body):
    answer = client.post("/api/events", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert client.post("/api/events", content="{}", headers={"content-type": "text/plain"}).status_code == 415


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


def test_a_tar_that_is_gone_is_an_answer_not_a_crash(client, store, clips):
    Path(store.url(store.read("clips").to_pylist()[0]["tar"])).unlink()
    assert client.get(f"/clip/{clips[0]}").status_code == 503


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, None), ("bytes=0-0", (0, 0)), ("bytes=9-", (9, 9)), ("bytes=-20", (0, 9)), ("bytes=3-2", None),
        ("items=1-2", None), ("bytes=1-2,4-5", None), ("bytes=-", None),
    ],
)  # fmt: skip
def test_ranges_are_read_as_the_standard_says(header, found):
    assert parse_range(header, 10) == found


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0", "bytes=11-12"])
def test_ranges_beyond_the_end_cannot_be_satisfied(header):
    with pytest.raises(ValueError, match="lies beyond"):
        parse_range(header, 10)


def test_labels_of_another_session_and_of_files_are_known(store, config, clips, tmp_path):
    (tmp_path / "l.csv").write_text(f"clip_id,rating\n{clips[0]},3\n")
    import_labels(store, tmp_path / "l.csv", "ann", config)
    app = label_app(store, config, home_of(store), annotator="ann")
    with TestClient(app) as client:
        assert client.get("/api/state").json()["answers"] == [[clips[0], 3]]
    app.state.labelling.journal.close()


def test_a_server_without_clips_or_with_a_wrong_name_says_so(store, config, pool_writer):
    with pytest.raises(UserError, match="there are no clips to rate"):
        label_app(store, config, home_of(store))
    pool_writer.add("a", "g")
    for name in ("arcade", "", "a\nb"):
        with pytest.raises(UserError, match="annotator"):
            label_app(store, config, home_of(store), annotator=name)
    with pytest.raises(UserError, match="--token"):
        serve_labels(store, config, home_of(store), host="0.0.0.0", port=0)


# -- a real server that is killed

_SERVER = """
import sys
from pipeline.config import Config
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from classifier.labels.page import serve_labels
store = Store(sys.argv[1])
serve_labels(store, Config(), home_of(store), port=0, annotator="ann")
"""


def start(root: str) -> tuple[subprocess.Popen[str], str]:
    """Start a server on a free port and return it with its address."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, root], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[4]
    )
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, f"no address in {line!r}"
    return server, found[0]


def test_no_acknowledged_label_is_lost_when_the_server_is_killed(store, pool_writer, config):
    clips = pool_writer.add("a", "g" * 4)
    label_queue(store, config)
    acked: list[str] = []

    def send(url: str, enough: threading.Event, stop: threading.Event) -> None:
        for number in range(10_000):
            if stop.is_set():
                return
            body = json.dumps({"events": [event(clips[number % 4], 1 + number % 5)]}).encode()
            request = urllib.request.Request(f"{url}api/events", body, {"content-type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    acked.extend(json.load(answer)["saved"])
            except OSError:
                return
            if number == 10:
                enough.set()

    for _ in range(2):
        server, url = start(store.root)
        enough, stop = threading.Event(), threading.Event()
        clients = [threading.Thread(target=send, args=(url, enough, stop)) for _ in range(3)]
        for client in clients:
            client.start()
        try:
            assert enough.wait(30)
        finally:
            os.kill(server.pid, signal.SIGKILL)
            stop.set()
            for client in clients:
                client.join(30)
            server.communicate(timeout=30)
    # an ordinary end puts what the killed ones left into the store
    server, url = start(store.root)
    with urllib.request.urlopen(f"{url}api/state", timeout=30):
        pass  # before its first answer the server may not handle SIGINT yet: `nohup` and `&` start it ignored
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=30)
    stored = set(store.read("labels", ["event_id"])["event_id"].to_pylist())
    assert len(acked) >= 20
    assert set(acked) <= stored
    assert set(current_labels(store, config)) == set(clips)
