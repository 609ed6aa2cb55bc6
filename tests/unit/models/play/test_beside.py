"""What stands beside a game, and what is made of it: the true clip, the replay of its actions, recordings."""

import dataclasses
import io

import av
import numpy as np
import pytest
from PIL import Image

from models.play import recording
from models.play.worlds import PlayedWorld, Worlds
from pipeline.errors import UserError
from tests.play_socket import pixels_of

LEFT, RIGHT = 1, 2


@pytest.fixture
def compared(serve, connect, played, ring_clips):
    """Return a page on a world whose first start is frame 30 of a clip of 41 frames."""
    clip = ring_clips[0]
    start = dataclasses.replace(played.starts.held_out("held_out:0"), frame_HWC=clip.frames_THWC[30], index=30)
    played.starts._held_out["held_out:0"] = start
    with connect(serve(dataclasses.replace(played, clip=lambda clip_id: clip.frames_THWC))) as page:
        page.start()
        yield page, clip


def test_the_true_clip_stands_beside_the_game_until_it_ends(compared):
    page, clip = compared
    page.say("compare", **{"with": "true"})
    page.hear("frame")
    for t in range(1, 13):
        frame = page.act(LEFT)
        assert frame["compared"] is (t <= 10), t
        assert len(page.pictures) == len(frame["sizes"]) == (2 if t <= 10 else 1)
        if t <= 10:
            assert np.array_equal(pixels_of(page.pictures[1]), clip.frames_THWC[30 + t])
    page.say("rewind", t=3)
    page.hear("frame")
    assert np.array_equal(pixels_of(page.pictures[1]), clip.frames_THWC[33])
    page.say("compare", **{"with": "none"})
    page.hear("frame")
    assert len(page.pictures) == 1


def test_the_replay_of_the_clips_actions_stands_beside_the_game(compared):
    page, clip = compared
    page.act(LEFT)
    page.say("compare", **{"with": "replay"})
    page.hear("frame")
    # the ring world infers the true actions, so its replay is the clip
    assert np.array_equal(pixels_of(page.pictures[1]), clip.frames_THWC[31])
    for t in range(2, 5):
        page.act(LEFT)
        assert np.array_equal(pixels_of(page.pictures[1]), clip.frames_THWC[30 + t])
    page.say("settings", maskgit_steps=7)
    page.act(LEFT)
    assert np.array_equal(pixels_of(page.pictures[1]), clip.frames_THWC[35])


def test_where_there_is_no_clip_a_comparison_is_refused_in_words(serve, connect, played, page):
    page.start()
    page.say("compare", **{"with": "true"})
    assert "held_out:0 is not a frame of a clip" in page.hear("error")["error"]

    def gone(clip_id):
        raise UserError(f"clip {clip_id}: its video was taken down, so there is nothing to compare with")

    with connect(serve(dataclasses.replace(played, clip=gone))) as other:
        other.start()
        other.say("compare", **{"with": "replay"})
        assert "taken down" in other.hear("error")["error"]
        assert other.act(RIGHT)["compared"] is False
        other.say("compare", **{"with": "dreams"})
        assert "must be one of none, true, replay" in other.hear("error")["error"]


def test_a_path_is_recorded_as_it_was_shown(client, page, ring_world, monkeypatch):
    game = page.start()["game"]
    for _ in range(5):
        page.act(RIGHT)
    page.say("rewind", t=2)
    page.hear("frame")
    page.act(LEFT)
    shown = [10, 14, 18, 14]

    gif = client.get(f"/api/games/{game}/recording.gif?fps=20")
    assert (gif.headers["content-type"], gif.headers["x-frames"]) == ("image/gif", "4 of 4")
    with Image.open(io.BytesIO(gif.content)) as film:
        assert (film.n_frames, film.info["duration"], film.size) == (4, 50, (300, 200))
        for index, offset in enumerate(shown):
            film.seek(index)
            drawn = np.asarray(film.convert("RGB"))[::10, ::10].astype(int)
            assert np.abs(drawn - ring_world.pictures[offset].numpy()).mean() < 12, "the palette has 256 colours"

    film = client.get(f"/api/games/{game}/recording.mp4?node=5")
    assert (film.headers["content-type"], film.headers["x-frames"]) == ("video/mp4", "6 of 6")
    with av.open(io.BytesIO(film.content)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert (len(frames), container.streams.video[0].average_rate) == (6, 50)
    assert frames[0].shape == (420, 630, 3)

    monkeypatch.setitem(recording.MAX_FRAMES, "gif", 2)
    short = client.get(f"/api/games/{game}/recording.gif")
    assert short.headers["x-frames"] == "2 of 4"
    assert 'filename="lampworks-2-3.gif"' in short.headers["content-disposition"]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("recording.avi", 404, "mp4 and gif"),
        ("recording.gif?node=99", 404, "no frame 99"),
        ("recording.gif?node=x", 404, "is no frame"),
        ("recording.mp4?fps=0", 400, "from 1 to 60"),
        ("recording.mp4?fps=1e9", 404, "is no speed"),
    ],
)
def test_a_recording_of_something_else_is_refused(client, page, path, status, says):
    game = page.start()["game"]
    answer = client.get(f"/api/games/{game}/{path}")
    assert (answer.status_code, says in answer.json()["error"]) == (status, True)


def test_another_world_of_the_store_is_loaded_when_it_is_asked_for(serve, connect, played, make_ring_world):
    loaded = []

    def load(model):
        loaded.append(model)
        world = make_ring_world()
        world.model_id = model
        return PlayedWorld(world, played.starts, played.hints)

    client = serve(Worlds(played, {"sand": "9 steps", "snow": "8 steps"}, load), max_sessions=5)
    about = client.get("/api/world").json()
    assert [(one["model"], one["title"]) for one in about["models"]] == [
        ("ring", ""),
        ("sand", "9 steps"),
        ("snow", "8 steps"),
    ]
    assert loaded == []
    other = client.get("/" + about["models"][1]["url"]).json()
    assert (other["model"], other["starts"][0]["url"]) == ("sand", "/worlds/sand/api/starts/held_out:0.png")
    assert client.get(other["starts"][0]["url"]).headers["content-type"] == "image/png"
    assert client.get("/api/world?model=dust").json()["error"].startswith("world 'dust' is not in this store")
    with connect(client) as page, connect(client) as beside:
        assert page.start(model="sand")["model"] == "sand"
        beside.start()
        beside.say("start", start="held_out:0", model="snow")
        assert "2 worlds are loaded and played" in beside.hear("error")["error"]
        page.start(model="")
        assert beside.start(model="snow")["model"] == "snow", "nobody plays sand any more"
        assert page.act(RIGHT)["t"] == 1
    assert loaded == ["sand", "snow"]
