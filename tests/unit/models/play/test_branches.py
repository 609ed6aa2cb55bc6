"""A game is a tree: rewind, branch, go to any frame; only the newest frames are kept."""

import numpy as np
import pytest

from tests.play_socket import pixels_of

LEFT, RIGHT = 1, 2


def _place(page, ring_world):
    found = (ring_world.pictures.numpy() == page.pixels).all((1, 2, 3))
    return int(np.flatnonzero(found)[0])


def test_an_action_after_a_rewind_begins_a_branch_and_the_old_one_stays(page, ring_world):
    page.start()
    for _ in range(4):
        page.act(RIGHT)
    page.say("rewind", t=1)
    back = page.hear("frame")
    assert (back["node"], back["t"], back["action"]) == (1, 1, None)
    assert _place(page, ring_world) == 14
    branch = page.act(LEFT)
    assert (branch["node"], branch["parent"], branch["t"]) == (5, 1, 2)
    assert _place(page, ring_world) == 10
    page.say("go", node=4)
    assert page.hear("frame")["t"] == 4
    assert _place(page, ring_world) == 26
    page.say("rewind", t=2)
    assert page.hear("frame")["node"] == 2, "on the path to the current frame, not in the other branch"


def test_keys_before_a_rewind_are_forgotten_and_keys_after_it_are_not(page):
    page.acknowledges = False
    page.start()
    page.act(RIGHT, n=1)
    page.say("act", action=RIGHT, n=2)  # waits: two frames are not shown yet
    page.say("rewind", t=0)
    page.say("act", action=LEFT, n=3)
    assert page.hear("frame")["t"] == 0
    for node in (0, 1):
        page.say("ack", node=node)
    frame = page.hear("frame")
    assert (frame["parent"], frame["n"]) == (0, 3)


def test_frames_of_the_tree_are_given_as_pictures(client, page, ring_world):
    game = page.start()["game"]
    for _ in range(3):
        page.act(RIGHT)
    for node in range(4):
        picture = client.get(f"/api/games/{game}/frames/{node}.png")
        assert np.array_equal(pixels_of(picture.content), ring_world.pictures[10 + 4 * node])


@pytest.mark.parametrize("path", ["frames/4.png", "frames/x.png", "frames/" + "9" * 5000 + ".png", "link?node=-1"])
def test_a_frame_that_is_not_there_is_not_found(client, page, path):
    game = page.start()["game"]
    answer = client.get(f"/api/games/{game}/{path}")
    assert answer.status_code == 404
    assert "frame" in answer.json()["error"]
    assert "start again" in client.get("/api/games/other/link").json()["error"]


def test_only_the_newest_frames_are_kept_and_the_page_is_told_which_are_not(serve, connect, played, ring_world):
    client = serve(played, history=20)
    with connect(client) as page:
        game = page.start()["game"]
        dropped = []
        for t in range(1, 31):
            page.act(RIGHT)
            if t > 20:
                dropped += page.hear("pruned")["nodes"]
        assert dropped == list(range(1, 11))
        gone = client.get(f"/api/games/{game}/frames/10.png")
        assert (gone.status_code, "play.history" in gone.json()["error"]) == (404, True)
        page.say("go", node=3)
        assert "not kept any more" in page.hear("error")["error"]
        page.say("go", node=12)
        assert "cannot be continued" in page.hear("error")["error"], "the frames before it are needed too"
        page.say("go", node=25)
        page.hear("frame")
        assert page.act(LEFT)["t"] == 26
        page.say("go", node=0)
        page.hear("frame")
        assert _place(page, ring_world) == 10, "the start is kept always"


def test_what_the_current_frame_is_continued_from_is_kept_in_any_case(serve, connect, played):
    client = serve(played, history=12)
    with connect(client) as page:
        page.start()
        for _ in range(10):
            page.act(RIGHT)
        for node in range(20):
            page.say("go", node=10)
            page.hear("frame")
            assert page.act(LEFT)["t"] == 11, node


def test_settings_change_the_frames_from_here_on(page, ring_world):
    assert page.start()["settings"]["maskgit_steps"] == 2
    page.act(RIGHT)
    page.say("settings", maskgit_steps=5, token_temperature=0.5, unmask_order="random")
    told = page.hear("settings")
    assert (told["maskgit_steps"], told["token_temperature"], told["past_window"]) == (5, 0.5, "prefill")
    page.act(RIGHT)
    assert [call[:2] for call in ring_world.calls] == [(2, 0), (5, 0.5)]
