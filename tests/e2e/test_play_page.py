"""The play page in a real browser: keys drive the world."""

import threading
import time

import numpy as np
import pytest
import torch

from assets.cli.server import server_of
from models.play.key_hints import KeyHint, WorldHints
from models.play.page import PAGE, play_app
from models.play.starts.held_out import StartFrame
from pipeline.arcade.platformer import record_platformer
from pipeline.config import PlayConfig
from pipeline.serving import Address, Listener

pytestmark = pytest.mark.browser
LEFT, RIGHT, STEP = 1, 2, 5


class ScrollingWorld:
    """A frame of the platformer on a ring: its token is the offset, three of eight actions stand, left and right."""

    model_id = "scrolling"
    num_actions = 8
    context = decoder_window = 1

    def __init__(self):
        frame = next(iter(record_platformer(3, 1, fps=10)))
        self.pictures = torch.stack([torch.from_numpy(np.roll(frame, -offset, 1)) for offset in range(160)])

    def encode(self, video_BTHWC):
        return torch.zeros(*video_BTHWC.shape[:2], 1, dtype=torch.int64)

    def begin(self, prompt_tokens_BTP, latent_actions_BA, *, sampling):
        return ScrollingRollout(self, int(prompt_tokens_BTP[0, -1, 0]))


class ScrollingRollout:
    def __init__(self, world, offset):
        self.world, self.offset = world, offset

    def step(self, latent_actions_B, generator):
        self.offset = (self.offset + {LEFT: -STEP, RIGHT: STEP}.get(int(latent_actions_B[0]), 0)) % 160
        return torch.tensor([[self.offset]])

    def pixels(self):
        return self.world.pictures[self.offset][None]


class PlayServer:
    """The page's server in a thread, which can be stopped and started again on the same port."""

    def __init__(self):
        self.port, self.url = 0, ""
        self.start()

    def start(self):
        starts = [StartFrame(next(iter(record_platformer(seed, 1, fps=10))), f"clip-{seed}") for seed in range(4)]
        keys = {
            **dict.fromkeys(range(8), KeyHint("view stands", "•")),
            LEFT: KeyHint("view moves left", "←", right=-5.0),
            RIGHT: KeyHint("view moves right", "→", right=5.0),
        }
        app = play_app(ScrollingWorld(), starts, PlayConfig(), hints=WorldHints("The keys control this world.", keys))
        self.listener = Listener(Address(port=self.port))
        self.url = self.listener.url
        self.port = int(self.url.rsplit(":", 1)[1].strip("/"))
        self.server = None

        def run(guarded, listening):
            self.server = server_of(guarded)
            self.server.run(sockets=[listening])

        html = PAGE.read_text("utf-8")
        options = {"run": run, "on_ready": lambda url: None}
        self.thread = threading.Thread(target=self.listener.serve, args=(app, html), kwargs=options)
        self.thread.start()
        while self.server is None or not self.server.started:
            time.sleep(0.01)

    def stop(self):
        self.server.should_exit = True
        self.thread.join()
        self.listener.close()


@pytest.fixture
def server():
    server = PlayServer()
    yield server
    server.stop()


@pytest.fixture
def address(server):
    return server.url


@pytest.fixture
def page(browser, address):
    context = browser.new_context(viewport={"width": 1180, "height": 820})
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # the browser notes every refused request, and some tests ask for one
    expected = ("410 (Gone)", "ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET")
    noted = lambda line: line.type == "error" and not any(text in line.text for text in expected)  # noqa: E731
    page.on("console", lambda line: errors.append(line.text) if noted(line) else None)
    page.goto(address)
    page.wait_for_selector("body[data-t='0']")
    yield page
    assert errors == []
    context.close()


def _pixels(page):
    return page.evaluate(
        """() => { const picture = document.getElementById("picture"), canvas = document.createElement("canvas");
        canvas.width = picture.naturalWidth; canvas.height = picture.naturalHeight;
        const context = canvas.getContext("2d"); context.drawImage(picture, 0, 0);
        return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data); }"""
    )


def _frame(page):
    return np.array(_pixels(page), np.uint8).reshape(90, 160, 4)[..., :3]


def _until(page, condition):
    # not wait_for_function: the page's own policy forbids it to evaluate strings
    deadline = time.monotonic() + 30
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def _after(page, t):
    page.wait_for_selector(f"body[data-t='{t}']")
    return _frame(page)


