"""The labelling page in a real browser, on a real server: a key a clip, undo, resume, and labels that wait."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from classifier.labels.journal import journal_rows
from classifier.labels.queue import load_queue
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.label_server import (
    NUM_CLIPS,
    ServerProcess,
    all_saved,
    fill,
    open_page,
    press,
    ratings,
    served,
    shown,
    until,
)

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with six short clips of two recordings, as the pipeline stores them."""
    return fill(tmp_path_factory.mktemp("page") / "root")


@pytest.fixture
def root(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled, tmp_path / "root")
    return tmp_path / "root"


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


@pytest.fixture
def order(root: Path) -> list[str]:
    """The clips in the order of the queue."""
    return [item["clip_id"] for item in load_queue(Store(root))]


def test_clips_are_shown_in_their_own_shape(page, url, tmp_path):
    def until_shaped(name: str, ratio: float) -> None:
        box = f"document.getElementById('{name}').getBoundingClientRect()"
        until(page, f"Math.abs({box}.width / {box}.height / {ratio} - 1) < 0.02")

    open_page(page, url)
    until(page, "document.querySelector('#strips img.shown').naturalWidth === 1280")
    # the stage takes its shape from the clip's first frame, which may come after the strip
    until_shaped("stage", 16 / 9)
    with served(fill(tmp_path / "square", 64, 64)) as address:
        open_page(page, address)
        until(page, "document.querySelector('#strips img.shown').naturalWidth === 512")
        until_shaped("stage", 1)
        until_shaped("strips", 8)


_WHEN_PAINTED = """
window.painted = [];
addEventListener("keydown", (event) => { window.pressed = event.timeStamp; }, true);
addEventListener("DOMContentLoaded", () => {
  new MutationObserver(() => window.painted.push(performance.now()))
    .observe(document.body, { attributeFilter: ["data-painted"] });
});
"""


def test_a_key_rates_the_clip_and_shows_the_next_which_plays(page, url, order, root):
    page.add_init_script(_WHEN_PAINTED)
    open_page(page, url)
    assert shown(page) == order[0]
    playing = "[...document.querySelectorAll('.slot.shown video')].map((v) => [v.muted, v.loop, v.playbackRate])"
    assert page.evaluate(playing) == [[True, True, 4]]
    until(page, "document.querySelector('.slot.shown video').currentTime > 0.1")
    until(page, "document.querySelector('#strips img.shown').naturalWidth === 1280")
    for key in "ofmo":  # reasons, one of them taken back
        press(page, key)
    chosen = "[...document.querySelectorAll('#reasons [aria-pressed=true]')].map((b) => b.dataset.reason)"
    assert page.evaluate(chosen) == ["menu", "face"]
    sent = (
        "performance.getEntriesByType('resource').filter((e) => e.name.endsWith('api/events')).map((e) => e.startTime)"
    )
    for number, key in enumerate("515"):
        press(page, key)
        assert shown(page) == order[number + 1]
        until(page, f"document.body.dataset.painted === '{order[number + 1]}'")
        all_saved(page)
        # the label is sent once the next clip is on the screen, or after a while without it
        # (the screen is looked at from another callback of the same frames: a slow machine may tell it a few later)
        painted = page.evaluate(f"Math.min(painted[{number + 1}], pressed + 1400)")
        assert page.evaluate(f"{sent}.at(-1)") >= painted - 100
    assert page.evaluate(chosen) == []
    assert ratings(root) == {order[0]: 5, order[1]: 1, order[2]: 5}
    rows = journal_rows(home_of(Store(root)).journal)
    assert [(row["reasons"], row["stream"], row["repeat"]) for row in rows] == [
        (["menu", "face"], "random", False), ([], "random", False), ([], "random", False),
    ]  # fmt: skip
    assert page.inner_text("#done") == "3"
    assert page.inner_text("#target") == str(NUM_CLIPS)
    assert page.inner_text("#r5 i") == "2"
    assert page.inner_text("#title") == "Super <b>Jump</b> speedrun, any% 🎮"


def test_the_grid_rates_the_chosen_clip_or_all_the_rest_and_undo_takes_it_back(page, url, order, root):
    open_page(page, url)
    press(page, "g")
    tiles = "[...document.querySelectorAll('.tile')].filter((t) => !t.hidden)"
    assert page.evaluate(f"{tiles}.map((t) => t.dataset.clip)") == order
    until(page, f"{tiles}.every((t) => t.firstChild.currentTime > 0 && !t.firstChild.paused)")
    press(page, "ArrowRight")
    press(page, "4")
    assert shown(page) == order[2]  # the next without a rating
    press(page, "ArrowDown")  # to the second row, which has two clips: no third
    assert shown(page) == order[2]
    page.click(f".tile[data-clip='{order[4]}']")
    press(page, "s")
    all_saved(page)
    assert ratings(root) == {order[1]: 4}
    press(page, "u")
    assert shown(page) == order[4]
    press(page, "Shift+Digit1")
    page.wait_for_selector("#note.on")
    all_saved(page)
    assert ratings(root) == {**dict.fromkeys(order, 1), order[1]: 4}
    press(page, "u")
    all_saved(page)
    assert ratings(root) == {order[1]: 4}
    press(page, "g")
    assert page.evaluate(f"{tiles}.map((t) => t.dataset.clip)") == [one for one in order if one != order[1]]
    press(page, "g")
    assert shown(page) == order[0]


