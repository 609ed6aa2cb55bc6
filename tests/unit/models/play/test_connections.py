"""Connections that are lost, come back, are too many, or send what no page sends."""

import pytest
from starlette.websockets import WebSocketDisconnect

from models.play.room import Room

LEFT, RIGHT = 1, 2


def test_a_game_whose_connection_was_lost_goes_on_where_it_was(client, connect):
    with connect(client) as page:
        game = page.start()["game"]
        for _ in range(3):
            page.act(RIGHT)
        page.say("rewind", t=1)
        page.hear("frame")
        page.act(LEFT)
    with connect(client) as page:
        page.say("resume", game=game)
        started = page.hear("started")
        assert (started["resumed"], started["node"]) == (True, 4)
        tree = [[0, None, 0, -1], [1, 0, 1, RIGHT], [2, 1, 2, RIGHT], [3, 2, 3, RIGHT], [4, 1, 2, LEFT]]
        assert started["nodes"] == tree
        assert page.hear("frame")["node"] == 4
        assert page.act(RIGHT)["t"] == 3


def test_a_game_that_this_server_does_not_know_is_gone_and_its_link_brings_it_back(serve, connect, played):
    with connect(serve(played)) as page:
        game = page.start()["game"]
        page.act(RIGHT)
        page.say("pause")
        link = page.hear("link")["link"]
        shown = page.pictures
    with connect(serve(played)) as page:
        page.say("resume", game=game)
        assert "server was started again" in page.hear("gone")["error"]
        page.start(link=link)
        assert (page.header["t"], page.pictures) == (1, shown)


def test_a_game_is_in_one_tab_at_a_time(client, connect):
    with connect(client) as old, connect(client) as new:
        game = old.start()["game"]
        new.say("resume", game=game)
        new.hear("frame")
        assert old.hear("error") == {
            "type": "error",
            "error": "this game goes on in another tab or window",
            "fatal": True,
        }
        assert new.act(RIGHT)["t"] == 1


def test_a_connection_that_asks_for_its_own_game_is_told_its_frames_again(page):
    game = page.start()["game"]
    page.act(RIGHT)
    page.say("resume", game=game)
    assert page.hear("started")["node"] == 1
    page.hear("frame")
    assert page.act(RIGHT)["t"] == 2


def test_a_long_link_that_is_played_is_left_for_another_game(page, ring_world):
    page.say("start", link="#start=held_out:0&actions=2(5000)")
    page.say("start", start="held_out:1")
    assert page.hear("started")["start"] == "held_out:1"
    assert len(ring_world.calls) < 5000


def test_one_player_too_many_is_told_so_and_a_lost_game_makes_room(client, connect):
    with connect(client) as first:
        first.start()
        with connect(client) as second:
            second.start()
            with connect(client) as third:
                third.say("start", start="held_out:0")
                said = third.hear("full")["error"]
                assert "2 players are here already (play.max_sessions)" in said
                with pytest.raises(WebSocketDisconnect):
                    third.hear()
            second.start()  # another game of the same player
        with connect(client) as fourth:
            fourth.start()
        assert first.act(RIGHT)["t"] == 1


def test_a_game_without_a_connection_is_kept_for_a_while():
    now = [0.0]
    room = Room(2, 10, clock=lambda: now[0])
    leave = lambda: None  # noqa: E731
    seats = [room.sit(None, None, leave) for _ in range(2)]
    room.lose(seats[0], leave)
    now[0] = 9.0
    assert room.find(seats[0].name) is seats[0]
    now[0] = 11.0
    assert room.find(seats[0].name) is None
    assert room.find(seats[1].name) is seats[1], "this one has its connection"


def test_a_flood_of_messages_ends_the_connection_with_words_and_the_others_play_on(client, connect, monkeypatch):
    monkeypatch.setattr("models.play.player.MESSAGES_A_SECOND", 0)  # so that no machine is too slow for a flood
    with connect(client) as other:
        other.start()
        with connect(client) as page:
            for _ in range(500):
                page.say("speed", fps=10)
            error = page.hear("error")
            assert (error["fatal"], "messages a second" in error["error"]) == (True, True)
            with pytest.raises(WebSocketDisconnect):
                page.hear()
        assert other.act(RIGHT)["t"] == 1


def test_presses_and_orders_that_pile_up_are_left_out_with_words(page):
    page.start()
    page.acknowledges = False
    for n in range(20):
        page.say("act", action=RIGHT, n=n)
    heard = [page.hear("error") for _ in range(20 - 2 - 12)]
    assert {error["error"] for error in heard} == {"12 presses wait already: this one was left out"}
    assert all(error["n"] >= 12 for error in heard)
