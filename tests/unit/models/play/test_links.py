"""Links: the same frames bit for bit, on a server that knows nothing of the game; and what is no link is refused."""

import dataclasses

import numpy as np
import pytest

from models.play.key_hints import WorldHints
from models.play.link import MAX_FRAMES, Link, Step, actions_text, read_actions, read_link
from models.play.starts.held_out import StartFrame
from models.play.starts.starts import Starts
from models.play.worlds import PlayedWorld
from pipeline.config.evaluation import SamplingConfig
from pipeline.config.world import StackConfig
from pipeline.errors import UserError

OTHER = SamplingConfig(maskgit_steps=3, token_temperature=0.5, unmask_order="halton", past_window="prefill")
GEOMETRIC = SamplingConfig(maskgit_steps=4, token_temperature=0.0, unmask_schedule="geometric")


@pytest.fixture
def random_world(make_world):
    """Return a world of random networks as a new server would load it."""
    # of three layers: cached states then depend on frames that left the window
    stack = StackConfig(layers=3, d_model=16, heads=2, head_dim=8)

    def load(noise=0):
        world = make_world(stack=stack)
        frames = np.random.default_rng(noise).integers(0, 255, (2, 9, 14, 3), dtype=np.uint8)
        starts = [StartFrame(frame, f"clip-{index}", 0) for index, frame in enumerate(frames)]
        return PlayedWorld(world, Starts(world, starts), WorldHints(""))

    return load


def _wander(page):
    """Play past the window, go back, branch, change the settings, play on."""
    for action in (0, 1, 1, 2, 0, 1, 2):
        page.act(action)
    page.say("rewind", t=5)
    page.hear("frame")
    for action in (2, 2, 2, 2, 2, 0):
        page.act(action)
    page.say("settings", maskgit_steps=3, token_temperature=0.5, unmask_order="random")
    page.act(1)
    page.act(2)
    page.say("pause")
    return page.hear("link")["link"]


@pytest.mark.parametrize("past_window", ["ring", "prefill"])
def test_a_link_gives_the_same_frames_bit_for_bit_on_a_new_server(serve, connect, random_world, past_window):
    settings = {"token_temperature": 2.0, "past_window": past_window}
    client = serve(random_world(), **settings)
    with connect(client) as page, connect(client) as other:
        game = page.start(seed=7)["game"]
        other.start(seed=7)
        other.act(1)  # another game draws nothing from this one's noise
        link = _wander(page)
        path = [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15]
        shown = [client.get(f"/api/games/{game}/frames/{node}.png").content for node in path]
    assert len(set(shown)) > 5
    again = serve(random_world(), maskgit_steps=9, past_window="ring")
    with connect(again) as page:
        started = page.start(link=link)
        assert [row[2] for row in started["nodes"]] == list(range(14))
        assert (started["seed"], started["link"]) == (7, link)
        replayed = [again.get(f"/api/games/{started['game']}/frames/{node}.png").content for node in range(14)]
        assert replayed == shown
        page.start(link=link.replace("seed=7", "seed=8"))
        assert page.pictures[0] != shown[-1]


def test_the_same_seed_and_keys_are_the_same_game(serve, connect, random_world):
    client = serve(random_world(), token_temperature=2.0)

    def played(keys, **fields):
        with connect(client) as page:
            page.start(**fields)
            for key in keys:
                page.act(key)
            return page.pictures

    keys = [0, 1, 2, 1, 0, 2]
    assert played(keys) == played(keys)
    assert played(keys) != played(keys[::-1])
    assert played(keys) != played(keys, seed=1)


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([], ""),
        ([Step(0), Step(1), Step(1)], "011"),
        ([Step(3)] * 12 + [Step(1)], "3(12)1"),
        ([Step(35), Step(36), *[Step(120)] * 9], "z[36][120](9)"),
        ([Step(1), Step(1, anew=True), Step(1)], "1!!11"),
        ([Step(2), Step(2, True, OTHER), Step(2)], "2!3_0.5_1.0_halton_0_prefill!22"),
        ([Step(2), Step(2, True, GEOMETRIC)], "2!4_0.0_1.0_confidence_0_prefill_geometric!2"),
    ],
)
def test_actions_are_written_short_and_read_back(steps, text):
    assert actions_text(steps) == text
    assert read_actions(text) == steps