def _tap(page, *keys):
    """Press and release keys with nothing in between: one that is still down when its frame comes is answered again,
    and on a busy machine a press of the browser's driver lasts that long."""
    page.evaluate(
        """keys => { for (const key of keys) for (const type of ["keydown", "keyup"])
        dispatchEvent(new KeyboardEvent(type, { key, code: key, cancelable: true })); }""",
        list(keys),
    )


def test_each_key_is_answered_with_the_frame_it_leads_to(page):
    pictures = ScrollingWorld().pictures.numpy()
    assert np.array_equal(_frame(page), pictures[0])
    _tap(page, "3")
    assert np.array_equal(_after(page, 1), pictures[STEP])
    _tap(page, "2")
    assert np.array_equal(_after(page, 2), pictures[0])
    _tap(page, "ArrowRight")
    assert np.array_equal(_after(page, 3), pictures[STEP])
    _tap(page, *"12345678")
    assert np.array_equal(_after(page, 11), pictures[STEP])  # left and right once each
    _tap(page, "r")
    assert np.array_equal(_after(page, 0), pictures[0])


def test_a_key_that_is_held_goes_on_until_it_is_released(page):
    page.keyboard.down("3")
    _until(page, "document.body.dataset.t >= 5")
    assert page.locator(".key.down kbd").text_content() == "3"
    page.keyboard.up("3")
    page.wait_for_selector(".key.down", state="detached")
    stopped = int(page.evaluate("document.body.dataset.t"))
    page.wait_for_timeout(150)
    assert int(page.evaluate("document.body.dataset.t")) == stopped
    assert float(page.locator("#fps").text_content()) > 0


def test_a_world_that_answers_at_once_is_played_at_the_speed_of_its_clips(page):
    times = page.evaluate(
        """async () => {
            const at = () => Number(document.body.dataset.t), times = [];
            dispatchEvent(new KeyboardEvent("keydown", { key: "3", code: "3", cancelable: true }));
            while (times.length < 6) {
                const before = at();
                while (at() === before) await new Promise(requestAnimationFrame);
                times.push(performance.now());
            }
            dispatchEvent(new KeyboardEvent("keyup", { key: "3", code: "3" }));
            return times;
        }"""
    )
    assert times[-1] - times[0] > 400, "5 frames at 10 a second"


def test_a_thumbnail_starts_a_new_game_and_a_button_plays_it(page):
    _tap(page, "3")
    page.wait_for_selector("body[data-t='1']")
    page.locator(".starts button").nth(2).click()
    page.wait_for_selector("body[data-t='0']")
    assert page.locator(".starts button").nth(2).get_attribute("aria-pressed") == "true"
    page.locator(".key").nth(2).click()
    _until(page, "document.body.dataset.t >= 1")


def test_a_game_that_the_server_dropped_says_so_and_r_starts_again(page):
    page.evaluate("game.name = 'gone'")
    with page.expect_response("**/api/step"):
        _tap(page, "1")
    _until(page, "document.getElementById('error').textContent.includes('start again')")
    _tap(page, "r")
    _until(page, "document.getElementById('error').textContent === '' && game.name !== 'gone' && !busy")
    _tap(page, "1")
    page.wait_for_selector("body[data-t='1']")


def _gone(page):
    return page.locator("#gone.on").all_inner_texts()


def test_the_page_says_that_the_server_is_gone_and_goes_on_by_itself_once_it_is_back(page, server):
    _tap(page, "3")
    page.wait_for_selector("body[data-t='1']")
    page.locator(".starts button").nth(2).click()
    page.wait_for_selector("body[data-t='0']")
    page.keyboard.down("3")
    _until(page, "document.body.dataset.t >= 1")
    server.stop()
    page.wait_for_selector("#gone.on")
    page.keyboard.up("3")
    (said,) = _gone(page)
    assert "The server is gone" in said
    assert "lampworks play" in said
    _tap(page, "3")
    page.wait_for_timeout(300)
    assert _gone(page) == [said], "a key changes nothing"
    server.start()
    page.wait_for_selector("body[data-t='0']")
    _until(page, "document.getElementById('gone').textContent.startsWith('The server is back')")
    assert page.locator(".starts button").nth(2).get_attribute("aria-pressed") == "true"
    assert page.locator(".key").count() == 8
    assert page.locator("#error").text_content() == ""
    _tap(page, "3")
    page.wait_for_selector("body[data-t='1']")
    assert _gone(page) == []


def test_a_server_that_goes_while_nobody_plays_is_noticed_too(page, server):
    server.stop()
    page.wait_for_selector("#gone.on", timeout=20_000)
    server.start()
    _until(page, "document.getElementById('gone').textContent.startsWith('The server is back')")
