"""The play page's addresses: every action is answered with the next frame, and nothing else gets through."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from models.play.games import Games, StartFrame
from models.play.key_hints import WorldHints, key_hint
from models.play.page import play_app
from pipeline.config import PlayConfig
from pipeline.errors import UserError
from tests.odd_json import ODD_BODIES

LEFT, RIGHT = 1, 2
CONFIG = PlayConfig(maskgit_steps=2, token_temperature=0, max_sessions=3)


@pytest.fixture
def starts(ring_world):
    return [StartFrame(ring_world.pictures[offset].numpy(), f"clip-{offset}") for offset in (10, 70)]


@pytest.fixture
def client(ring_world, starts):
    measured = {"label": "view moves right", "symbol": "→", "right": 4.0, "down": 0.0}
    measured["true_actions"] = {"right": 0.9, "jump": 0.1}
    app = play_app(ring_world, starts, CONFIG, hints=WorldHints("", {RIGHT: key_hint(measured)}))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


def _pixels(answer):
    with Image.open(io.BytesIO(answer.content)) as picture:
        return np.asarray(picture)


def _step(client, game, action, t):
    return client.post("/api/step", json={"game": game, "action": action, "t": t})


def test_a_game_starts_at_its_frame_and_every_action_leads_to_the_next(client, ring_world):
    first = client.post("/api/start", json={"start": 0})
    assert np.array_equal(_pixels(first), ring_world.pictures[10])
    game, offset = first.headers["x-game"], 10
    for t, action in enumerate([RIGHT] * 12 + [LEFT, 0]):
        answer = _step(client, game, action, t)
        offset += {RIGHT: 4, LEFT: -4, 0: 0}[action]
        assert answer.headers["x-t"] == str(t + 1)
        assert np.array_equal(_pixels(answer), ring_world.pictures[offset])


def test_the_page_and_what_it_asks_for_first(client, starts):
    page = client.get("/")
    assert "image-rendering: pixelated" in page.text
    about = client.get("/api/world").json()
    assert [action["symbol"] for action in about["actions"]] == ["", "", "→", ""]
    assert [action["meant"] for action in about["actions"]] == ["", "", "90% right", ""]
    assert [start["clip_id"] for start in about["starts"]] == ["clip-10", "clip-70"]
    assert np.array_equal(_pixels(client.get("/api/starts/1.png")), starts[1].frame_HWC)
    assert client.get("/api/starts/2.png").status_code == 404


def test_a_step_is_taken_once(client):
    game = client.post("/api/start", json={"start": 0}).headers["x-game"]
    assert _step(client, game, RIGHT, 0).status_code == 200
    again = _step(client, game, RIGHT, 0)
    assert again.status_code == 409
    assert "not at frame 0" in again.json()["error"]
    assert _step(client, game, RIGHT, 1).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/api/step", {"game": "x", "action": 4, "t": 0}, "action = 4"),
        ("/api/step", {"game": "x", "action": -1, "t": 0}, "action = -1"),
        ("/api/step", {"game": "x", "action": True, "t": 0}, "action = True"),
        ("/api/step", {"game": "x", "action": "1", "t": 0}, "action = '1'"),
        ("/api/step", {"game": "x", "action": 1}, "t = None"),
        ("/api/step", {"game": "x", "action": 1.0, "t": 0}, "action = 1.0"),
        ("/api/step", {"game": "x", "action": [[[]]], "t": 0}, "action = "),
        ("/api/step", {"game": ["x"], "action": 1, "t": 0}, "game = ['x']: must be a text"),
        ("/api/step", {"action": 1, "t": 0}, "game = None"),
        ("/api/start", {"start": None}, "start = None"),
        ("/api/start", {"start": "x" * 3000}, "must be a whole number from 0 to 1"),
        ("/api/start", {"start": 2}, "start = 2"),
        ("/api/start", [0], "JSON object"),
        ("/api/start", None, "JSON"),
    ],
)
def test_a_request_of_another_form_is_refused_with_what_is_wrong(client, path, body, says):
    answer = client.post(path, json=body) if body is not None else client.post(path, content=b"{")
    assert answer.status_code == 400
    assert says in answer.json()["error"]


@pytest.mark.parametrize(("body", "says"), ODD_BODIES.values(), ids=ODD_BODIES)
@pytest.mark.parametrize("path", ["/api/step", "/api/start"])
def test_a_body_that_no_page_sends_is_refused_with_what_is_wrong(client, path, body, says):
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert says in answer.json()["error"]


@pytest.mark.parametrize("name", ["2", "-1", "01", "x", "9" * 5000, "\u0661", "1.0", "%00"])
def test_a_start_frame_that_is_not_there_is_not_found(client, name):
    answer = client.get(f"/api/starts/{name}.png")
    assert (answer.status_code, answer.json()["error"]) == (404, "no such start frame: there are 2, counted from 0")


def test_the_game_that_was_idle_longest_makes_room_and_says_so(client):
    games = [client.post("/api/start", json={"start": 0}).headers["x-game"] for _ in range(3)]
    assert _step(client, games[0], RIGHT, 0).status_code == 200
    client.post("/api/start", json={"start": 1})
    gone = _step(client, games[1], RIGHT, 0)
    assert gone.status_code == 410
    assert "start again" in gone.json()["error"]
    assert _step(client, games[0], RIGHT, 1).status_code == 200


def test_the_same_seed_and_keys_are_the_same_game(make_world):
    world = make_world()
    config = PlayConfig(maskgit_steps=2, token_temperature=2.0)

    def played(keys, config=config):
        games = Games(world, [StartFrame(np.full((9, 14, 3), 90, np.uint8), "clip")], config)
        name, first = games.start(0)
        # another game in between draws nothing from this one's noise
        other, _ = games.start(0)
        frames = [first]
        for t, key in enumerate(keys):
            games.step(other, 0, t)
            frames.append(games.step(name, key, t)[1])
        return np.stack(frames)

    keys = [0, 1, 2, 1, 0, 2, 2, 1]
    assert np.array_equal(played(keys), played(keys))
    assert not np.array_equal(played(keys), played(keys[::-1]))
    assert not np.array_equal(played(keys), played(keys, dataclasses.replace(config, seed=1)))


def test_without_a_start_frame_there_is_nothing_to_play(ring_world):
    with pytest.raises(UserError, match="no start frame"):
        play_app(ring_world, [], CONFIG)