def test_undo_goes_back_without_limit_and_rates_anew_also_after_a_reload(page, url, order, root):
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
    for key in ("6", "x", "Enter", "Shift+Digit5", "?", "5", "u"):  # the list of keys is open for the last two
        press(page, key)
    assert page.locator("#help[open]").count() == 1
    press(page, "Escape")
    assert page.locator("#help[open]").count() == 0
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


def test_a_killed_server_is_named_and_two_tabs_lose_no_label_and_double_none(page, server_process, order, root):
    other = page.context.new_page()
    for tab in (page, other):
        open_page(tab, server_process.url)
        until(tab, "[...document.querySelectorAll('.slot video')].every((v) => v.readyState >= 3)")
    press(page, "5")
    for tab in (page, other):
        until(tab, f"document.body.dataset.clip === '{order[1]}'")  # what one tab rated, the other does not ask
        all_saved(tab)
    server_process.kill()
    for tab in (page, other):  # nobody touches the page
        tab.wait_for_selector("#gone.on", timeout=20_000)
    said = page.inner_text("#gone")
    assert "The labelling server is gone" in said
    assert "Ratings are kept here" in said
    for number, (tab, key) in enumerate(((page, "1"), (other, "4"), (page, "2"), (other, "3")), 1):
        until(tab, f"document.body.dataset.clip === '{order[number]}'")
        press(tab, key)
    for tab in (page, other):  # at a clip that was never loaded
        until(tab, f"document.body.dataset.clip === '{order[5]}'")
        until(tab, "document.getElementById('unsaved').textContent === '4 unsaved'")
        assert not tab.is_visible("#broken")
    server_process.start()
    for tab in (page, other):
        tab.wait_for_selector("#gone.on", state="detached")
        all_saved(tab)
        until(tab, "document.querySelector('.slot.shown video').currentTime > 0.1")
        assert tab.inner_text("#done") == "5"
        assert tab.locator("#note.on").count() == 0
    press(page, "1")
    all_saved(page)
    rows = journal_rows(home_of(Store(root)).journal)
    assert sorted((row["clip_id"], row["kind"], row["rating"]) for row in rows) == sorted(
        (clip_id, "rate", rating) for clip_id, rating in zip(order, (5, 1, 4, 2, 3, 1), strict=True)
    )


def test_a_clip_whose_bytes_are_gone_is_named_and_left_out(page, order, root):
    gone = order[0].rsplit("-", 2)[0]
    [tar] = (Path(root) / "clips").rglob(f"{gone}.tar")
    tar.unlink()
    there = [clip_id for clip_id in order if not clip_id.startswith(gone)]
    with served(root) as address:
        open_page(page, address)
        until(page, f"document.body.dataset.clip === '{there[0]}'")
        said = page.inner_text("#broken")
        assert gone in said
        assert "bytes are gone" in said
        assert "Nothing was recorded" in said
        for number in range(len(there)):
            until(page, f"document.body.dataset.clip === '{there[number]}'")
            press(page, "4")
        until(page, "document.getElementById('note').innerText.includes('3 cannot be shown')")
        all_saved(page)
    assert ratings(root) == dict.fromkeys(sorted(there), 4)
    assert len(journal_rows(home_of(Store(root)).journal)) == len(there)


def test_people_who_divide_the_queue_choose_their_name_and_see_how_far_they_agree(page, root):
    with served(root, "anna", "Ben-É @2") as address:
        page.goto(address)
        until(page, "document.querySelectorAll('#note a').length === 2")
        page.click("#note a >> text=anna")
        until(page, "(document.body.dataset.clip || '') !== ''")
        assert page.inner_text("#who") == "anna"
        until(page, "document.getElementById('agreement').innerText.includes('rated by several')")
        part = int(page.inner_text("#target"))
        for _ in range(NUM_CLIPS):  # her part, and what Ben has left
            press(page, "5")
        all_saved(page)
        assert part < NUM_CLIPS
        assert (page.inner_text("#done"), page.inner_text("#target")) == (str(NUM_CLIPS), str(NUM_CLIPS))
    rows = journal_rows(home_of(Store(root)).journal)
    assert [(row["annotator"], row["rating"]) for row in rows] == [("anna", 5)] * NUM_CLIPS


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
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('the quota is exceeded'); }; }")
    press(page, "2")  # a browser that cannot keep a rating says so, and stays at the clip
    assert shown(page) == order[1]
    assert "not recorded: Error: the quota is exceeded" in page.inner_text("#broken")
    said = "the labels cannot be saved: database or disk is full"
    # the newest route counts: with none in between, no event slips through to the server
    page.route("**/api/events", lambda route: route.fulfill(status=503, body=said))
    until(page, "!document.getElementById('full').hidden")
    assert page.inner_text("#full").startswith(f"{said}. Ratings are kept here")
    page.unroute("**/api/events")
    until(page, "document.getElementById('full').hidden")
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
