"""The rest of the play page in a real browser: starts, recordings, several pages, a killed server, screens, fingers."""

from __future__ import annotations

import time

import av
import numpy as np
import pytest
from PIL import Image
from websockets.sync.client import connect

from models.play.player import Player
from tests.play_server import (
    JUMP_RIGHT,
    LEFT,
    RIGHT,
    PlayProcess,
    PlayServer,
    RollingWorld,
    at,
    frame,
    new_game,
    press,
    tap,
    until,
)
from tests.play_socket import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]
shown = RollingWorld().shown


@pytest.fixture
def page(open_page, play_server):
    return open_page(play_server.url)


def test_a_picture_that_is_chosen_dropped_or_pasted_becomes_the_start(page, tmp_path):
    picture = np.zeros((180, 320, 3), np.uint8)
    picture[:, 160:] = 200, 30, 60
    Image.fromarray(picture).save(tmp_path / "half.png")
    first = new_game(page, lambda: page.locator("#file").set_input_files(tmp_path / "half.png"))
    assert np.array_equal(first, picture[::2, ::2])
    assert np.array_equal(press(page, "Digit3"), np.roll(picture[::2, ::2], -5, 1))
    # how well the tokenizer knows it is said, in words, under the picture too
    said = page.locator("#start-said").inner_text()
    assert "tokenizer" in said
    assert page.locator("#pictures small").inner_text() == said

    def give(event):
        page.evaluate(
            """async ([event, holder, colour]) => {
                const canvas = new OffscreenCanvas(40, 40), context = canvas.getContext("2d");
                context.fillStyle = "#000";
                context.fillRect(0, 0, 40, 40);
                context.fillStyle = colour;
                context.fillRect(0, 0, 10, 40);
                const transfer = new DataTransfer();
                transfer.items.add(new File([await canvas.convertToBlob()], "stripe.png", { type: "image/png" }));
                const made = new Event(event, { bubbles: true, cancelable: true });
                Object.defineProperty(made, holder, { value: transfer });
                dispatchEvent(made);
            }""",
            {"paste": ["paste", "clipboardData", "#00005a"], "drop": ["drop", "dataTransfer", "#005a00"]}[event],
        )

    near = {"atol": 9}  # a small picture is enlarged smoothly
    assert np.allclose(new_game(page, lambda: give("paste"))[45, 5], [0, 0, 90], **near)
    cropped = new_game(page, lambda: give("drop"))
    assert np.allclose(cropped[45, 5], [0, 90, 0], **near)
    # a square picture was cropped; padded it is smaller
    padded = new_game(page, lambda: page.locator("#fit input[value=pad]").click())
    assert np.allclose(cropped[45, 49], [0, 0, 0], **near)
    assert np.allclose(padded[45, 49], [0, 90, 0], **near)
    assert page.locator("#pictures .start").count() == 3, "the padded one is shown in place of the cropped one"


