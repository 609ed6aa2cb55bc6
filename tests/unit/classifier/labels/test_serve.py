"""A real labelling server: no label that it acknowledged is lost when it is killed."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
import uuid
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from classifier.labels.queue import write_queue
from classifier.labels.serve import serve_labels
from pipeline.label_events import current_labels
from pipeline.serving import Address

_SERVER = """
import sys
from pipeline.config import Config
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.job import Job
from pipeline.serving import Address
from assets.cli.server import run_uvicorn
from classifier.labels.serve import serve_labels
store = Store(sys.argv[1])
serve_labels(Job(store, Config(), home_of(store)), Address(), run_uvicorn, annotators=["ann"])
"""


def rating(clip: str, value: int) -> dict[str, object]:
    return {"event_id": str(uuid.uuid4()), "clip_id": clip, "kind": "rate", "rating": value}


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


@pytest.mark.heavy
def test_no_acknowledged_label_is_lost_when_the_server_is_killed(job, pool_writer):
    clips = pool_writer.add("a", "g" * 4)
    write_queue(job)
    acked: list[str] = []

    def send(url: str, enough: threading.Event, stop: threading.Event) -> None:
        for number in range(10_000):
            if stop.is_set():
                return
            body = json.dumps({"events": [rating(clips[number % 4], 1 + number % 5)]}).encode()
            request = urllib.request.Request(f"{url}api/events", body, {"content-type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    acked.extend(json.load(answer)["saved"])
            except (OSError, http.client.HTTPException):  # killed before its answer, or in the middle of it
                return
            if number == 10:
                enough.set()

    for _ in range(2):
        server, url = start(job.store.root)
        enough, stop = threading.Event(), threading.Event()
        clients = [threading.Thread(target=send, args=(url, enough, stop)) for _ in range(3)]
        for client in clients:
            client.start()
        try:
            assert enough.wait(120)
        finally:
            os.kill(server.pid, signal.SIGKILL)
            stop.set()
            for client in clients:
                client.join(120)
            server.communicate(timeout=120)
    # an ordinary end puts what the killed ones left into the store
    server, url = start(job.store.root)
    with urllib.request.urlopen(f"{url}api/state", timeout=120):
        pass  # before its first answer the server may not handle SIGINT yet: `nohup` and `&` start it ignored
    server.send_signal(signal.SIGINT)
    server.communicate(timeout=120)
    stored = set(job.store.read("labels", ["event_id"])["event_id"].to_pylist())
    assert len(acked) >= 20
    assert set(acked) <= stored
    assert set(current_labels(job.store, job.config)) == set(clips)


def test_the_page_is_served_behind_the_guard_with_its_own_script_allowed(job, clips, capsys):
    answers = []

    def run(app, listening):
        with TestClient(app, base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
            answers.append(client.get("/").headers["content-security-policy"])
            answers.append(client.get("/", headers={"host": "evil.example"}).status_code)

    serve_labels(job, Address(), run, annotators=["anna", "ben"])
    assert "script-src 'self'" in answers[0]
    assert answers[1] == 421
    printed = capsys.readouterr().out
    assert re.search(r"anna: http://127\.0\.0\.1:\d+/\?who=anna\n  ben: http://\S+/\?who=ben\n", printed)
