"""Episodes of the table top: the same by seed, whole, and with the action of each frame beside them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.tabletop.draw import draw
from pipeline.tabletop.hand import compass
from pipeline.tabletop.look import KINDS, SIDE, Look, Seen
from pipeline.tabletop.record import TabletopSettings, action_name, play, record_episode, record_tabletop

pytest.importorskip("pymunk", reason="the extra `robotics` (pymunk) is not installed")
SMALL = TabletopSettings(episodes=2, seconds=2, seed=3, size=48)


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.usefixtures("inline")
def test_only_what_is_missing_is_recorded_and_more_episodes_add_to_a_folder(tmp_path: Path) -> None:
    assert record_tabletop(SMALL, tmp_path) == 2
    first = hashes(tmp_path)
    assert len(first) == 5, "two videos, two sidecars, the settings"
    (tmp_path / "episode-00001.actions.jsonl").unlink()  # as after a kill between the two renames
    assert record_tabletop(TabletopSettings(episodes=3, seconds=2, seed=3, size=48), tmp_path) == 2
    again = hashes(tmp_path)
    assert {name: again[name] for name in first} == first
    assert again.keys() - first.keys() == {"episode-00002.mp4", "episode-00002.actions.jsonl"}
    assert record_tabletop(TabletopSettings(episodes=3, seconds=2, seed=3, size=48), tmp_path) == 0
    with pytest.raises(UserError, match="episodes of other settings"):
        record_tabletop(TabletopSettings(episodes=3, seconds=2, seed=4, size=48), tmp_path)
    assert hashes(tmp_path) == again


@pytest.mark.usefixtures("inline")
def test_a_folder_of_an_earlier_hand_gets_no_episodes_of_this_one(tmp_path: Path) -> None:
    record_tabletop(SMALL, tmp_path)
    settings = json.loads((tmp_path / "tabletop.json").read_text())
    del settings["hand"]  # as it was written before there was another one
    (tmp_path / "tabletop.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"episodes of other settings.*name another folder"):
        record_tabletop(TabletopSettings(episodes=3, seconds=2, seed=3, size=48), tmp_path)


@pytest.mark.usefixtures("inline")
def test_a_folder_with_more_episodes_than_are_asked_for_is_refused(tmp_path: Path) -> None:
    """All that it holds would be trained on, and the report would say 1."""
    record_tabletop(SMALL, tmp_path)
    what = r"2 files that are not of these 1 episodes \(episode-00001\.actions\.jsonl.* ask for as many"
    with pytest.raises(UserError, match=what):
        record_tabletop(TabletopSettings(episodes=1, seconds=2, seed=3, size=48), tmp_path)
    assert record_tabletop(SMALL, tmp_path) == 0
    # no number of episodes makes room for this one
    (tmp_path / "notes.mp4").write_bytes(b"of another hand")
    with pytest.raises(UserError, match=r"1 files .* \(notes\.mp4.* move these files elsewhere"):
        record_tabletop(SMALL, tmp_path)


def test_episodes_without_settings_are_not_taken_for_those_that_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "episode-00000.mp4").write_bytes(b"of another hand")
    (tmp_path / "episode-00000.actions.jsonl").write_text("")
    with pytest.raises(UserError, match=r"2 files that are not of these 2 episodes .* move these files elsewhere"):
        record_tabletop(SMALL, tmp_path)
    assert not (tmp_path / "tabletop.json").exists()


@pytest.mark.usefixtures("inline")
def test_two_processes_do_not_record_into_one_folder_at_once(tmp_path: Path) -> None:
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(UserError, match="another process records into"):
            record_tabletop(TabletopSettings(episodes=2, seconds=2, seed=4, size=48), tmp_path)
        assert list(tmp_path.iterdir()) == []
    finally:
        os.close(held)
    assert record_tabletop(SMALL, tmp_path) == 2


def test_an_episode_has_a_row_of_actions_for_each_of_its_frames(tmp_path: Path) -> None:
    record_episode(SMALL, tmp_path, 0)
    frames = frames_of(tmp_path / "episode-00000.mp4")
    rows = [json.loads(line) for line in (tmp_path / "episode-00000.actions.jsonl").read_text().splitlines()]
    played = list(play(SMALL, 0))
    assert [row["action"] for row in rows] == [action for _, action in played]
    assert [row["t"] for row in rows] == [index / 10 for index in range(len(frames))]
    assert 12 <= len(frames) <= 20, "60 % of two seconds, or more"
    # what is decoded is what was drawn, up to the codec and its halved colours
    assert (
        max(np.abs(frame.astype(int) - picture).mean() for frame, (picture, _) in zip(frames, played, strict=True)) < 6
    )
    assert not list(tmp_path.glob(".tmp-*"))


def test_without_pymunk_the_command_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymunk", None)
    monkeypatch.setattr("pipeline.tabletop.record.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'lampworks\[robotics\]'"):
        record_tabletop(SMALL, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"episodes": 0}, "episodes = 0"), ({"seconds": 1.5}, "seconds = 1.5"), ({"seconds": float("nan")}, "seconds"),
        ({"seed": -1}, "seed = -1"), ({"size": 47}, "size = 47"), ({"size": 65}, "size = 65"),
        ({"size": 1024}, "size = 1024"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_recorded_are_refused_by_name(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(UserError, match=named):
        TabletopSettings(**wrong)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="name another folder"):
        record_tabletop(SMALL, tmp_path / "file")
    (tmp_path / "tabletop.json").write_text("{")
    with pytest.raises(UserError, match="name another folder"):
        record_tabletop(SMALL, tmp_path)


def test_commands_have_words_and_ways_have_the_nearest_of_eight_directions() -> None:
    assert [action_name(way) for way in ((0, 0), (1, 0), (-1, -1), (0, 1))] == ["stay", "right", "up-left", "down"]
    assert [compass(np.array(way)) for way in ((9.0, 3.0), (9.0, 5.0), (-1.0, 8.0), (0.0, 0.0))] == [
        (1, 0), (1, 1), (0, 1), (0, 0)
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_thing_is_drawn_where_it_is(kind: str) -> None:
    corner = np.array([[20.0, 20], [40, 20], [40, 40], [20, 40]])
    outline = np.array([[30.0, 30]]) if kind == "disc" else corner
    seen = Seen(kind, (200, 100, 50), outline, {"disc": 8.0, "box": 0.0, "rope": 3.0, "blob": 2.0}[kind])  # type: ignore[arg-type]
    picture = draw(Look((10, 20, 30), (seen,), (80.0, 80.0)), round(SIDE))
    red = np.argwhere(picture[..., 0] == 200)
    assert len(red)
    assert red.min() >= 16, "nothing outside of it"
    assert red.max() <= 44
    filled = (picture[30, 30] == (200, 100, 50)).all()
    assert filled == (kind != "rope"), "a rope is a line, and its inside is the table"
    assert (picture[10, 10] == (10, 20, 30)).all()
    assert picture[80, 80].max() < 60, "the middle of the pusher is dark"
