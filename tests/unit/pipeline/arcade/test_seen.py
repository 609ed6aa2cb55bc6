"""The detector sees in frames what the game drew, after a video too, and not what is damaged."""

import dataclasses
import itertools
from typing import NamedTuple

import av
import numpy as np
import pytest

from pipeline.arcade import seen
from pipeline.arcade.catalog import catalog
from pipeline.arcade.encode import encode_recording
from pipeline.arcade.platformer import HEIGHT, TILE, WIDTH, draw, make_level, record_platformer
from pipeline.arcade.platformer_art import THEMES
from pipeline.arcade.truth import TrueStates, true_states, truth_of
from pipeline.arcade.view import camera_of
from pipeline.clips.encode import encode_clip
from pipeline.clips.stored import decode_stored_clip
from pipeline.config import ClipConfig
from pipeline.config.source import ArcadeConfig

THINGS = {"character": seen.CHARACTER, "enemy": seen.ENEMY, "coin": seen.COIN}
SECONDS = 4


def _seed_of(theme):
    return next(seed for seed in itertools.count() if make_level(seed).theme == theme)


@pytest.fixture(scope="module", params=range(len(THEMES)), ids=[theme.name for theme in THEMES])
def played(request, tmp_path_factory):
    """Return theme, true states and frames of a recording: as drawn, and as the clip that is cut from its video."""
    recording = dataclasses.replace(
        catalog(ArcadeConfig(videos=1, seconds=SECONDS))[0], seed=_seed_of(request.param), audio=False, fps=10
    )
    states = true_states(truth_of(recording))
    drawn = np.stack(list(record_platformer(recording.seed, 10 * SECONDS, fps=10)))
    path = tmp_path_factory.mktemp("seen") / "recording.mp4"
    encode_recording(iter(drawn), recording, path)
    with av.open(str(path)) as video:
        small = [
            frame.reformat(width=WIDTH, height=HEIGHT, format="rgb24", interpolation="AREA").to_ndarray()
            for frame in video.decode(video=0)
        ]
    clip = decode_stored_clip(encode_clip(np.stack(small), ClipConfig()).mp4)
    return Played(request.param, states, drawn, clip)


class Played(NamedTuple):
    theme: int
    states: TrueStates
    drawn: np.ndarray
    clip: np.ndarray

    def characters(self, frames):
        return seen.find(seen.classify(frames, self.theme), seen.CHARACTER, self.theme)

    def box(self, step):
        """Return the box of all that differs where the character is not drawn: rows and columns."""
        regions = self.characters(self.drawn[step : step + 1])
        top, left = int(regions.row[0]) - 10, int(regions.column[0]) - 10
        return np.s_[max(top, 0) : top + 21, max(left, 0) : left + 21]


@pytest.mark.parametrize("theme", range(len(THEMES)))
@pytest.mark.parametrize("thing", THINGS)
def test_things_have_colours_that_are_theirs_alone_in_every_theme(thing, theme):
    own = seen.own_colours(THINGS[thing], theme)
    others = {
        colour
        for any_theme in range(len(THEMES))
        for other in {*THINGS.values()} - {THINGS[thing]}
        for colour in seen.own_colours(other, any_theme)
    }
    scenery = {
        colour
        for look in THEMES
        for colour in (*look.sky, look.cloud, look.ground, look.lit, look.joint, look.bush, *look.platform)
    }
    assert own
    distances = [np.linalg.norm(np.subtract(a, b)) for a in own for b in others | scenery]
    assert min(distances) >= seen.MARGIN
    # most of the thing: what is left of it after an edge was lost still counts
    assert seen.own_size(THINGS[thing], theme) >= 40


@pytest.mark.parametrize("source", ["drawn", "clip"])
def test_the_character_is_found_once_in_its_place_in_nearly_every_frame(played, source):
    drawn, found = played.characters(played.drawn), played.characters(getattr(played, source))
    each = np.bincount(found.frame, minlength=len(played.drawn))
    assert each.max() == 1
    shown = np.isin(drawn.frame, found.frame)
    assert shown.mean() >= (1 if source == "drawn" else 0.95)
    assert np.abs(found.row - drawn.row[shown]).max() <= 3
    assert np.abs(found.column - drawn.column[shown]).max() <= 3


