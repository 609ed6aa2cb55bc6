"""Actions beside another project's rollouts: can a network that knows true frames read them from generated ones?"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.evaluation.foreign.actions import _learned
from models.evaluation.foreign.judge import Judgement, judge_rollouts
from models.evaluation.foreign.layout import Item
from pipeline.config import EvaluationConfig
from pipeline.errors import UserError

CONFIG = EvaluationConfig(feature_nets=(), inverse_dynamics_steps=50, shuffles=100, bootstrap_draws=200)
FRAMES, SIDE, SOURCES = 13, 16, 10
Walk = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def save(folder: Path, frames: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for place, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{place}.png")


def write(path: Path, actions: list[object]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"action": action}) + "\n" for action in actions))


def walk(picture: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Return frames of a bright square that goes left (0) or right (1) over a picture, around its edges."""
    places = np.cumsum([SIDE // 2, *np.where(moves == 1, 2, -2)]) % SIDE
    frames = np.repeat(picture[None], len(places), 0)
    for frame, place in zip(frames, places, strict=True):
        frame[6:10, np.arange(place, place + 4) % SIDE] = 255
    return frames


def rollouts(folder: Path, led_by: Walk) -> Path:
    """Write videos of ten sources; `led_by` turns the true moves into those that the rollouts show."""
    rng = np.random.default_rng(0)
    for place in range(SOURCES):
        name = f"s{place}__a"
        picture = rng.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
        moves = rng.integers(0, 2, FRAMES - 1)
        save(folder / "true" / name, walk(picture, moves))
        save(folder / "generated" / name, walk(picture, led_by(rng, moves)))
        # one row a frame: the last one leads out of the video
        write(folder / "actions" / f"{name}.jsonl", [["left", "right"][move] for move in moves] + ["left"])
        other = rng.permutation(moves)
        save(folder / "permuted" / name, walk(picture, led_by(rng, other)))
        write(folder / "permuted_actions" / f"{name}.jsonl", [["left", "right"][move] for move in other])
    return folder


def obeys(rng: np.random.Generator, moves: np.ndarray) -> np.ndarray:
    return moves


def ignores(rng: np.random.Generator, moves: np.ndarray) -> np.ndarray:
    return rng.integers(0, 2, len(moves))


def value(found: Judgement, name: str) -> float:
    known = found.figures[f"inverse_dynamics_{name}"]["value"]
    assert known is not None
    return known


@pytest.mark.heavy
def test_rollouts_that_obey_their_actions_are_read_right_and_those_that_ignore_them_are_not(tmp_path: Path) -> None:
    found = judge_rollouts(rollouts(tmp_path / "obeys", obeys), CONFIG)
    assert found.with_actions == SOURCES
    assert found.left_out == []
    assert found.actions["names"] == ["left", "right"]
    for kind in ("true", "generated", "permuted"):
        assert value(found, kind) > 0.9
        figure = found.figures[f"inverse_dynamics_{kind}"]
        assert figure["low"] > found.figures[f"inverse_dynamics_{kind}_shuffled"]["high"]
        assert (figure["num_sources"], figure["num_samples"]) == (SOURCES, SOURCES)
        # rows are actions that were asked for: all of both sum up to all transitions
        assert np.sum(found.actions["tables"][f"inverse_dynamics_{kind}"]) == SOURCES * (FRAMES - 1)
    lines = "\n".join(found.lines())
    assert f"actions of {SOURCES}\n" in lines
    assert "inverse_dynamics_generated " in lines
    other = judge_rollouts(rollouts(tmp_path / "ignores", ignores), CONFIG)
    assert value(other, "true") > 0.9
    for kind in ("generated", "permuted"):
        assert value(other, kind) < 0.7
        assert other.figures[f"inverse_dynamics_{kind}"]["low"] < 0.55


@pytest.mark.heavy
def test_a_network_never_answers_about_a_source_that_it_saw(tmp_path: Path) -> None:
    # the picture of a source tells its actions, but for one, and nothing tells those of another source
    rng = np.random.default_rng(1)
    for place in range(SOURCES):
        name = f"s{place}__a"
        still = np.repeat(rng.integers(0, 255, (1, SIDE, SIDE, 3), dtype=np.uint8), FRAMES, 0)
        save(tmp_path / "true" / name, still)
        save(tmp_path / "generated" / name, still)
        write(tmp_path / "actions" / f"{name}.jsonl", [place % 2] * (FRAMES - 2) + [1 - place % 2])
    found = judge_rollouts(tmp_path, CONFIG)
    assert value(found, "true") < 0.8
    assert "no better than chance" in found.figures["inverse_dynamics_generated"]["reason"]


def test_with_fewer_than_eight_sources_it_is_not_known_what_the_network_can_read(tmp_path: Path) -> None:
    folder = rollouts(tmp_path, obeys)
    for place in range(6, SOURCES):
        (folder / "actions" / f"s{place}__a.jsonl").unlink()
    found = judge_rollouts(folder, dataclasses.replace(CONFIG, inverse_dynamics_steps=2))
    assert found.with_actions == 6
    assert "6 sources have true actions that change" in found.figures["inverse_dynamics_generated"]["reason"]


def test_without_actions_and_with_too_few_the_figures_say_so(tmp_path: Path) -> None:
    folder = rollouts(tmp_path, obeys)
    sidecars = sorted((folder / "actions").iterdir())
    for path in sidecars[1:]:
        path.unlink()
    found = judge_rollouts(folder, CONFIG)
    assert found.with_actions == 1
    assert "too few to tell: 1 source, and 2 are needed" in found.figures["inverse_dynamics_generated"]["reason"]
    sidecars[0].unlink()
    found = judge_rollouts(folder, CONFIG)
    assert found.with_actions == 0
    for kind in ("true", "generated"):
        figure = found.figures[f"inverse_dynamics_{kind}"]
        assert figure["value"] is None
        assert figure["reason"].startswith("not given: write the actions")
    assert "inverse_dynamics_generated: not given" in "\n".join(found.lines())


@pytest.mark.heavy
def test_odd_actions_are_named_and_the_others_count(tmp_path: Path) -> None:
    folder = rollouts(tmp_path, obeys)
    write(folder / "actions" / "s0__a.jsonl", ["left"] * 3)
    write(folder / "actions" / "s1__a.jsonl", [[0.5, 0.25]] * FRAMES)
    write(folder / "permuted_actions" / "s2__a.jsonl", ["jump"] * FRAMES)
    write(folder / "permuted_actions" / "s3__a.jsonl", ["left"] * 2)
    found = judge_rollouts(folder, CONFIG)
    reasons = {each.item: each.reason for each in found.left_out}
    assert set(reasons) == {"s0__a", "s1__a", "s2__a", "s3__a"}
    assert "3 rows for 13 frames" in reasons["s0__a"]
    assert "another kind than most (names)" in reasons["s1__a"]
    assert "permuted_actions/: it has an action that no true video has" in reasons["s2__a"]
    assert found.figures["inverse_dynamics_generated"]["num_sources"] == SOURCES - 2
    assert found.figures["inverse_dynamics_permuted"]["num_sources"] == SOURCES - 4


def test_an_action_that_one_network_could_never_learn_does_not_count(tmp_path: Path) -> None:
    # s0 and s3 are answered by one network: it learns from s1 and s2, which never go left or right
    rng = np.random.default_rng(0)
    for place in range(4):
        name, moves = f"s{place}__a", np.arange(40) % 2
        frames = walk(rng.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8), moves)
        for folder in ("true", "generated"):
            save(tmp_path / folder / name, frames)
        own = ["left", "right"] if place in (0, 3) else [f"wait {place}"] * 2
        write(tmp_path / "actions" / f"{name}.jsonl", [own[move] for move in moves])
    found = judge_rollouts(tmp_path, dataclasses.replace(CONFIG, inverse_dynamics_steps=2))
    reason = found.figures["inverse_dynamics_generated"]["reason"]
    assert "0 actions have 20 transitions, in 2 parts of the sources" in reason


def test_reconstructions_of_some_rollouts_are_no_floor(tmp_path: Path) -> None:
    folder = rollouts(tmp_path, obeys)
    shutil.copytree(folder / "true" / "s0__a", folder / "reconstructed" / "s0__a")
    shutil.copytree(folder / "true" / "s1__a", folder / "reconstructed" / "s1__a")
    found = judge_rollouts(folder, dataclasses.replace(CONFIG, inverse_dynamics_steps=2))
    assert "the tokenizer's floor is left out" in found.left_out[0].reason
    assert "inverse_dynamics_reconstructed" not in found.figures


@pytest.mark.parametrize("missing", ["true", "generated"])
def test_actions_alone_are_no_rollouts(tmp_path: Path, missing: str) -> None:
    folder = rollouts(tmp_path, obeys)
    (folder / missing).rename(folder / f".{missing}")
    with pytest.raises(UserError, match=f"no folder '{missing}'"):
        judge_rollouts(folder, CONFIG)


def test_an_action_of_sources_beyond_those_that_networks_learn_from_does_not_count(tmp_path: Path) -> None:
    """Asked about, it would be a sure mistake: with one source, a network had nothing at all to learn from."""
    found = judge_rollouts(rollouts(tmp_path, obeys), dataclasses.replace(CONFIG, max_sources=1))
    reason = found.figures["inverse_dynamics_generated"]["reason"]
    assert "0 actions have 20 transitions, in 2 parts of the sources" in reason


def test_networks_learn_from_sources_of_all_games_however_these_are_named() -> None:
    items = [
        Item(f"{game}{place}__{clip}", f"{game}{place}", {}) for game in "ab" for place in range(5) for clip in range(4)
    ]
    assert [item.name for item in _learned(items, 2)] == [
        f"{source}__{clip}" for source in ("a0", "b0") for clip in range(3)
    ]
    assert len(_learned(items, 64)) == 30
