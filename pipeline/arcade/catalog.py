"""The list of recordings that the embedded source makes, decided by configuration and seed alone.

About half are good plays of our own platformer, each with its own level and nearly each from its own channel; the
others are what a search also brings up: menus, layouts, slideshows, other genres, copies, and titles that the search
rules must see through. Roles are spread evenly, so that any first part of the list is a fair mix.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.arcade.titles import Caption, caption
from pipeline.config.source import ArcadeConfig

RECORDER = 2
"""Raised when the same recording would come out with other pixels: everything is then recorded again."""

TRAP_SECONDS = 17.0
"""Length of a recording that the search rules reject: nobody downloads it, and its length is not what rejects it."""

GOOD = "platformer"
MIRRORED = "mirrored"
DUPLICATES = ("duplicate", MIRRORED)
BUNDLED = ("bundled_platformer", "bundled_jump_game")
RUBBISH = (
    "menu", "idle", "cards", "streamer", "editor", "slideshow", "credits", "shooter", "paused", "waveform", "settings",
)  # fmt: skip
MIXED = ("montage", "black_intro")
TRAPS = ("shooter_speedrun", "keyword_in_tags", "unboxing_talk", "the_movie", "no_action_word")
"""Recordings whose title the search rules reject, by what gives them away."""

_SPECIAL = (
    "menu", "shooter_speedrun", "streamer", "bundled_platformer", "credits", "duplicate", "shooter", "montage",
    "keyword_in_tags", "slideshow", "editor", "black_intro", "unboxing_talk", "cards", "idle", "mirrored",
    "bundled_jump_game", "the_movie", "paused", "settings", "no_action_word", "waveform",
)  # fmt: skip
_CYCLE = 50


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One video of the embedded source: what is played, how it is encoded, what its page says."""

    native_id: str
    """11 characters of `[A-Za-z0-9_-]`."""
    kind: str
    """Role of the recording, one of the names above."""
    seed: int
    """Level, player and layout; copies have their original's."""
    title: str
    description: str
    tags: tuple[str, ...]
    channel_id: str
    channel: str
    licence: str
    """As the page names it; empty where it names none."""
    language: str
    upload_date: str
    """YYYYMMDD."""
    round: int
    """The search that first sees it, from 1."""
    seconds: float
    width: int
    height: int
    fps: int
    codec: Literal["h264", "vp9"]
    crf: int
    audio: bool
    variable_rate: bool
    """Frames between those of the 10 FPS grid are dropped at random."""
    rejected: bool
    """Whether the search rules must reject its title."""

    @property
    def extension(self) -> str:
        """Return the container's extension: VP9 lies in WebM."""
        return "webm" if self.codec == "vp9" else "mp4"

    @property
    def num_frames(self) -> int:
        """Return the frames that are played at the nominal rate."""
        return round(self.seconds * self.fps)

    @property
    def fingerprint(self) -> str:
        """Return 16 hex digits that change with anything that changes the recording's bytes or truth."""
        fields = {k: v for k, v in dataclasses.asdict(self).items() if k not in _METADATA}
        text = json.dumps([RECORDER, fields], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_METADATA = {
    "title", "description", "tags", "channel_id", "channel", "licence", "language", "upload_date", "round", "rejected",
}  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """How a recording is encoded."""

    width: int = 320
    height: int = 180
    fps: int = 30
    codec: Literal["h264", "vp9"] = "h264"
    crf: int = 22
    variable_rate: bool = False


# the n-th good recording of a cycle that is not 320x180 H.264 at 30 FPS
_GOOD_STREAMS = {
    2: Stream(640, 360, crf=23),
    6: Stream(fps=60),
    10: Stream(codec="vp9", crf=34),
    14: Stream(variable_rate=True),
    18: Stream(256, 144, crf=20),
    22: Stream(640, 360, crf=23),
    26: Stream(fps=60),
}
_STREAMS = {
    "duplicate": Stream(256, 144, crf=27),
    "mirrored": Stream(crf=24),
    "bundled_platformer": Stream(256, 192),
    "bundled_jump_game": Stream(320, 240),
    "shooter": Stream(256, 144),
    "shooter_speedrun": Stream(256, 144, codec="vp9", crf=36),
    "montage": Stream(),
    "black_intro": Stream(),
    "paused": Stream(),
    "slideshow": Stream(256, 144, 25),
    "idle": Stream(256, 144, 25),
    "streamer": Stream(320, 180, 25),
    "credits": Stream(256, 144, 24),
}
_OTHER = Stream(256, 144, 15)


def catalog(config: ArcadeConfig) -> list[Recording]:
    """Return the recordings of a configuration, in the order of the feed (the same for the same configuration)."""
    roles = [_role(index) for index in range(config.videos)]
    rounds = _rounds(config)
    recordings: list[Recording] = []
    seeds: list[int] = []
    for index, role in enumerate(roles):
        if role == GOOD:
            seeds.append(_number(config.seed, index, "level"))
        own = len(seeds) - 1 if role == GOOD else index
        # a copy shows the good recording before it in the list
        seed = seeds[-1] if role == GOOD or role in DUPLICATES else _number(config.seed, index, "play")
        recordings.append(_recording(config, index, role, seed, own, rounds[index]))
    return recordings


def write_catalog(folder: Path, recordings: Iterable[Recording]) -> None:
    """Write `catalog.json` of an arcade folder; one that says the same already is left alone."""
    rows = [dataclasses.asdict(recording) for recording in recordings]
    text = json.dumps(rows, indent=1, ensure_ascii=True, sort_keys=True) + "\n"
    path = folder / "catalog.json"
    if path.exists() and path.read_bytes() == text.encode():
        return
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(".tmp-catalog.json")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)


