"""A root with six clips, the labelling page served from it, and what its browser tests do with a page."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn

from classifier.labels.journal import journal_rows
from classifier.labels.page import PAGE, label_app
from classifier.labels.queue import write_queue
from pipeline.arcade.platformer import record_platformer
from pipeline.clip_spec import clip_spec
from pipeline.clips.encode import encode_clip, encode_frames
from pipeline.clips.tar import TarWriter
from pipeline.config import Config
from pipeline.http_guard import Guard, content_policy, open_socket, url_of
from pipeline.ids import clip_id_of
from pipeline.job import Job
from pipeline.label_events import fold
from pipeline.storage.home import home_of
from pipeline.storage.store import Store

NUM_CLIPS = 6
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
serve_labels(Job(store, Config(), home_of(store)), Address(port=int(sys.argv[2])), run_uvicorn, annotators=["ann"])
"""


def fill(folder: Path, width: int = 160, height: int = 90) -> Path:
    """Write six clips of the platformer, cut to a size, into a new root."""
    store, config = Store(folder), Config()
    spec, batch = clip_spec(config.clips), "2026w47-0001"
    for number in range(2):
        video_id, rows, buffer = f"folder-run-{number}", [], io.BytesIO()
        writer = TarWriter(buffer)
        frames = np.stack(list(record_platformer(number, 16 * NUM_CLIPS // 2, fps=10)))[:, :height, :width]
        for index, part in enumerate(np.split(frames, NUM_CLIPS // 2)):
            clip_id = clip_id_of(video_id, index * 16000, spec)
            mp4, jpeg = encode_clip(part, config.clips).mp4, encode_frames(part)
            offset, at = writer.add(f"{clip_id}.mp4", mp4), writer.add(f"{clip_id}.frames.jpg", jpeg)
            rows.append({
                "clip_id": clip_id, "video_id": video_id, "batch": batch, "clip_spec": spec, "source_sha256": "0" * 64,
                "start_ms": index * 16000, "end_ms": (index + 1) * 16000, "tar": f"clips/{spec}/{batch}/{video_id}.tar",
                "offset": offset, "size": len(mp4), "sha256": clip_id, "frames_offset": at, "frames_size": len(jpeg),
                "flags": [],
            })  # fmt: skip
        writer.close()
        store.write_blob(rows[0]["tar"], buffer.getvalue())
        title = "Super <b>Jump</b> speedrun, any% 🎮"
        store.append("videos", [{"video_id": video_id, "extractor": "folder", "title": title, "batch": batch}])
        store.append("clips", rows)
        done = {"video_id": video_id, "batch": batch, "clip_spec": spec, "source_sha256": "0" * 64, "state": "ok"}
        store.append("clippings", [{**done, "num_clips": len(rows)}])
    write_queue(Job(store, config, home_of(store)))
    return Path(store.root)


def ratings(root: Path) -> dict[str, int]:
    """Return the ratings that the journal amounts to."""
    events = journal_rows(home_of(Store(root)).journal)
    return {clip_id: by_annotator["ann"]["rating"] for clip_id, by_annotator in fold(events).items()}


class ServerProcess:
    """The page's server in a process of its own, which can be killed and started again on the same port."""

    def __init__(self, root: Path) -> None:
        self.root, self.port, self.url = root, 0, ""
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, str(self.root), str(self.port)],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
        )  # fmt: skip
        assert self.process.stdout is not None
        found = re.search(r"http://[\d.]+:(\d+)/", self.process.stdout.readline())
        assert found
        self.url, self.port = found[0], int(found[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


@contextmanager
def served(root: Path, *annotators: str) -> Iterator[str]:
    """Serve the page by a thread (a process would import for seconds in every test), and yield its address."""
    store = Store(root)
    app = label_app(Job(store, Config(), home_of(store)), annotators or ["ann"])
    guarded = Guard(app, host="127.0.0.1", token=None, policy=content_policy(PAGE.read_text("utf-8")))
    socket = open_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(guarded, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    yield url_of("127.0.0.1", socket)
    server.should_exit = server.force_exit = True
    thread.join(30)
    socket.close()
    app.state.journal.close()


def until(page, condition: str) -> None:
    """Wait for a JavaScript condition (Playwright's own waiting needs `eval`, which the page's policy forbids)."""
    deadline = time.monotonic() + 30
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"never came true: {condition}"
        page.wait_for_timeout(50)


def open_page(page, url: str) -> None:
    page.goto(url)
    until(page, "document.body.dataset.clip !== undefined && document.body.dataset.clip !== ''")


def shown(page) -> str:
    return page.evaluate("document.body.dataset.clip")


def press(page, key: str) -> None:
    page.keyboard.press(key)


def all_saved(page) -> None:
    until(page, "document.getElementById('unsaved').dataset.count === '0'")
