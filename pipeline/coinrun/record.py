"""Record CoinRun as a folder of videos, each with its true actions: what `folder:` sources read.

    record_coinrun(CoinRunSettings(levels=40), Path("episodes"), Path("build/coinrun/.venv/bin/python"))
    lampworks run --preset coinrun --source folder:episodes

Hard mode, a level a seed. Each level is played once by each agent: `random` (the paper's) and `runner`, a scripted one.
`level-00017-random.mp4` is a recording at 10 frames a second, a frame a step; `.actions.jsonl` beside it has a row a
frame. `.info.json` names the level as the channel, so that all recordings of a level are in one split. The sidecar of
actions comes last and says that the rest is whole; only what is missing is recorded. `coinrun.json` is written at the
end, and says what was recorded.

Pixels are doubled (128x128): a video has half as many samples of colour as of brightness, and so loses none.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np

from pipeline.alone import alone_in
from pipeline.arcade.encode import to_yuv
from pipeline.coinrun import player
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback

MANIFEST = "coinrun.json"
_SETTINGS = "coinrun-settings.json"
FPS, _TIMES = 10, 2
_MOST_LEVELS, _STEPS = 1_000_000, (17, 1000)
_ANSWER_S = 120.0
"""Seconds after which a player that does not answer is given up: an episode takes a tenth of one."""


@dataclass(frozen=True, kw_only=True)
class CoinRunSettings:
    """What is recorded."""

    levels: int = 40
    first_level: int = 0
    """Seed of the first level."""
    agents: tuple[str, ...] = player.AGENTS
    steps: int = 1000
    """Frames of the longest recording (the paper: 1,000)."""
    seed: int = 0
    """Of the agents."""

    def __post_init__(self) -> None:
        """Refuse what cannot be recorded; UserError names the value."""
        low, high = _STEPS
        if not 1 <= self.levels <= _MOST_LEVELS:
            raise UserError(f"--levels = {self.levels}: must be 1 to {_MOST_LEVELS}")
        if not low <= self.steps <= high:
            raise UserError(f"--steps = {self.steps}: must be {low} to {high}")
        if not 0 <= self.first_level < 2**31 - _MOST_LEVELS:
            raise UserError(f"--first-level = {self.first_level}: must be 0 to {2**31 - _MOST_LEVELS - 1}")
        if self.seed < 0:
            raise UserError(f"--seed = {self.seed}: must be 0 or more")
        if not self.agents or set(self.agents) - set(player.AGENTS) or len(set(self.agents)) < len(self.agents):
            raise UserError(f"--agents = {','.join(self.agents)}: name one or both of {', '.join(player.AGENTS)}")

    @property
    def episodes(self) -> list[tuple[int, str]]:
        """Return level and agent of each recording."""
        return [(self.first_level + index, agent) for index in range(self.levels) for agent in self.agents]


@dataclass(frozen=True)
class Recorded:
    """What a folder holds now."""

    new: int
    """Recordings that were made by this call."""
    manifest: dict[str, Any]


def record_coinrun(
    settings: CoinRunSettings, folder: Path, python: Path, *, on_progress: ProgressCallback | None = None
) -> Recorded:
    """Record what a folder lacks.

    Args:
        settings: what to record.
        folder: gets the recordings; more `levels` or `agents` add to it, and fewer are refused.
        python: of an environment that has procgen (`make coinrun` makes one).
        on_progress: receives the lines of progress.

    Raises:
        UserError: the environment has no procgen that works, the folder cannot be written or holds recordings of other
            settings, levels or agents, another process records into it, or the player ended early.
    """
    with alone_in(folder, "--out"):
        _claim(settings, folder)
        missing = [episode for episode in settings.episodes if not _sidecar(folder, *episode).is_file()]
        with Progress("recording CoinRun", total=len(missing), unit="episodes", on_progress=on_progress) as progress:
            for head, frames in _played(settings, missing, python) if missing else ():
                _write_episode(folder, head, frames)
                progress.advance()
        manifest = _manifest(settings, folder)
        _write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        return Recorded(len(missing), manifest)


def check_environment(python: Path) -> dict[str, str]:
    """Return the versions of procgen and numpy of an environment; UserError where procgen does not work there."""
    with _Player(python) as started:
        return started.versions


def _played(
    settings: CoinRunSettings, episodes: Sequence[tuple[int, str]], python: Path
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Yield what is played, one episode at a time; all by one process."""
    with _Player(python) as started:
        for level, agent in episodes:
            yield started.ask({"level": level, "agent": agent, "seed": settings.seed, "steps": settings.steps})


