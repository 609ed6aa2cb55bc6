"""Configuration of what is done with a trained world: how new frames are drawn, how it is measured, how it is played.

Defaults are the paper's (Genie, section 3 and appendix C); where it is silent the docstring says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat

from pipeline.config.section import Count, Section


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Section, name="sampling"):
    """How new frames are drawn."""

    maskgit_steps: Count = 25
    """MaskGIT steps per frame (Genie: 25); fewer answer sooner."""
    token_temperature: NonNegativeFloat = 2.0
    """Divides the token logits (Genie: 2); 0 takes the likeliest token."""
    choice_temperature: NonNegativeFloat = 1.0
    """Noise on the confidences that choose which drawn tokens stay, falling to 0 over the steps (paper silent); a
    token temperature of 0 leaves it out."""
    unmask_order: Literal["confidence", "random", "halton"] = "confidence"
    """Which drawn tokens stay: the surest (MaskGIT), any, or those that a Halton sequence spreads over the frame."""
    top_k: NonNegativeInt = 0
    """Tokens are drawn from the likeliest so many; 0 is all."""
    past_window: Literal["prefill", "ring"] = "prefill"
    """What happens when a world is longer than the dynamics' context: the frames in the window are computed anew for
    each frame, as in training, or kept as they were computed (sooner, and the drift is measured)."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(SamplingConfig, name="evaluation"):
    """How the world model is measured."""

    min_sources: Count = 8
    """Held-out sources under which the intervals mean little: the figures then say so."""
    max_sources: Count = 64
    """Held-out sources that are measured; the first ones in the order of their hash."""
    clips_per_source: Count = 1
    """Clips taken of each source."""
    windows_per_clip: Count = 4
    """Windows taken of each clip, spread evenly."""
    prompt_frames: Count = 4
    """True frames before a rollout; a prompt of one frame (the paper's) is always measured beside it."""
    horizon: Count = 4
    """Generated frames of a rollout: t of the delta-t PSNR (Genie section 3.1: 4)."""
    random_draws: Count = 3
    """Draws of random actions per window."""
    drift_contexts: Count = 3
    """How many times the dynamics' context the rollouts last that show what happens past the window."""
    bootstrap_draws: Count = 1000
    """Resamples of the sources behind every interval of 95 %."""
    shuffles: Count = 200
    """Shuffles of the codes within their clip behind the baseline of the mutual information."""
    kmeans_patches: Count = 20000
    """Patches of training frames that the k-means baseline is fitted on."""
    moving_threshold: int = 10
    """A pixel moves where a channel differs by more than this (of 255) from the frame before."""
    rollout_frames: Count = 8
    """Frames of the pictures that hold one latent action down."""
    start_frames: Count = 8
    """Start frames offered by the play page."""
    seed: int = 0
    """Same seed, same figures."""


@dataclass(frozen=True, kw_only=True)
class PlayConfig(SamplingConfig, name="play"):
    """How the world is played."""

    fps: PositiveFloat = 10.0
    """Frames a second at most while a key is held: those of the clips (Genie: 10)."""
    max_sessions: Count = 32
    """Games kept at a time; the one that was idle longest makes room."""
    seed: int = 0
    """Same seed and keys, same game."""