def test_a_file_that_is_no_picture_is_refused_in_a_sentence_and_the_game_goes_on(page, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    press(page, "Digit3")
    page.locator("#file").set_input_files(tmp_path / "notes.png")
    until(page, "document.getElementById('start-said').classList.contains('error')")
    said = page.locator("#start-said").inner_text()
    assert said.endswith(".")
    assert said.count(". ") == 0, "one sentence"
    assert np.array_equal(press(page, "Digit3"), shown(RIGHT, RIGHT))


def test_a_sketch_is_drawn_in_the_colours_of_the_world_and_played(page):
    before = frame(page)
    page.locator("#sketch").click()
    until(page, "document.querySelectorAll('#palette button').length > 4")
    colour = page.locator("#palette button").nth(2).get_attribute("title")
    page.locator("#palette button").nth(2).click()
    page.locator("#brushes button", has_text="10 px").click()
    box = page.locator("#easel").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    drawn = frame(page, "easel")
    rgb = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    assert (drawn[45, 40:80] == rgb).all()
    for name in ("Undo", "Redo"):
        page.locator("#brushes button", has_text=name).click()
        assert (frame(page, "easel")[45, 60] == rgb).all() == (name == "Redo")
    page.locator("#brushes button", has_text="Fill").click()
    page.mouse.click(box["x"] + 3, box["y"] + 3)
    assert (frame(page, "easel") == rgb).all()
    page.locator("#sketch-current").click()
    assert np.array_equal(frame(page, "easel"), before)
    # with the keys alone: the brush paints where it stands
    page.locator("#easel").focus()
    page.locator("#brushes button", has_text="1 px").click()
    page.locator("#easel").focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Space")
    sketch = frame(page, "easel")
    assert (sketch != before).any()
    assert np.array_equal(new_game(page, lambda: page.locator("#sketch-use").click()), sketch)
    assert page.locator("#sketcher").is_hidden()


def test_two_pages_play_games_of_their_own(open_page, play_server):
    one, other = open_page(play_server.url), open_page(play_server.url)
    press(one, "Digit3")
    press(other, "Digit6")
    press(one, "Digit3")
    assert np.array_equal(frame(one), shown(RIGHT, RIGHT))
    assert np.array_equal(frame(other), shown(JUMP_RIGHT))


def test_a_game_that_another_connection_took_over_is_not_fought_for(page, play_server):
    press(page, "Digit3")
    game = page.evaluate("document.body.dataset.game")
    with connect(play_server.url.replace("http", "ws") + "api/play", origin=play_server.url.strip("/")) as socket:
        other = Page(socket.send, socket.recv)
        other.say("resume", game=game)
        other.hear("frame")
        until(page, "document.getElementById('gone').textContent.startsWith('This game goes on in another tab')")
        page.wait_for_timeout(1500)
        assert other.act(RIGHT)["t"] == 2
    tap(page, "KeyR")
    at(page, 0)
    assert page.locator("#gone.on").count() == 0


def test_a_server_that_was_killed_in_play_is_waited_for_and_the_game_comes_back(open_page):
    server = PlayProcess()
    try:
        page = open_page(server.url)
        for code in ("Digit3", "Digit6", "Digit3"):
            press(page, code)
        until(page, "location.hash.includes('actions=252')")  # all three, not the first one alone
        page.keyboard.down("2")
        server.kill()
        page.wait_for_selector("body.away")
        page.keyboard.up("2")
        assert "The server is gone" in page.locator("#gone").inner_text()
        server.start()
        until(page, "document.getElementById('gone').textContent.startsWith('The server is back')")
        until(page, "document.body.dataset.t >= 3")
        t = int(page.evaluate("document.body.dataset.t"))
        # the link is told when play rests, so frames of the last moments may be missing; the others are the same
        assert t >= 3
        assert np.array_equal(frame(page), shown(RIGHT, JUMP_RIGHT, RIGHT, *[LEFT] * (t - 3)))
        assert page.locator("#scrub").get_attribute("max") == str(t)
        assert np.array_equal(press(page, "Digit1"), shown(RIGHT, JUMP_RIGHT, RIGHT, *[LEFT] * (t - 3)))
    finally:
        server.kill()


@pytest.mark.parametrize("kind", ["png", "gif", "mp4"])
def test_what_was_played_is_saved(page, kind, tmp_path):
    for code in ("Digit3", "Digit6", "Digit3"):
        press(page, code)
    with page.expect_download() as download:
        page.locator(f"#save-{kind}").click()
    assert download.value.suggested_filename == f"lampworks-3.{kind}"
    download.value.save_as(tmp_path / f"saved.{kind}")
    if kind == "mp4":
        frames = np.stack(
            [decoded.to_ndarray(format="rgb24") for decoded in av.open(tmp_path / "saved.mp4").decode(video=0)]
        )
        assert len(frames) == 4
        assert np.abs(frames[3].astype(int).reshape(shown().shape[0], -1) - 0).mean() > 0
        return
    with Image.open(tmp_path / f"saved.{kind}") as saved:
        if kind == "gif":
            assert saved.n_frames == 4
        else:
            assert np.array_equal(np.asarray(saved), shown(RIGHT, JUMP_RIGHT, RIGHT))


def test_a_paused_game_goes_on_one_frame_a_press(page):
    tap(page, "KeyP")
    assert page.locator("#paused").is_visible()
    page.keyboard.down("3")
    page.wait_for_selector("body[data-t='1']")
    page.wait_for_timeout(500)
    assert page.evaluate("document.body.dataset.t") == "1"
    page.keyboard.up("3")
    tap(page, "Period")
    assert np.array_equal(at(page, 2), shown(RIGHT, RIGHT))
    tap(page, "KeyP")
    assert page.locator("#paused").is_hidden()
    # slower and faster
    tap(page, "BracketLeft")
    assert page.locator("#speed").inner_text() == "8 FPS"


def test_a_world_can_run_on_while_no_key_is_down(page):
    page.locator("#runs").check()
    until(page, "document.body.dataset.t >= 3")
    page.locator("#runs").uncheck()
    assert np.array_equal(frame(page), shown())


def test_presses_that_a_slow_world_did_not_answer_are_dropped(open_page):
    class Slow(RollingWorld):
        def begin(self, *arguments, **options):
            rollout = super().begin(*arguments, **options)
            step = rollout.step
            rollout.step = lambda *given: (time.sleep(0.7), step(*given))[1]
            return rollout

    server = PlayServer(Slow())
    try:
        page = open_page(server.url)
        for _ in range(8):
            tap(page, "Digit3")
        # two are asked for; the newest of the others is too old when its turn comes
        at(page, 2)
        page.wait_for_timeout(1800)
        assert page.evaluate("document.body.dataset.t") == "2"
    finally:
        server.stop()


def test_a_finger_plays_on_the_pad_and_the_page_does_not_scroll(open_page, play_server):
    page = open_page(play_server.url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    # five groups: each action with an effect of its own has one button, its twins have none
    assert page.locator("#pad button").count() == 5
    assert page.locator("#pad [data-code='2']").get_attribute("aria-label") == "action 3: view moves right"
    page.locator("#pad [data-code='2']").tap()
    assert np.array_equal(at(page, 1), shown(RIGHT))
    assert page.evaluate("getComputedStyle(document.querySelector('#pad button')).touchAction") == "none"
    assert page.evaluate("scrollY") == 0


@pytest.mark.parametrize(("width", "height"), [(360, 640), (740, 360), (820, 1180), (1280, 720), (3840, 2160)])
def test_the_picture_is_large_and_nothing_sticks_out_on_any_screen(open_page, play_server, width, height):
    page = open_page(play_server.url, viewport={"width": width, "height": height})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    box = page.locator("#picture").bounding_box()
    assert box["y"] + box["height"] <= height, "the whole picture is seen without scrolling"
    assert box["width"] >= min(0.5 * width, height)
    assert box["width"] / box["height"] == pytest.approx(16 / 9, rel=0.02)


def test_every_control_has_a_name_and_both_colour_schemes_can_be_chosen(open_page, play_server):
    page = open_page(play_server.url, color_scheme="light")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas")]
            .filter((one) => !one.closest("[hidden]") && !one.getAttribute("aria-label") && !one.textContent.trim()
                && !one.labels?.length && !one.closest(".past, .branch"))
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.locator("#theme").click()
    assert page.locator("#theme").inner_text() == "Dark"
    assert page.evaluate(ground) != light
    page.reload()
    page.wait_for_selector("body[data-t]")
    assert page.locator("#theme").inner_text() == "Dark"
    page.locator("#theme").click()
    assert page.evaluate(ground) == light
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()


def test_a_frame_of_which_the_world_is_not_sure_is_marked_by_colour_and_by_words(page, monkeypatch):
    say = Player._send

    async def with_doubt(self, header, pictures=None):
        if header["type"] == "frame" and header["t"]:
            score = 0.9 if header["action"] == JUMP_RIGHT else 0.1
            parts = {"entropy": 1.5, "residual": 0.01, "disagreement": 0.2}
            header = {**header, "doubt": {**parts, "score": score, "guessing": score > 0.5}}
        await say(self, header, pictures)

    monkeypatch.setattr(Player, "_send", with_doubt)
    assert page.locator("#doubt").is_hidden()
    press(page, "Digit3")
    until(page, "document.getElementById('light').dataset.light === 'sure'")
    assert page.locator("#guess").is_hidden()
    press(page, "Digit6")
    until(page, "document.getElementById('light').dataset.light === 'guessing'")
    assert page.locator("#guess").is_visible()
    assert page.locator("#doubt-word").inner_text() == "I am guessing"
    assert (
        page.locator("#doubt-graph").get_attribute("aria-label") == "doubt of the last 3 frames: guessing in 1 of them"
    )
    assert page.locator(".past.guessing").count() == 1


def test_sampling_is_changed_by_sliders_and_set_back(page):
    page.locator("#sampling summary").click()
    slider = page.locator("#sampling-maskgit_steps")
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator(".setting output").first.inner_text() == "1"
    press(page, "Digit3")
    page.locator("#copy-link").click()
    until(page, "/settings=1_/.test(location.hash)")
    page.locator("#reset-sampling").click()
    assert page.locator(".setting output").first.inner_text() == "25"


def test_a_world_without_clips_says_that_it_has_nothing_to_compare_with(page):
    page.locator("#compare").select_option("true")
    until(page, "document.getElementById('error').classList.contains('on')")
    assert page.locator("#other").is_hidden()
    assert page.locator("#compare").input_value() == "none"
    press(page, "Digit3")
