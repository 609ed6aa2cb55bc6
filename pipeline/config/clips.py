"""Configuration of clips, near-duplicates, splits and shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict

from pipeline.errors import UserError

_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class ClipConfig:
    """What a clip is and how it is stored (Genie App. B.1: 16 s, 10 FPS, 160x90)."""

    __pydantic_config__ = _FORBID

    seconds: int = 16
    """Length of a clip."""
    fps: int = 10
    """Frames per second."""
    width: int = 160
    """Columns of pixels."""
    height: int = 90
    """Rows of pixels."""
    aspect: Literal["pad", "crop", "stretch"] = "pad"
    """What to do with another aspect; pad keeps the whole picture and adds black bars."""
    crf: int = 18
    """H.264 quality (lower is better; 18 is 121 kB a clip)."""
    gop: int = 16
    """Frames between key frames, so that a 16-frame window decodes little more than itself."""
    black_luma: float = 20.0
    """A frame of a lower mean luma (0..255) that shows next to nothing brighter is black."""
    max_black_share: float = 0.25
    """Flag `black`: a larger share of black frames."""
    max_still_share: float = 0.8
    """Flag `still`: a larger share of frames that equal their predecessor."""
    max_letterbox_share: float = 0.4
    """Flag `letterbox`: a larger share of the picture is a border that stays dark."""
    max_cuts: int = 4
    """Flag `cuts`: more scene changes in one clip."""
    max_overlay_share: float = 0.35
    """Flag `overlay`: a larger share of the picture stands still while the rest moves."""

    def __post_init__(self) -> None:
        for name in ("seconds", "fps", "gop"):
            if getattr(self, name) < 1:
                raise UserError(f"clips.{name} = {getattr(self, name)}: must be at least 1")
        for name in ("width", "height"):
            if getattr(self, name) < 48 or getattr(self, name) % 2:
                raise UserError(f"clips.{name} = {getattr(self, name)}: must be even and at least 48 pixels")
        if self.num_frames < 16:
            raise UserError(f"clips.seconds x clips.fps = {self.num_frames} frames: must be at least 16")
        if not 0 <= self.crf <= 51:
            raise UserError(f"clips.crf = {self.crf}: must lie between 0 (lossless) and 51")

    @property
    def num_frames(self) -> int:
        """Frames of a clip: 160 in the paper."""
        return self.seconds * self.fps


@dataclass(frozen=True, kw_only=True)
class DuplicateConfig:
    """When two clips are near-duplicates: 64-bit difference hashes of 8 frames, all within a distance."""

    __pydantic_config__ = _FORBID

    max_distance: int = 8
    """Largest mean Hamming distance of the 8 frame hashes (re-encodes 0-4, unrelated frames above 13; measured)."""
    mirrored: bool = True
    """Also match a clip against mirrored ones."""
    min_texture: float = 12.0
    """Mean number of differences (of 64) that a clip's frames must show; plainer clips match equal bytes only."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_distance <= 24:
            raise UserError(
                f"duplicates.max_distance = {self.max_distance}: must lie between 0 and 24 (unrelated frames differ "
                "by 13 and more of 64)"
            )


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """How sources are divided, once and for ever, by a hash of their channel."""

    __pydantic_config__ = _FORBID

    val_share: float = 0.1
    """Share of the sources held out for validation."""
    salt: str = "lampworks"
    """Changes the division; leave it alone once anything was trained."""

    def __post_init__(self) -> None:
        if not 0 < self.val_share < 1:
            raise UserError(f"split.val_share = {self.val_share}: must lie between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class ShardConfig:
    """The training shards."""

    __pydantic_config__ = _FORBID

    samples_per_shard: int = 512
    """Clips per tar (about 60 MB)."""
    seed: int = 0
    """Order of the clips within a split, so that a shard mixes sources."""

    def __post_init__(self) -> None:
        if self.samples_per_shard < 1:
            raise UserError(f"shards.samples_per_shard = {self.samples_per_shard}: must be at least 1")