def read_catalog(folder: Path) -> list[Recording]:
    """Return the recordings that `catalog.json` of an arcade folder names."""
    rows: list[dict[str, Any]] = json.loads((folder / "catalog.json").read_text("utf-8"))
    return [Recording(**{**row, "tags": tuple(row["tags"])}) for row in rows]


def media_path(folder: Path, recording: Recording) -> Path:
    """Return where a recording's file lies."""
    return folder / "media" / f"{recording.native_id}.{recording.extension}"


def _role(index: int) -> str:
    """Return the role of a place in the list: the special ones lie evenly between the good ones."""
    place = index % _CYCLE
    before, after = place * len(_SPECIAL) // _CYCLE, (place + 1) * len(_SPECIAL) // _CYCLE
    return GOOD if before == after else _SPECIAL[before]


def _rounds(config: ArcadeConfig) -> list[int]:
    """Return each recording's round: two thirds in the first, the others in equal parts, in a seeded order."""
    order = np.random.default_rng([config.seed, 1]).permutation(config.videos)
    first = config.videos if config.rounds == 1 else round(config.videos * 2 / 3)
    rounds = [1] * config.videos
    later = order[first:]
    for place, index in enumerate(later):
        rounds[int(index)] = 2 + place * (config.rounds - 1) // len(later)
    return rounds


def _recording(config: ArcadeConfig, index: int, role: str, seed: int, own: int, round_: int) -> Recording:
    words: Caption = caption(role, own, np.random.default_rng([config.seed, 2, index]))
    stream = _GOOD_STREAMS.get(own % (_CYCLE - len(_SPECIAL)), Stream()) if role == GOOD else _STREAMS.get(role, _OTHER)
    # one channel in the list has two videos, so that a split by channel is not a split by video
    voice = index - 1 if role == GOOD and index > 0 and own == 5 and _role(index - 1) == GOOD else index
    day = _number(config.seed, index, "day") % 28 + 1
    return Recording(
        native_id=_token(config.seed, index, "video")[:11],
        kind=role,
        seed=seed,
        title=words.title,
        description=words.description,
        tags=words.tags,
        channel_id="UC" + _token(config.seed, voice, "channel")[:22],
        channel=words.channel if voice == index else caption(role, own - 1, np.random.default_rng(0)).channel,
        # a third names none, as most pages do not
        licence=("CC BY 4.0", "", "CC0 1.0")[_number(config.seed, index, "licence") % 3],
        language=words.language,
        upload_date=f"20{20 + index % 6}{_number(config.seed, index, 'month') % 12 + 1:02d}{day:02d}",
        round=round_,
        seconds=min(TRAP_SECONDS, config.seconds) if role in TRAPS else config.seconds,
        width=stream.width,
        height=stream.height,
        fps=stream.fps,
        codec=stream.codec,
        crf=stream.crf,
        audio=index % 3 == 0,
        variable_rate=stream.variable_rate,
        rejected=role in TRAPS,
    )


def _digest(seed: int, index: int, purpose: str) -> bytes:
    return hashlib.sha256(f"arcade/{seed}/{index}/{purpose}".encode()).digest()


def _token(seed: int, index: int, purpose: str) -> str:
    return base64.urlsafe_b64encode(_digest(seed, index, purpose)).decode()


def _number(seed: int, index: int, purpose: str) -> int:
    return int.from_bytes(_digest(seed, index, purpose)[:4], "big") >> 1
