"""Configuration of the token shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import NonNegativeInt

from pipeline.config.section import Section


@dataclass(frozen=True, kw_only=True)
class TokensConfig(Section, name="tokens"):
    """Which windows of the training shards are encoded by the frozen tokenizer, and how their tokens are stored."""

    window: NonNegativeInt = 0
    """Frames of a window, each of which is encoded alone; 0 means `tokenizer.window`."""
    stride: NonNegativeInt = 0
    """Frames from the start of a window to that of the next; 0 means the window: every frame once."""
    avoid_cuts: bool = True
    """Begin anew after each scene cut, so that no window spans one."""
    packing: Literal["packed", "uint16"] = "packed"
    """`packed` takes as many bits a token as the codebook needs (10 for 1,024 codes: 184 kB a clip of the paper);
    `uint16` takes two bytes and is a plain .npy."""
