"""Configuration of the world model: tokenizer, latent action model, dynamics, training, evaluation, play.

Defaults are the paper's (Genie tables in the appendices); `pipeline.config.demo` names every setting that the
small model needs instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict

from pipeline.errors import UserError

_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """The video tokenizer."""

    __pydantic_config__ = _FORBID


@dataclass(frozen=True, kw_only=True)
class LatentActionConfig:
    """The latent action model."""

    __pydantic_config__ = _FORBID


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig:
    """The MaskGIT dynamics model."""

    __pydantic_config__ = _FORBID


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What all training runs share."""

    __pydantic_config__ = _FORBID

    seed: int = 0
    """Same seed, same weights on the same machine."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How the world model is measured."""

    __pydantic_config__ = _FORBID

    min_sources: int = 8
    """Held-out sources under which the intervals mean little: the figures then say so."""
    max_sources: int = 64
    """Held-out sources that are measured; the first ones in the order of their hash."""
    clips_per_source: int = 1
    """Clips taken of each source."""
    windows_per_clip: int = 4
    """Windows taken of each clip, spread evenly."""
    prompt_frames: int = 4
    """True frames before a rollout; a prompt of one frame (the paper's) is always measured beside it."""
    horizon: int = 4
    """Generated frames of a rollout: t of the delta-t PSNR (Genie section 3.1: 4)."""
    random_draws: int = 3
    """Draws of random actions per window."""
    maskgit_steps: int = 25
    """MaskGIT steps per frame (Genie: 25)."""
    token_temperature: float = 2.0
    """Divides the token logits (Genie: 2); 0 takes the likeliest token."""
    bootstrap_draws: int = 1000
    """Resamples of the sources behind every interval of 95 %."""
    shuffles: int = 200
    """Shuffles of the codes within their clip behind the baseline of the mutual information."""
    kmeans_patches: int = 20000
    """Patches of training frames that the k-means baseline is fitted on."""
    moving_threshold: int = 10
    """A pixel moves where a channel differs by more than this (of 255) from the frame before."""
    rollout_frames: int = 8
    """Frames of the pictures that hold one latent action down."""
    start_frames: int = 8
    """Start frames offered by the play page."""
    seed: int = 0
    """Same seed, same figures."""

    def __post_init__(self) -> None:
        for name in ("min_sources", "max_sources", "clips_per_source", "windows_per_clip", "prompt_frames", "horizon",
                     "random_draws", "maskgit_steps", "bootstrap_draws", "shuffles", "kmeans_patches",
                     "rollout_frames", "start_frames"):  # fmt: skip
            if getattr(self, name) < 1:
                raise UserError(f"evaluation.{name} = {getattr(self, name)}: must be at least 1")
        if self.token_temperature < 0:
            raise UserError(f"evaluation.token_temperature = {self.token_temperature}: must not be negative")


@dataclass(frozen=True, kw_only=True)
class PlayConfig:
    """How the world is played."""

    __pydantic_config__ = _FORBID

    maskgit_steps: int = 25
    """MaskGIT steps per frame (Genie: 25); fewer answer sooner."""
    token_temperature: float = 2.0
    """Divides the token logits (Genie: 2); 0 takes the likeliest token."""
    max_sessions: int = 32
    """Games kept at a time; the one that was idle longest makes room."""
    seed: int = 0
    """Same seed and keys, same game."""

    def __post_init__(self) -> None:
        if self.maskgit_steps < 1 or self.max_sessions < 1:
            raise UserError("play.maskgit_steps and play.max_sessions must be at least 1")
        if self.token_temperature < 0:
            raise UserError(f"play.token_temperature = {self.token_temperature}: must not be negative")


def coinrun_models() -> dict[str, Any]:
    """Return the sections of the `coinrun` preset (Genie App. F)."""
    return {}