class _Player:
    """A process of `pipeline.coinrun.player`."""

    def __init__(self, python: Path) -> None:
        if not python.is_file():
            raise UserError(
                f"{str(python)!r} is not there: run `make coinrun`, which makes an environment with procgen"
            )
        self._process = subprocess.Popen(
            # isolated: neither this project's packages nor the user's are seen
            [str(python), "-I", str(Path(player.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._said: list[bytes] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def versions(self) -> dict[str, str]:
        """Of procgen and numpy."""
        return self._versions

    def __enter__(self) -> _Player:
        try:
            self._versions: dict[str, str] = json.loads(self._line())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        pipes: tuple[IO[bytes] | None, ...] = (self._process.stdin, self._process.stdout)
        for pipe in pipes:
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # it has ended already
                    continue
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(5)
        if self._process.stderr is not None:
            self._process.stderr.close()

    def ask(self, order: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray]:
        """Return the head and the frames (T, 64, 64, 3) of an episode."""
        assert self._process.stdin is not None
        watch = threading.Timer(_ANSWER_S, self._process.kill)
        watch.start()
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            head: dict[str, Any] = json.loads(self._line())
            size = head["frames"] * player.SIZE * player.SIZE * 3
            data = self._process.stdout.read(size) if self._process.stdout is not None else b""
            if len(data) < size:
                raise self._ended()
        except BrokenPipeError as exc:
            raise self._ended() from exc
        finally:
            watch.cancel()
        return head, np.frombuffer(data, np.uint8).reshape(-1, player.SIZE, player.SIZE, 3)

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._ended()
        return line

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said = [*self._said[-19:], line]

    def _ended(self) -> UserError:
        self._process.wait()
        self._listener.join(5)
        said = (b"".join(self._said).decode("utf-8", "replace").strip().splitlines() or ["it said nothing"])[-1]
        return UserError(
            f"the player of CoinRun ended (exit code {self._process.returncode}): {said[:300]}. What is recorded "
            "stays. Delete build/coinrun/.venv and run `make coinrun` where a package is missing there."
        )


def _write_episode(folder: Path, head: dict[str, Any], frames: np.ndarray) -> None:
    """Write a video, what it is, and its actions; the actions come last and say that all is whole."""
    level, agent = int(head["level"]), str(head["agent"])
    name = _name(level, agent)
    rows = [json.dumps({"frame": index, "action": action}) for index, action in enumerate(head["actions"])]
    about = {
        "title": f"CoinRun, hard, level {level}, {agent} agent",
        "description": f"{len(frames)} frames, ended by: {head['ended']}",
        "channel": f"CoinRun level {level}",
        "channel_id": f"coinrun-level-{level}",
        "license": "MIT",
    }
    video = folder / f"{name}.mp4"
    temporary = video.with_name(f".tmp-{video.name}")
    try:
        _encode(frames, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(video)
    finally:
        temporary.unlink(missing_ok=True)
    _write_text(folder / f"{name}.info.json", json.dumps(about) + "\n")
    _write_text(_sidecar(folder, level, agent), "\n".join(rows) + "\n")


def _encode(frames: np.ndarray, path: Path) -> None:
    size = _TIMES * player.SIZE
    options = {"preset": "veryfast", "crf": "12", "x264-params": "cpu-independent=1"}
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        stream.thread_count = 1
        for index, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(to_yuv(picture, size, size), format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _claim(settings: CoinRunSettings, folder: Path) -> None:
    """Write the settings into a new folder; refuse one that has others, or what these settings do not record.

    All that a folder holds is trained on.
    """
    own = {"steps": settings.steps, "seed": settings.seed}
    path = folder / _SETTINGS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            there = json.loads(path.read_text("utf-8"))
            if there != own:
                raise UserError(f"{folder} holds recordings of other settings ({there}, not {own}): name another --out")
            _check_own(settings, folder)
            return
        _check_own(settings, folder)
        _write_text(path, json.dumps(own) + "\n")
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} cannot be used ({error}): name another --out") from error


def _check_own(settings: CoinRunSettings, folder: Path) -> None:
    names = {_name(*episode) for episode in settings.episodes}
    own = {f"{name}{end}" for name in names for end in (".mp4", ".info.json", ".actions.jsonl")}
    own |= {MANIFEST, _SETTINGS}
    others = sorted(path.name for path in folder.iterdir() if path.name not in own and not path.name.startswith("."))
    if others:
        raise UserError(
            f"{folder} holds {len(others)} files that are not of these levels and agents ({others[0]}, say), and all "
            "of it is trained on: name another --out, or ask for them as well (--levels, --first-level, --agents)"
        )


def _manifest(settings: CoinRunSettings, folder: Path) -> dict[str, Any]:
    """Return what is in a folder: recordings of these settings, their frames by agent, and how they ended."""
    frames: Counter[str] = Counter()
    recordings: Counter[str] = Counter()
    for level, agent in settings.episodes:
        recordings[agent] += 1
        frames[agent] += len(_sidecar(folder, level, agent).read_text("utf-8").splitlines())
    return {"game": "coinrun", "mode": "hard", **asdict(settings), "recordings": recordings, "actions": frames}


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".tmp-{path.name}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _name(level: int, agent: str) -> str:
    return f"level-{level:05d}-{agent}"


def _sidecar(folder: Path, level: int, agent: str) -> Path:
    return folder / f"{_name(level, agent)}.actions.jsonl"
