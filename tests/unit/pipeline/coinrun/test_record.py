"""CoinRun is recorded by a process of another environment; what cannot be recorded is told before anything is."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.coinrun import player
from pipeline.coinrun.record import CoinRunSettings, check_environment, record_coinrun
from pipeline.errors import UserError

PYTHON = Path(sys.executable)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"levels": 0}, "--levels = 0"),
        ({"steps": 16}, "--steps = 16"),
        ({"steps": 1001}, "--steps = 1001"),
        ({"first_level": -1}, "--first-level = -1"),
        ({"first_level": 2**31}, "--first-level"),
        ({"seed": -1}, "--seed = -1"),
        ({"agents": ("trained",)}, "--agents = trained"),
        ({"agents": ("random", "random")}, "--agents = random,random"),
        ({"agents": ()}, "--agents"),
    ],
)
def test_what_cannot_be_recorded_is_refused_by_its_option(values: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named):
        CoinRunSettings(**values)  # type: ignore[arg-type]


def test_an_environment_that_is_not_there_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make coinrun"):
        record_coinrun(CoinRunSettings(levels=1), tmp_path / "episodes", tmp_path / "bin" / "python")


def test_an_environment_without_procgen_is_told_with_what_is_missing() -> None:
    # this project's own: numpy is there, procgen is not
    with pytest.raises(UserError, match=r"No module named 'procgen'.*Delete build/coinrun/.venv"):
        check_environment(PYTHON)


def test_recordings_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "coinrun-settings.json").write_text('{"steps": 500, "seed": 0}\n', "utf-8")
    with pytest.raises(UserError, match="other settings"):
        record_coinrun(CoinRunSettings(levels=1, steps=400), tmp_path, PYTHON)


def test_two_processes_do_not_record_into_one_folder_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "episodes"
    folder.mkdir()
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(UserError, match=r"another process records into .*: wait until it has ended"):
            record_coinrun(CoinRunSettings(levels=1), folder, tmp_path / "bin" / "python")
        assert list(folder.iterdir()) == []
    finally:
        os.close(held)
    # the folder is free again: what is missing is told
    with pytest.raises(UserError, match="make coinrun"):
        record_coinrun(CoinRunSettings(levels=1), folder, tmp_path / "bin" / "python")


def test_fewer_levels_or_agents_than_a_folder_holds_are_refused_and_asking_for_all_of_it_goes_on(
    tmp_path: Path,
) -> None:
    for level in range(3):
        for agent in player.AGENTS:
            for end in (".mp4", ".info.json", ".actions.jsonl"):
                (tmp_path / f"level-{level:05d}-{agent}{end}").write_text("{}\n", "utf-8")
    for fewer in ({"levels": 2}, {"levels": 3, "agents": ("random",)}, {"levels": 3, "first_level": 1}):
        with pytest.raises(UserError, match=r"name another --out, or ask for them as well"):
            record_coinrun(CoinRunSettings(**fewer), tmp_path, PYTHON)  # type: ignore[arg-type]
        assert not (tmp_path / "coinrun-settings.json").exists()
    found = record_coinrun(CoinRunSettings(levels=3), tmp_path, PYTHON)
    assert (found.new, found.manifest["recordings"]) == (0, {"random": 3, "runner": 3})


def test_the_scripted_player_jumps_where_the_picture_stands_still_and_runs_where_it_scrolls() -> None:
    still = np.zeros((64, 64, 3), np.uint8)
    blocked, free = (player.Runner(np.random.default_rng(1)) for _ in range(2))
    # three frames tell that nothing moves; a jump is held for several
    acts = [player.ACTIONS[blocked.act(still)] for _ in range(9)]
    assert set(acts[3:6]) == {"right-up"}
    scrolled = [player.ACTIONS[free.act(np.full_like(still, 40 * (k % 2)))] for k in range(200)]
    assert set(scrolled) == {"right", "right-up"}
    assert scrolled.count("right") > 80
    # for ever against a wall: now and then it goes back, and tries again
    assert "left" in [player.ACTIONS[blocked.act(still)] for _ in range(120)]


def test_the_random_player_takes_every_action() -> None:
    agent = player.Random(np.random.default_rng(0))
    drawn = np.bincount([agent.act(np.zeros(1)) for _ in range(1500)], minlength=len(player.ACTIONS))
    assert drawn.min() > 60
