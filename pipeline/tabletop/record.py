"""Record episodes of the table top as a folder of videos, each with its true actions beside it.

    record_tabletop(TabletopSettings(episodes=60), Path("tabletop"))
    lampworks run --preset robotics-small --source folder:tabletop

`episode-00000.mp4` is a recording, `episode-00000.actions.jsonl` has a row a frame: what the hand commanded from that
frame to the next (`right`, `up-left`, `stay`). An episode is there when both are; only what is missing is recorded. The
same settings give the same bytes on one kind of processor: one thread encodes, and each episode has its own seed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np

from pipeline.alone import alone_in
from pipeline.arcade.encode import to_yuv
from pipeline.config.engine import EngineConfig
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback
from pipeline.tabletop.draw import Picture, draw
from pipeline.workers.engine import make_engine

SETTINGS = "tabletop.json"
FPS = 10
_HAND = 2
"""Raised where the same settings give other episodes than before; a folder holds those of one."""
_DEADLINE_S = 600.0
_EPISODE = re.compile(r"episode-\d{5}\.(mp4|actions\.jsonl)")
_FASTEST_S, _LONGEST_S, _MOST_EPISODES, _SIZES = 2.0, 600.0, 100_000, (48, 512)
_SHORTEST_SHARE = 0.6
"""Of `seconds`, of the shortest episode: lengths differ, as those of demonstrations do."""
_DIRECTIONS_X, _DIRECTIONS_Y = {-1: "left", 1: "right"}, {-1: "up", 1: "down"}


@dataclass(frozen=True, kw_only=True)
class TabletopSettings:
    """What is recorded."""

    episodes: int = 60
    seconds: float = 8.0
    """Of the longest episode; the shortest has 60 % of it."""
    seed: int = 0
    size: int = 128
    """Rows and columns of pixels."""

    def __post_init__(self) -> None:
        """Refuse what cannot be recorded; UserError names the value."""
        low, high = _SIZES
        if not 1 <= self.episodes <= _MOST_EPISODES:
            raise UserError(f"episodes = {self.episodes}: must be 1 to {_MOST_EPISODES}")
        # a comparison with NaN is false
        if not _FASTEST_S <= self.seconds <= _LONGEST_S:
            raise UserError(f"seconds = {self.seconds:g}: must be {_FASTEST_S:g} to {_LONGEST_S:g}")
        if self.seed < 0:
            raise UserError(f"seed = {self.seed}: must be 0 or more")
        if not low <= self.size <= high or self.size % 2:
            raise UserError(f"size = {self.size}: must be an even number of pixels, {low} to {high}")


def record_tabletop(
    settings: TabletopSettings, folder: Path, *, workers: int | None = None, on_progress: ProgressCallback | None = None
) -> int:
    """Record what a folder lacks of the episodes, and return how many it lacked.

    Args:
        settings: what to record.
        folder: gets the episodes; a complete one is left as it is, more `episodes` add to it, and fewer are refused.
        workers: processes; one per core where None.
        on_progress: receives the lines of progress.

    Raises:
        UserError: pymunk is not installed, the folder cannot be written, holds episodes of other settings or what
            these settings do not record, or another process records into it.
    """
    if find_spec("pymunk") is None:
        raise UserError(
            "the table top is simulated by the package pymunk, which is not installed: run "
            "`pip install 'lampworks[robotics]'`"
        )
    with alone_in(folder, "folder"):
        _claim(settings, folder)
        missing = [number for number in range(settings.episodes) if not _sidecar(folder, number).is_file()]
        engine = make_engine(EngineConfig(), workers=workers, deadline_s=_DEADLINE_S)
        with Progress("recording episodes", total=len(missing), unit="episodes", on_progress=on_progress) as progress:
            for number, outcome in engine.run(partial(record_episode, settings, folder), missing):
                if not outcome.ok:
                    raise UserError(
                        f"episode {number} could not be recorded: {outcome.error_class}: {outcome.message}. What is "
                        "recorded stays; free space where it is lacking, and run the same command again."
                    )
                progress.advance()
    return len(missing)


def record_episode(settings: TabletopSettings, folder: Path, number: int) -> None:
    """Play and encode one episode; its actions come last and say that the video is whole."""
    video, sidecar = folder / f"{_name(number)}.mp4", _sidecar(folder, number)
    temporary = [path.with_name(f".tmp-{path.name}") for path in (video, sidecar)]
    try:
        rows: list[str] = []
        _encode(_kept(play(settings, number), rows), settings.size, temporary[0])
        temporary[1].write_text("".join(rows), "utf-8")
        for path, final in zip(temporary, (video, sidecar), strict=True):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.replace(final)
    finally:
        for path in temporary:
            path.unlink(missing_ok=True)


def play(settings: TabletopSettings, number: int) -> Iterator[tuple[Picture, str]]:
    """Yield the pictures (size, size, 3) of an episode, each with the action that follows it."""
    from pipeline.tabletop.hand import Hand
    from pipeline.tabletop.table import Table, centres  # needs pymunk

    rng = np.random.default_rng([settings.seed, number, 1])
    table, hand = Table([settings.seed, number]), Hand(rng)
    longest = round(settings.seconds * FPS)
    for _ in range(int(rng.integers(round(longest * _SHORTEST_SHARE), longest + 1))):
        look = table.look()
        command = hand.command(np.array(look.pusher), centres(table.things))
        yield draw(look, settings.size), action_name(command)
        table.step(command, 1 / FPS)


def action_name(command: tuple[int, int]) -> str:
    """Return a command in words: `up-left`, `right`, `stay`."""
    x, y = command
    return "-".join(part for part in (_DIRECTIONS_Y.get(y), _DIRECTIONS_X.get(x)) if part) or "stay"


def _claim(settings: TabletopSettings, folder: Path) -> None:
    """Write the settings into a new folder; refuse one that has others, or what these settings do not record.

    All that a folder holds is trained on.
    """
    own = {name: value for name, value in asdict(settings).items() if name != "episodes"} | {"hand": _HAND}
    path = folder / SETTINGS
    try:
        if path.is_file():
            there = json.loads(path.read_text("utf-8"))
            if there != own:
                raise UserError(f"{folder} holds episodes of other settings ({there}, not {own}): name another folder")
            _check_own(settings, folder, number_of_episodes=settings.episodes)
            return
        # an episode without settings may be of any
        _check_own(settings, folder, number_of_episodes=0)
        temporary = path.with_name(f".tmp-{path.name}")
        temporary.write_text(json.dumps(own) + "\n", "utf-8")
        temporary.replace(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} cannot be used ({error}): name another folder") from error


def _check_own(settings: TabletopSettings, folder: Path, *, number_of_episodes: int) -> None:
    own = {f"{_name(number)}{end}" for number in range(number_of_episodes) for end in (".mp4", ".actions.jsonl")}
    own.add(SETTINGS)
    others = sorted(path.name for path in folder.iterdir() if path.name not in own and not path.name.startswith("."))
    if others:
        # a larger number helps where it is episodes of these settings that are too many
        too_many = number_of_episodes and all(_EPISODE.fullmatch(name) for name in others)
        raise UserError(
            f"{folder} holds {len(others)} files that are not of these {settings.episodes} episodes ({others[0]}, "
            "say), and all of it is trained on: name another folder, or "
            + ("ask for as many episodes as it holds" if too_many else "move these files elsewhere")
        )


def _kept(played: Iterator[tuple[Picture, str]], rows: list[str]) -> Iterator[Picture]:
    """Yield the pictures, and put the row of each frame's action aside."""
    for index, (picture, action) in enumerate(played):
        rows.append(json.dumps({"t": round(index / FPS, 3), "action": action}) + "\n")
        yield picture


def _encode(pictures: Iterator[Picture], size: int, path: Path) -> None:
    options = {"preset": "veryfast", "crf": "12", "x264-params": "cpu-independent=1"}
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        stream.thread_count = 1
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(to_yuv(picture, size, size), format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _name(number: int) -> str:
    return f"episode-{number:05d}"


def _sidecar(folder: Path, number: int) -> Path:
    return folder / f"{_name(number)}.actions.jsonl"
