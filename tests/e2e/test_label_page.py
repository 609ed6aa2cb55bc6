"""The labelling page in a real browser, on a real server: a key a clip, undo, resume, and labels that wait."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from classifier.labels.journal import journal_rows
from classifier.labels.page import PAGE, label_app
from classifier.labels.queue import load_queue, write_queue
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

pytestmark = pytest.mark.browser
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


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with six short clips of two recordings, as the pipeline stores them."""
    return fill(tmp_path_factory.mktemp("page") / "root")


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


@pytest.fixture
def root(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled, tmp_path / "root")
    return tmp_path / "root"


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
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert self.process.stdout is not None
        found = re.search(r"http://[\d.]+:(\d+)/", self.process.stdout.readline())
        assert found
        self.url, self.port = found[0], int(found[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


@pytest.fixture
def server_process(root: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(root)
    yield server
    server.kill()


@pytest.fixture
def url(root: Path) -> Iterator[str]:
    """The address of the page."""
    with served(root) as address:
        yield address


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve the page by a thread (a process would import for seconds in every test), and yield its address."""
    store = Store(root)
    app = label_app(Job(store, Config(), home_of(store)), ["ann"])
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


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of its own, without what other tests left in the browser."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []
    context.close()


def until(page, condition: str) -> None:
    """Wait for a JavaScript condition (Playwright's own waiting needs `eval`, which the page's policy forbids)."""
    deadline = time.monotonic() + 30
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"never came true: {condition}"
        page.wait_for_timeout(20)


def open_page(page, url: str) -> None:
    page.goto(url)
    until(page, "document.body.dataset.clip !== undefined && document.body.dataset.clip !== ''")


def shown(page) -> str:
    return page.evaluate("document.body.dataset.clip")


def press(page, key: str) -> None:
    page.keyboard.press(key)


def all_saved(page) -> None:
    until(page, "document.getElementById('unsaved').dataset.count === '0'")


@pytest.fixture
def order(root: Path) -> list[str]:
    """The clips in the order of the queue."""
    return [item["clip_id"] for item in load_queue(Store(root))]


def test_clips_are_shown_in_their_own_shape(page, url, tmp_path):
    def shape(name: str) -> float:
        box = f"document.getElementById('{name}').getBoundingClientRect()"
        return page.evaluate(f"{box}.width / {box}.height")

    open_page(page, url)
    until(page, "document.querySelector('#strips img.shown').naturalWidth === 1280")
    assert shape("stage") == pytest.approx(16 / 9, rel=0.02)
    with served(fill(tmp_path / "square", 64, 64)) as address:
        open_page(page, address)
        until(page, "document.querySelector('#strips img.shown').naturalWidth === 512")
        assert shape("stage") == pytest.approx(1, rel=0.02)
        assert shape("strips") == pytest.approx(8, rel=0.02)


def test_a_key_rates_the_clip_and_shows_the_next_which_plays(page, url, order, root):
    open_page(page, url)
    assert shown(page) == order[0]
    playing = "[...document.querySelectorAll('.slot.shown video')].map((v) => [v.muted, v.loop, v.playbackRate])"
    assert page.evaluate(playing) == [[True, True, 4]]
    until(page, "document.querySelector('.slot.shown video').currentTime > 0.1")
    until(page, "document.querySelector('#strips img.shown').naturalWidth === 1280")
    for number, key in enumerate("515"):
        press(page, key)
        assert shown(page) == order[number + 1]
        until(page, f"document.body.dataset.painted === '{order[number + 1]}'")
    all_saved(page)
    assert ratings(root) == {order[0]: 5, order[1]: 1, order[2]: 5}
    assert page.inner_text("#done") == "3"
    assert page.inner_text("#target") == str(NUM_CLIPS)
    assert page.inner_text("#r5 i") == "2"
    assert page.inner_text("#title") == "Super <b>Jump</b> speedrun, any% 🎮"


def test_undo_goes_back_without_limit_and_rates_anew(page, url, order, root):
    open_page(page, url)
    for key in "543":
        press(page, key)
    for back in (2, 1, 0):
        press(page, "u")
        assert shown(page) == order[back]
    press(page, "u")
    all_saved(page)
    assert ratings(root) == {}
    press(page, "2")
    assert shown(page) == order[1]
    all_saved(page)
    assert ratings(root) == {order[0]: 2}


def test_a_reload_goes_on_where_it_stopped_and_can_still_undo(page, url, order):
    open_page(page, url)
    press(page, "4")
    press(page, "s")
    all_saved(page)
    open_page(page, url)
    assert shown(page) == order[2]
    assert page.inner_text("#done") == "2"
    press(page, "Backspace")
    assert shown(page) == order[1]
    press(page, "u")
    assert shown(page) == order[0]


def test_held_keys_and_shortcuts_of_the_browser_rate_nothing(page, url):
    open_page(page, url)
    first = shown(page)
    page.evaluate(
        """() => { for (const init of [{repeat: true}, {ctrlKey: true}, {altKey: true}, {metaKey: true}])
        dispatchEvent(new KeyboardEvent("keydown", {key: "5", ...init})); }"""
    )
    for key in ("6", "x", "Enter"):
        press(page, key)
    assert shown(page) == first
    press(page, "5")
    assert shown(page) != first


def test_space_pauses_brackets_change_the_speed_and_buttons_do_the_same(page, url, order):
    open_page(page, url)
    video = "document.querySelector('.slot.shown video')"
    until(page, f"!{video}.paused")
    press(page, " ")
    until(page, f"{video}.paused")
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    press(page, " ")
    until(page, f"!{video}.paused")
    for key, rate in (("]", 8), ("]", 8), ("[", 4), ("[", 2), ("[", 1), ("[", 1), ("]", 2)):
        press(page, key)
        assert page.evaluate(f"{video}.playbackRate") == rate
    page.click("#r3")
    assert shown(page) == order[1]
    assert page.evaluate(f"{video}.playbackRate") == 2
    press(page, " ")  # the clicked button must not take the space key
    assert shown(page) == order[1]
    page.click("#undo")
    assert shown(page) == order[0]
    page.click("#skip")
    assert shown(page) == order[1]


def test_labels_wait_while_the_server_is_away_and_are_sent_when_it_is_back(page, server_process, order, root):
    open_page(page, server_process.url)
    until(page, "[...document.querySelectorAll('.slot video')].every((v) => v.readyState >= 3)")
    server_process.kill()
    press(page, "5")
    press(page, "1")
    until(page, "document.getElementById('unsaved').textContent === '2 unsaved'")
    server_process.start()
    all_saved(page)
    assert ratings(root) == {order[0]: 5, order[1]: 1}


def test_the_page_says_that_the_server_is_gone_and_goes_on_by_itself_once_it_is_back(page, server_process, order):
    open_page(page, server_process.url)
    until(page, "[...document.querySelectorAll('.slot video')].every((v) => v.readyState >= 3)")
    press(page, "5")
    all_saved(page)
    server_process.kill()
    page.wait_for_selector("#gone.on", timeout=20_000)  # nobody touches the page
    said = page.inner_text("#gone")
    assert "The labelling server is gone" in said
    assert "Ratings are kept here" in said
    for key in "4321":  # to a clip that was never loaded
        press(page, key)
    assert shown(page) == order[5]
    assert "cannot be played" not in page.inner_text("#note")
    server_process.start()
    page.wait_for_selector("#gone.on", state="detached")
    all_saved(page)
    until(page, "document.querySelector('.slot.shown video').currentTime > 0.1")
    assert shown(page) == order[5]
    assert page.locator("#note.on").count() == 0


def test_a_page_that_was_opened_too_early_starts_once_the_server_answers(page, url, order):
    page.route("**/api/**", lambda route: route.abort())
    page.goto(url)
    page.wait_for_selector("#note.on")
    assert "does not answer" in page.inner_text("#note")
    page.unroute("**/api/**")
    page.wait_for_selector(f"body[data-clip='{order[0]}']")


def test_labels_that_were_never_sent_survive_a_reload(page, url, order, root):
    open_page(page, url)
    page.route("**/api/events", lambda route: route.abort())
    press(page, "5")
    press(page, "u")
    press(page, "4")
    until(page, "document.getElementById('unsaved').dataset.count === '3'")
    page.unroute("**/api/events")
    open_page(page, url)
    assert shown(page) == order[1]
    all_saved(page)
    assert ratings(root) == {order[0]: 4}


def test_the_end_of_the_queue_says_so_and_undo_still_works(page, url, order, root):
    open_page(page, url)
    for _ in order:
        press(page, "5")
    page.wait_for_selector("#note.on")
    assert f"All {NUM_CLIPS} clips are rated" in page.inner_text("#note")
    press(page, "1")
    all_saved(page)
    assert ratings(root) == dict.fromkeys(sorted(order), 5)
    press(page, "u")
    assert shown(page) == order[-1]
    assert page.locator("#note.on").count() == 0


def test_every_control_has_a_name_and_the_page_reports_its_progress(page, url):
    open_page(page, url)
    press(page, "g")
    names = page.evaluate(
        "[...document.querySelectorAll('button')].filter((b) => !b.hidden)"
        ".map((b) => b.ariaLabel || b.textContent.trim())"
    )
    assert len(names) == 17 + NUM_CLIPS
    assert all(names)
    press(page, "g")
    bar = page.locator("#bar")
    assert (bar.get_attribute("role"), bar.get_attribute("aria-valuemax")) == ("progressbar", str(NUM_CLIPS))
    press(page, "5")
    assert bar.get_attribute("aria-valuenow") == "1"
    assert page.inner_text("#live") == f"rated 5, 1 of {NUM_CLIPS}"
