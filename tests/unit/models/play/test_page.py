"""The play page's addresses, and its websocket: every action is answered with the next frame."""

import numpy as np
import pytest

from models.play.page import play_app
from pipeline.config import PlayConfig
from pipeline.errors import UserError
from tests.odd_json import ODD_BODIES
from tests.play_socket import Page, pixels_of

LEFT, RIGHT = 1, 2


def _place(page, ring_world):
    found = (ring_world.pictures.numpy() == page.pixels).all((1, 2, 3))
    return int(np.flatnonzero(found)[0])


def test_a_game_starts_at_its_frame_and_every_action_leads_to_the_next(page, ring_world):
    started = page.start()
    assert (started["start"], started["model"], started["resumed"]) == ("held_out:0", "ring", False)
    assert page.header["parent"] is None
    assert _place(page, ring_world) == 10
    offset = 10
    for t, action in enumerate([RIGHT] * 12 + [LEFT, 0], 1):
        frame = page.act(action, n=100 + t)
        offset += {RIGHT: 4, LEFT: -4, 0: 0}[action]
        assert (frame["t"], frame["action"], frame["n"], frame["parent"]) == (t, action, 100 + t, t - 1)
        assert _place(page, ring_world) == offset
    assert set(frame["ms"]) == {"wait", "dynamics", "decode", "encode", "doubt", "total"}


def test_a_hold_goes_on_until_it_is_released_and_the_newest_wins(page, ring_world):
    page.start()
    page.say("hold", action=RIGHT, n=1)
    assert [page.hear("frame")["action"] for _ in range(3)] == [RIGHT] * 3
    page.say("hold", action=LEFT, n=2)
    while page.hear("frame")["n"] != 2:
        pass
    assert page.hear("frame")["action"] == LEFT
    page.say("release", n=2)
    while page.hear("frame")["n"] != 1:
        pass
    page.say("pause")
    page.say("act", action=0, n=9)
    while page.hear("frame")["n"] != 9:
        pass
    assert page.header["action"] == 0


def test_a_hold_that_is_released_at_once_is_one_frame(page):
    page.start()
    page.say("hold", action=RIGHT, n=1)
    page.say("release", n=1)
    page.say("act", action=LEFT, n=2)
    assert [page.hear("frame")["n"] for _ in range(2)] == [1, 2]


def test_a_page_that_does_not_show_its_frames_gets_two_and_the_others_get_theirs(client, connect):
    with connect(client) as slow, connect(client) as fast:
        slow.acknowledges = False
        slow.start()
        slow.say("hold", action=RIGHT, n=1)
        fast.start()
        for t in range(1, 20):
            assert fast.act(RIGHT)["t"] == t
        assert slow.hear("frame")["t"] == 1
        slow.say("speed", fps=0)
        assert "fps = 0" in slow.hear("error")["error"], "no third frame came before it"
        slow.say("ack", node=1)
        assert slow.hear("frame")["t"] == 2


def test_the_page_and_what_it_asks_for_first(client, starts):
    page = client.get("/")
    assert "static/play.js" in page.text
    assert "text/javascript" in client.get("/static/play.js").headers["content-type"]
    assert client.get("/static/page.py").status_code == 404
    about = client.get("/api/world").json()
    assert [action["symbol"] for action in about["actions"]] == ["", "", "→", ""]
    assert [action["meant"] for action in about["actions"]] == ["", "", "90% right", ""]
    assert (about["keys"]["ArrowRight"], about["actions"][RIGHT]["keys"]) == (RIGHT, ["ArrowRight", "KeyD"])
    assert [start["clip_id"] for start in about["starts"]] == ["clip-10", "clip-70"]
    assert np.array_equal(pixels_of(client.get(about["starts"][1]["url"]).content), starts[1].frame_HWC)
    assert (about["limits"]["players"], about["limits"]["unmask_order"][0]) == (2, "confidence")


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        ("act", {"action": 4}, "action = 4: must be a whole number from 0 to 3"),
        ("act", {"action": -1}, "action = -1"),
        ("act", {"action": True}, "action = True"),
        ("hold", {"action": "1"}, "action = '1'"),
        ("hold", {}, "action = None"),
        ("act", {"action": 1.0}, "action = 1.0"),
        ("act", {"action": [[[]]]}, "action = "),
        ("start", {"start": None}, "start = None: must be a text"),
        ("start", {"start": "x" * 3000}, "is not here any more"),
        ("start", {"start": "held_out:2"}, "is not here any more"),
        ("start", {"start": "held_out:0", "seed": -1}, "seed = -1"),
        ("start", {"start": "held_out:0", "model": "other"}, "is not in this store, whose worlds are ring"),
        ("start", {"link": "#nothing"}, "no link of a game"),
        ("speed", {"fps": 61}, "must be a number from 0.5 to 60"),
        ("rewind", {"t": 7}, "no such frame"),
        ("go", {"node": 7}, "there is no frame 7"),
        ("settings", {"maskgit_steps": 65}, "from 1 to 64"),
        ("settings", {"past_window": "all"}, "must be one of prefill, ring"),
        ("ack", {"node": None}, "node = None"),
        ("dance", {}, "there is no such message"),
        ([1], {}, "must be a text"),
    ],
)
def test_a_message_of_another_form_is_refused_with_what_is_wrong_and_the_game_goes_on(page, kind, fields, says):
    page.start()
    page.say(kind, **fields)
    refused = page.hear("error")
    assert says in refused["error"]
    assert refused["fatal"] is False
    assert page.act(RIGHT)["t"] == 1


@pytest.mark.parametrize(("body", "says"), ODD_BODIES.values(), ids=ODD_BODIES)
def test_a_message_that_no_page_sends_is_refused_with_what_is_wrong(client, body, says):
    with client.websocket_connect("/api/play") as socket:
        socket.send_bytes(body)
        page = Page(socket.send_text, socket.receive_bytes)
        assert (says if len(body) < 1 << 16 else "the limit is 65536") in page.hear("error")["error"]
        page.start()


@pytest.mark.parametrize("kind", ["act", "rewind", "go", "settings"])
def test_without_a_game_there_is_nothing_to_do(page, kind):
    page.say(kind, action=1, t=0, node=0)
    assert "send `start` first" in page.hear("error")["error"]


@pytest.mark.parametrize("name", ["held_out:2", "-1", "01", "x", "9" * 5000, "\u0661", "1.0", "%00"])
def test_a_start_frame_that_is_not_there_is_not_found(client, name):
    answer = client.get(f"/api/starts/{name}.png")
    assert (answer.status_code, answer.json()["error"][:13]) == (404, "no such start")


def test_without_a_start_frame_there_is_nothing_to_play(ring_world):
    with pytest.raises(UserError, match="no start frame"):
        play_app(ring_world, [], PlayConfig())
