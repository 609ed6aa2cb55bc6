"""A game tells the doubt of its path, also after going back, and hands over the frames at which its world guesses."""

import numpy as np
import pytest
import torch

from models.play.doubts import note_situation, read_doubt
from models.play.game import Game
from models.uncertainty.calibration import Calibration
from models.uncertainty.doubt import Doubter
from models.world.signals import DECAY, FEATURES
from pipeline.config.evaluation import SamplingConfig
from pipeline.errors import UserError

SAMPLING = SamplingConfig(maskgit_steps=1, token_temperature=1.0)


def calibration(limit=0.5):
    """The score is the entropy summed up along the path, as a share of 10 nats."""
    weights = np.array([name == "entropy_so_far" for name in FEATURES], float)
    quantiles = np.tile(np.linspace(0, 10, 11), (len(FEATURES), 1))
    return Calibration(quantiles, weights, np.array([0.0, 1.0]), np.array([0.0, 1.0]), limit)


@pytest.fixture(scope="module")
def world(make_world):
    return make_world()


@pytest.fixture
def tokens(world):
    return world.encode(torch.zeros(1, 1, 9, 14, 3, dtype=torch.uint8))[0]


def game_of(world, tokens, limit=0.5):
    doubter = Doubter(calibration(limit))
    return Game(world, "held_out:0", tokens, SAMPLING, seed=3, history=100, doubter=doubter)


def test_the_doubt_adds_up_along_the_path_and_goes_on_from_the_frame_that_one_goes_back_to(world, tokens):
    game = game_of(world, tokens)
    made = [game.step(action) for action in (0, 1, 2)]
    sums = [0.0]
    for one in made:
        sums.append(DECAY * sums[-1] + one.doubt.entropy)
        assert one.doubt.score == pytest.approx(min(sums[-1], 10) / 10)
        assert one.doubt.guessing == (one.doubt.score >= one.doubt.threshold)
        assert one.doubt_ms > 0
    game.go(made[0].node.node)
    branch = game.step(0)
    assert branch.doubt.path.frames == 2
    assert branch.doubt.score == pytest.approx(min(DECAY * sums[1] + branch.doubt.entropy, 10) / 10)
    assert game.doubt_of(made[2].node.node) is made[2].doubt
    assert game.doubt_of(0) is None


def test_asking_for_the_doubt_changes_no_pixel(world, tokens):
    plain = Game(world, "held_out:0", tokens, SAMPLING, seed=3, history=100)
    asked = game_of(world, tokens)
    for action in (0, 1, 2, 0, 1, 2):
        one, other = plain.step(action), asked.step(action)
        assert one.png == other.png
        assert one.doubt is None
        assert other.doubt is not None


def test_doubts_are_kept_for_as_many_frames_as_the_game_keeps(world, tokens):
    doubter = Doubter(calibration())
    game = Game(world, "held_out:0", tokens, SAMPLING, seed=3, history=8, doubter=doubter)
    for step in range(30):
        made = game.step(step % 3)
    assert len(game._doubts) <= len(game.tree)
    assert made.doubt.path.frames == 30


class Log:
    """Takes every situation."""

    def __init__(self, wanted=True):
        self.wanted, self.taken = wanted, []

    def wants(self, game):
        return self.wanted

    def note(self, game, situation):
        self.taken.append((game, situation))
        return True


class Held:
    clip_id = "v0-000000000-0123abcd"


class Starts:
    def __init__(self, held):
        self.held = held

    def held_out(self, name):
        return self.held


def played(world, tokens, log, *, limit=0.3, held=None, link="#actions=0", steps=8):
    game = game_of(world, tokens, limit)
    made = []
    for step in range(steps):
        made.append(game.step(step % 3))
        note_situation(log, "g", game, made[-1], Starts(held), lambda: link)
    return made


def test_a_situation_is_noted_where_a_world_begins_to_guess_and_not_while_it_goes_on(world, tokens):
    log = Log()
    made = played(world, tokens, log, held=Held())
    first = next(one for one in made if one.doubt.guessing)
    assert sum(one.doubt.guessing for one in made) > 1
    [(game, situation)] = log.taken
    assert (game, situation.t, situation.clip_id) == ("g", first.node.t, Held.clip_id)
    assert (situation.link, situation.score) == ("#actions=0", first.doubt.score)
    assert situation.pictures[-1] == first.png
    assert len(situation.pictures) == first.node.t
    assert situation.keeps_picture


def test_a_persons_own_picture_is_not_kept(world, tokens):
    log = Log()
    played(world, tokens, log, held=None)
    [(_, situation)] = log.taken
    assert situation.clip_id is None
    assert not situation.keeps_picture


def test_none_is_noted_where_none_is_wanted_or_nothing_is_guessed_or_no_link_reproduces_it(world, tokens):
    refusing, log = Log(wanted=False), Log()
    played(world, tokens, refusing)
    played(world, tokens, log, limit=2.0)
    played(world, tokens, log, link=None)
    assert refusing.taken == log.taken == []


def test_what_the_page_shows_is_read_from_the_evaluation_and_damage_is_told_with_the_fix():
    document = {**calibration().as_json(), "limit": "worse than X", "sources": 9, "secret": 1}
    about, doubter = read_doubt({"doubt": document}, "w")
    threshold = doubter.calibration.threshold
    assert (about["limit"], about["sources"], about["threshold"]) == ("worse than X", 9, threshold)
    assert "secret" not in about
    assert read_doubt(None, "w") == read_doubt({}, "w") == read_doubt({"doubt": None}, "w") == (None, None)
    with pytest.raises(UserError, match=r"^world w: .*; evaluate it again, or set play.doubt = false$"):
        read_doubt({"doubt": {**document, "weights": None}}, "w")
