"""Configuration of clips, near-duplicates, splits and shards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from pipeline.config.section import Count, Section
from pipeline.errors import UserError

_LEAST_FRAMES = 16
"""Of a clip: its measurements and the windows of a training need as many."""


@dataclass(frozen=True, kw_only=True)
class ClipConfig(Section, name="clips"):
    """What a clip is and how it is stored (Genie App. B.1: 16 s, 10 FPS, 160x90)."""

    mode: Literal["windows", "episodes"] = "windows"
    """`windows` cuts a video into clips of `seconds`; `episodes` makes each recording one clip of its own length."""
    seconds: Annotated[float, Field(gt=0)] = 16
    """Length of a clip in mode windows; a whole number of frames."""
    min_seconds: Annotated[float, Field(gt=0)] = 2
    """Shortest recording that becomes a clip in mode episodes."""
    max_seconds: Annotated[float, Field(gt=0)] = 120
    """Longest clip in mode episodes; a longer recording becomes several. A worker holds all frames of one in memory."""
    fps: Count = 10
    """Frames per second."""
    width: Annotated[int, Field(ge=48, multiple_of=2)] = 160
    """Columns of pixels."""
    height: Annotated[int, Field(ge=48, multiple_of=2)] = 90
    """Rows of pixels."""
    aspect: Literal["pad", "crop", "stretch"] = "pad"
    """What to do with another aspect; pad keeps the whole picture and adds black bars."""
    crop_bars: bool = False
    """Crop bars that are baked into the video (dark over its whole length) before `aspect` applies."""
    hdr: Literal["drop-flag", "tone-map"] = "drop-flag"
    """HDR pictures (PQ, HLG): leave them as they are and flag their clips `hdr`, or tone-map them to SDR."""
    crf: Annotated[int, Field(ge=0, le=51)] = 18
    """H.264 quality (0 is lossless, lower is better; 18 takes 121 kB a clip)."""
    gop: Count = 16
    """Frames between key frames, so that a 16-frame window decodes little more than itself."""
    black_luma: float = 20.0
    """A frame of a lower mean luma (0..255) that shows next to nothing brighter is black."""
    max_black_share: float = 0.25
    """Flag `black`: a larger share of black frames."""
    max_still_share: float = 0.8
    """Flag `still`: a larger share of frames that equal their predecessor."""
    max_letterbox_share: float = 0.4
    """Flag `letterbox`: a larger share of the picture is a border that stays dark."""
    cut_detector: Literal["adaptive", "transnetv2"] = "adaptive"
    """What finds scene cuts; `transnetv2` is a network: the extra `cuts`, and about 2 CPU-seconds a clip."""
    start_after_cut: bool = False
    """Begin clips with a shot, so that none holds a cut; what does not fill a clip between two cuts is left over."""
    max_cuts: int = 4
    """Flag `cuts`: more scene cuts in one clip."""
    max_overlay_share: float = 0.25
    """Flag `overlay`: a larger share of the picture keeps its place over a game that scrolls."""
    max_panel_share: float = 0.03
    """Flag `panel`: a larger share is windows over a game that scrolls (a face camera, chat, a panel)."""
    max_text_density: float = 0.6
    """Flag `text`: a larger share is as dense as text and stays where it is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode == "episodes":
            self._check_episodes()
            return
        frames = self.seconds * self.fps
        if round(frames) < _LEAST_FRAMES:
            raise UserError(f"clips.seconds x clips.fps = {frames:g} frames: must be at least {_LEAST_FRAMES}")
        if not (_whole(frames) and _whole(self.seconds * 1000)):
            raise UserError(
                f"clips.seconds = {self.seconds:g}: must be a whole number of frames (of 1/{self.fps} s) and of "
                f"milliseconds, such as {math.ceil(self.seconds)}"
            )

    def _check_episodes(self) -> None:
        if self.start_after_cut:
            raise UserError(
                "clips.start_after_cut = true: clips.mode = episodes keeps recordings whole; set one of the two back "
                "(clips.start_after_cut = false, or clips.mode = windows)"
            )
        if self.frames_range[0] < _LEAST_FRAMES:
            raise UserError(
                f"clips.min_seconds = {self.min_seconds:g}: must hold at least {_LEAST_FRAMES} frames, which are "
                f"{_LEAST_FRAMES / self.fps:g} s at clips.fps = {self.fps}"
            )
        if self.max_seconds < 2 * self.min_seconds:
            raise UserError(
                f"clips.max_seconds = {self.max_seconds:g}: must be at least twice clips.min_seconds = "
                f"{self.min_seconds:g}, so that what is left of a long recording fills a clip"
            )

    @property
    def num_frames(self) -> int:
        """Frames of a clip, 160 in the paper; in mode episodes those of the longest."""
        return self.frames_range[1]

    @property
    def frames_range(self) -> tuple[int, int]:
        """Frames of the shortest and of the longest clip."""
        if self.mode == "windows":
            return round(self.seconds * self.fps), round(self.seconds * self.fps)
        return math.ceil(self.min_seconds * self.fps), math.floor(self.max_seconds * self.fps)

    @property
    def length_ms(self) -> int:
        """Length of a clip in mode windows."""
        return round(self.seconds * 1000)


def _whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6


@dataclass(frozen=True, kw_only=True)
class DuplicateConfig(Section, name="duplicates"):
    """When two clips look alike, and may be copies: 64-bit difference hashes of 8 frames. Motion then decides."""

    max_distance: Annotated[int, Field(ge=0, le=24)] = 8
    """Largest mean Hamming distance of 8 frame hashes of look-alikes (re-encodes 0-4, unrelated 13 up; measured)."""
    mirrored: bool = True
    """Also find copies that are mirror images."""
    min_texture: float = 12.0
    """Mean number of differences (of 64) that a clip's frames must show to look like others."""


@dataclass(frozen=True, kw_only=True)
class SplitConfig(Section, name="split"):
    """How sources are divided, by a hash of their channel that never changes."""

    val_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the sources held out for validation."""
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the sources kept for final numbers, which neither training nor gates read; 0: no test split."""
    salt: str = "lampworks"
    """Changes the division; leave it alone once anything was trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_share + self.test_share >= 1:
            raise UserError(
                f"split.val_share = {self.val_share:g} and split.test_share = {self.test_share:g} leave no source to "
                "train on: lower one of them"
            )


@dataclass(frozen=True, kw_only=True)
class ShardConfig(Section, name="shards"):
    """The training shards."""

    samples_per_shard: Count = 512
    """Clips per tar (about 60 MB)."""
    seed: NonNegativeInt = 0
    """Order of the clips within a split, so that a shard mixes sources."""