def _places(played, thing):
    """Return (frame, row, column) of the enemies or coins that the frames show."""
    found = seen.find(seen.classify(played.drawn, played.theme), thing, played.theme)
    alone = found.size <= 10 * TILE  # two beside each other are one region
    rows, columns = found.row[alone] - (TILE - 1) / 2, found.column[alone] - (TILE - 1) / 2
    places = np.stack([found.frame[alone], rows.round().astype(int), columns.round().astype(int)], 1)
    return places[(places[:, 2] >= 0) & (places[:, 2] <= WIDTH - TILE)]


@pytest.mark.parametrize("thing", ["enemy", "coin"])
def test_enemies_and_coins_are_found_in_a_video_and_not_once_they_are_gone(played, thing):
    thing = THINGS[thing]
    places = _places(played, thing)
    if not len(places):
        pytest.skip("none in sight in these seconds")
    assert seen.stands_at(seen.classify(played.clip, played.theme), thing, played.theme, places).mean() > 0.9
    without = dataclasses.replace(played.states.level, coins=(), enemies=())
    empty = np.stack(
        [
            draw(without, state, state, 0.0)
            for state in (
                dataclasses.replace(state, coins_back=(), enemies_back=()) for state in played.states.states[:-1]
            )
        ]
    )
    assert not seen.stands_at(seen.classify(empty, played.theme), thing, played.theme, places).any()


def test_a_neighbour_does_not_stand_in_for_a_thing_that_is_gone(played):
    classes = np.full((1, HEIGHT, WIDTH), seen.NOTHING, np.uint8)
    classes[0, 40:50, 60:70] = seen.COIN
    places = np.array([[0, 40, 50], [0, 40, 60], [0, 44, 65]])
    stands = [seen.stands_at(classes, seen.COIN, played.theme, places[rows])[0] for rows in ([0, 1], [1, 0], [2])]
    assert stands == [False, True, True]


def test_ground_and_platforms_are_read_as_the_level_has_them(played):
    level, states = played.states.level, played.states.states[: len(played.clip)]
    for frames in (played.drawn, played.clip):
        ground, platforms, hidden = seen.read_terrain(seen.classify(frames, played.theme))
        assert ground.shape == (len(frames), WIDTH // TILE)
        first = [(camera_of(level, state) // TILE + np.arange(WIDTH // TILE)) % len(level.ground) for state in states]
        assert np.array_equal(ground, level.ground[np.stack(first)])
        agrees = platforms == level.platforms[np.stack(first)]
        assert agrees[~hidden].mean() > 0.99


DAMAGES = ("half erased", "mostly dissolved", "recoloured", "noise", "moved", "doubled")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_character_is_seen_as_far_as_it_is_there(played, damage):
    step = 3
    frame, box = played.drawn[step].copy(), played.box(step)
    rng = np.random.default_rng(0)
    patch = frame[box].copy()
    rows, columns = patch.shape[:2]
    if damage == "half erased":
        frame[box][: rows * 7 // 10] = frame[0, 0]
    elif damage == "mostly dissolved":
        frame[box][rng.random((rows, columns)) < 0.8] = frame[0, 0]
    elif damage == "recoloured":
        frame[box] = patch[..., ::-1]
    elif damage == "noise":
        frame[box] = rng.integers(0, 256, patch.shape)
    else:
        if damage == "moved":
            frame[box] = frame[0, 0]
        frame[box[0], 5 : 5 + columns] = patch
    found = played.characters(frame[None])
    assert len(found.frame) == {"moved": 1, "doubled": 2}.get(damage, 0)
    if damage in ("moved", "doubled"):
        assert abs(found.column.min() - (5 + 10)) <= 2


def test_enemies_of_another_theme_and_single_pixels_are_nothing(played):
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (4, HEIGHT, WIDTH, 3), np.uint8)
    for thing in THINGS.values():
        assert not len(seen.find(seen.classify(noise, played.theme), thing, played.theme).frame)
    other = (played.theme + 1) % len(THEMES)
    wrong = np.full((1, HEIGHT, WIDTH, 3), THEMES[other].enemy, np.uint8)
    assert not (seen.classify(wrong, played.theme) == seen.ENEMY).any()