def test_a_link_is_read_back_whole_also_as_an_address():
    link = Link("picture:ab", tuple(read_actions("12!!3(40)")), 5, "feed", "c0ffee", OTHER)
    assert read_link(link.text()) == link
    assert read_link("http://127.0.0.1:8000/?x=1" + link.text()) == link
    assert link.text() == (
        "#world=feed&start=picture:ab&frame=c0ffee&seed=5&settings=3_0.5_1.0_halton_0_prefill&actions=12!!3(40)"
    )


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("", "no link of a game"),
        ("#actions=1", "no link of a game"),
        ("#start=a&seed=-1", "must be a whole number"),
        ("#start=a&seed=" + "9" * 5000, "must be a whole number"),
        ("#start=a&actions=1,2", "not readable at character 2: ',2'"),
        ("#start=a&actions=1(", "not readable at character 2"),
        ("#start=a&actions=1!3_4!", "must be 6 or 7 values"),
        ("#start=a&settings=99_1_1_random_0_ring", "maskgit_steps = 99: must be at most 64"),
        ("#start=a&settings=9_1_1_best_0_ring", "unmask_order = 'best': must be one of"),
        ("#start=a&settings=9_1_1_random_0_ring_flat", "unmask_schedule = 'flat': must be one of"),
        ("#start=a&settings=9_nan_1_random_0_ring", "nan: must be at least 0"),
        ("#start=a&settings=9_-1_1_random_0_ring", "must be at least 0"),
        ("#start=a&settings=9_1e9_1_random_0_ring", "token_temperature = 1000000000.0: must be at most 10"),
        ("#start=a&settings=x_1_1_random_0_ring", "must be whole numbers"),
        (f"#start=a&actions=1({MAX_FRAMES + 1})", f"holds {MAX_FRAMES} frames at most"),
        ("#start=a&actions=" + "1(999999)" * 9, f"holds {MAX_FRAMES} frames at most"),
        ("#start=a&actions=" + "12" * 10_000, "characters at most"),
    ],
)
def test_what_is_no_link_is_refused_with_what_is_wrong(link, says):
    with pytest.raises(UserError, match=r".") as refused:
        read_link(link)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("world=ring", "world=sand"), "world 'sand' is not in this store, whose worlds are ring"),
        (("frame=", "frame=0"), "is another picture now, so the link cannot be reproduced"),
        (("held_out:0", "held_out:9"), "'held_out:9' is not here any more: choose another one"),
        (("actions=2", "actions=7"), "the link has action 7, and this world has the actions 0 to 3"),
    ],
)
def test_a_link_of_something_else_is_refused_in_words_and_the_game_goes_on(page, change, says):
    page.start()
    page.act(2)
    page.say("pause")
    link = page.hear("link")["link"]
    page.say("start", link=link.replace(*change))
    assert says in page.hear("error")["error"]
    assert page.act(1)["t"] == 2


def test_a_path_that_is_too_long_for_a_link_is_told_so(serve, connect, played):
    long = Link("held_out:0", tuple([Step(1), Step(2)] * (MAX_FRAMES // 2 + 1)))
    with pytest.raises(UserError, match=f"holds {MAX_FRAMES} frames at most, and this path has {MAX_FRAMES + 2}"):
        long.text()
    client = serve(played, history=20)
    with connect(client) as page:
        page.start(link=dataclasses.replace(long, steps=long.steps[:25]).text())
        assert page.header["t"] == 25
        page.say("pause")
        told = page.hear("link")
        assert (told["link"], "play.history" in told["why"]) == (None, True)
