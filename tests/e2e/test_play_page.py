"""The play page in a real browser: keys drive the world, and nothing that a person did is lost."""

from __future__ import annotations

import numpy as np
import pytest

from tests.play_server import (
    JUMP,
    JUMP_RIGHT,
    LEFT,
    RIGHT,
    STAND,
    RollingWorld,
    at,
    frame,
    press,
    tap,
    until,
)

pytestmark = pytest.mark.browser
shown = RollingWorld().shown


@pytest.fixture
def page(open_page, play_server):
    return open_page(play_server.url)


def test_each_key_is_answered_with_the_frame_it_leads_to(page):
    assert np.array_equal(frame(page), shown())
    for codes, actions in ((["Digit3"], [RIGHT]), (["KeyA"], [RIGHT, LEFT]), (["ArrowUp"], [RIGHT, LEFT, JUMP])):
        assert np.array_equal(press(page, *codes), shown(*actions))
    # restart goes back to the first frame; the run stays as a branch
    tap(page, "KeyR")
    assert np.array_equal(at(page, 0), shown())


def test_keys_that_are_down_together_play_the_action_of_both(page):
    page.keyboard.down("ArrowRight")
    page.keyboard.down("Space")
    until(page, "document.querySelector('.key.down')?.dataset.code === '5'")
    page.keyboard.up("Space")
    until(page, "document.querySelector('.key.down')?.dataset.code === '2'")
    page.keyboard.up("ArrowRight")
    until(page, "document.querySelector('.key.down') === null")


def test_a_key_that_is_held_goes_on_until_it_is_released(page):
    page.keyboard.down("3")
    until(page, "document.body.dataset.t >= 5")
    assert page.locator(".key.down kbd").text_content() == "3"
    page.keyboard.up("3")
    page.wait_for_selector(".key.down", state="detached")
    # a frame more may be on its way; after it there is none
    page.wait_for_timeout(250)
    stopped = int(page.evaluate("document.body.dataset.t"))
    page.wait_for_timeout(250)
    assert int(page.evaluate("document.body.dataset.t")) == stopped
    assert np.array_equal(frame(page), shown(*[RIGHT] * stopped))


def chords_of(page, code):
    """Return the button that changes an action's keys: twins stand below the first of their group."""
    return page.locator(f".chords[aria-label^='keys of action {code + 1}:']")


def test_a_person_gives_an_action_other_keys_and_the_browser_keeps_them(page, play_server):
    chords_of(page, JUMP_RIGHT).click()
    tap(page, "KeyQ", "KeyE")
    until(page, "document.getElementById('said').textContent === 'Q E plays action 6 from now on.'")
    chords_of(page, LEFT).click()
    tap(page, "KeyP")
    until(page, "document.getElementById('said').textContent.startsWith('P is a key of the page itself')")
    page.reload()
    page.wait_for_selector("body[data-t='0']")
    assert np.array_equal(press(page, "KeyQ", "KeyE"), shown(JUMP_RIGHT))
    page.locator("#reset-keys").click()
    assert page.locator("#reset-keys").is_hidden()
    assert np.array_equal(press(page, "ArrowRight"), shown(JUMP_RIGHT, RIGHT))


def test_a_game_is_rewound_and_goes_on_as_a_branch_and_the_old_one_can_be_returned_to(page):
    for _ in range(3):
        press(page, "Digit3")
    tap(page, "Backspace")
    at(page, 2)
    tap(page, "Backspace")
    assert np.array_equal(at(page, 1), shown(RIGHT))
    assert np.array_equal(press(page, "Digit2"), shown(RIGHT, LEFT))
    until(page, "document.querySelectorAll('.branch').length === 1")
    assert page.locator(".branch").inner_text() == "2 frames from frame 1"
    page.locator(".branch").click()
    assert np.array_equal(at(page, 3), shown(RIGHT, RIGHT, RIGHT))
    # and the strip leads to any frame of it
    page.locator(".past").nth(2).click()
    assert np.array_equal(at(page, 2), shown(RIGHT, RIGHT))
    assert page.locator(".past[aria-current=true]").get_attribute("aria-label") == "go to frame 2"


def test_a_link_plays_the_same_frames_in_another_browser(page, open_page, play_server):
    for code in ("Digit3", "Digit6", "Digit3"):
        press(page, code)
    page.locator("#copy-link").click()
    until(page, "location.hash.includes('actions=252')")
    link = page.evaluate("location.href")
    other = open_page(link)
    assert np.array_equal(at(other, 3), frame(page))
    # it has the frames before, too
    assert other.locator(".past").count() == 4
    other.evaluate("location.hash = '#start=held_out:0&actions=zz'")
    until(other, "document.getElementById('error').classList.contains('on')")
    assert np.array_equal(press(other, "Digit2"), shown(RIGHT, JUMP_RIGHT, RIGHT, LEFT)), "a wrong link ends no game"


def test_a_thumbnail_starts_a_new_game_and_a_button_plays_it(page):
    press(page, "Digit3")
    page.locator("#starts button").nth(2).click()
    page.wait_for_selector("body[data-t='0']")
    until(page, "document.querySelectorAll('#starts button')[2].getAttribute('aria-pressed') === 'true'")
    page.locator(".key").nth(RIGHT).click()
    until(page, "document.body.dataset.t >= 1")


def _gone(page):
    return page.locator("#gone.on").all_inner_texts()


def test_the_page_says_that_the_server_is_gone_and_goes_on_with_the_game_once_it_is_back(page, play_server):
    press(page, "Digit3")
    press(page, "Digit6")
    page.locator("#copy-link").click()
    until(page, "location.hash.includes('actions=25')")
    play_server.stop()
    page.wait_for_selector("body.away")
    (said,) = _gone(page)
    assert "The server is gone" in said
    assert "lampworks play" in said
    tap(page, "Digit3")
    page.wait_for_timeout(100)
    assert _gone(page) == [said], "a key changes nothing"
    play_server.start()
    until(page, "document.getElementById('gone').textContent.startsWith('The server is back')")
    assert np.array_equal(at(page, 2), shown(RIGHT, JUMP_RIGHT))
    assert page.locator(".key").count() == 8
    assert np.array_equal(press(page, "Digit1"), shown(RIGHT, JUMP_RIGHT, STAND))


def test_a_page_that_is_loaded_again_goes_on_with_its_game(page):
    press(page, "Digit3")
    press(page, "Digit3")
    tap(page, "Backspace")
    at(page, 1)
    press(page, "Digit2")
    page.reload()
    assert np.array_equal(at(page, 2), shown(RIGHT, LEFT))
    until(page, "document.querySelectorAll('.branch').length === 1")
