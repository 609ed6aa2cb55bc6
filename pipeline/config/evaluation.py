"""Settings of a trained world: how new frames are sampled, how it is measured, and how it is played.

Defaults are those of the paper (Genie, section 3 and appendix C); the docstrings say where the paper gives none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from pipeline.config.section import Count, Section
from pipeline.feature_nets import LITE0, OWN, RANDOM, TRANSNET, check_names


@dataclass(frozen=True, kw_only=True)
class SamplingConfig(Section, name="sampling"):
    """How new frames are sampled."""

    maskgit_steps: Count = 25
    """MaskGIT steps per frame (Genie: 25); fewer are faster."""
    token_temperature: NonNegativeFloat = 2.0
    """Divides the token logits (Genie: 2); 0 takes the most probable token."""
    choice_temperature: NonNegativeFloat = 1.0
    """Scale of the noise on the confidences that choose which tokens are kept; it falls to 0 over the steps (not given
    in the paper). Unused where `token_temperature` is 0."""
    unmask_order: Literal["confidence", "random", "halton"] = "confidence"
    """Which tokens are kept at each step: the most confident (MaskGIT), random ones, or the next ones in a Halton
    sequence, which are spread over the frame."""
    unmask_schedule: Literal["cosine", "geometric"] = "cosine"
    """How many tokens are left after each step: `cosine` (MaskGIT) leaves many to the last step; `geometric` leaves the
    same share of those left at each step, and 2 % of the frame to the last one, so that the least sure tokens, which
    often belong to one thing, are drawn in view of each other."""
    top_k: NonNegativeInt = 0
    """Tokens are drawn from the `top_k` most probable ones; 0 draws from all."""
    past_window: Literal["prefill", "ring"] = "prefill"
    """What happens once a rollout is longer than the dynamics' context: `prefill` recomputes the frames of the window
    for each new frame, as in training; `ring` reuses their cached states, which is faster (its drift is measured)."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(SamplingConfig, name="evaluation"):
    """How the world model is measured."""

    min_sources: Count = 8
    """With fewer held-out sources the intervals mean little, and the report says so."""
    max_sources: Count = 64
    """Most held-out sources that are measured: the first ones in the order of their hash."""
    clips_per_source: Count = 1
    """Clips per source."""
    windows_per_clip: Count = 4
    """Windows per clip, spread evenly."""
    prompt_frames: Count = 4
    """True frames before a rollout; a prompt of one frame, as in the paper, is always measured too."""
    horizon: Count = 4
    """Generated frames per rollout: t of the delta-t PSNR (Genie section 3.1: 4)."""
    random_draws: Count = 3
    """Draws of random actions per window."""
    drift_contexts: Count = 3
    """Length of the rollouts that measure drift, as a multiple of the dynamics' context."""
    doubt_windows: Count = 2
    """Rollouts per clip by which the doubt of the world is calibrated."""
    doubt_frames: Count = 24
    """Frames of each of them."""
    character_frames: Count = 30
    """Generated frames of the rollouts in which the embedded platformer's character, enemies and coins are looked
    for."""
    character_windows: Count = 3
    """Windows per clip of these rollouts under inferred actions, spread evenly."""
    character_starts: Count = 4
    """Sources from whose clips each latent action is held down for as long."""
    feature_nets: tuple[str, ...] = (TRANSNET, LITE0, RANDOM, OWN)
    """Networks on whose features fidelity is measured: `transnetv2` (needs the extra `cuts`), `efficientnet-lite0`,
    `random3d`, `own` (the world's own tokenizer), or file:PATH.pt (TorchScript). None leaves fidelity out."""
    run_feature_files: bool = False
    """Whether `feature_nets` may name TorchScript files: programs, which are run as their authors wrote them."""
    fidelity_frames: Annotated[int, Field(ge=4, le=256)] = 16
    """Generated frames of each rollout by which fidelity is measured."""
    fidelity_windows: Count = 2
    """Windows per clip of these rollouts, spread evenly; as many as `doubt_windows` need no rollouts of their own."""
    fidelity_stride: Count = 4
    """Every how many frames one enters the figures per frame."""
    fidelity_draws: Count = 100
    """Halves of the sources behind each interval of a Frechet distance."""
    bootstrap_draws: Count = 1000
    """Bootstrap draws of the sources behind each 95 % interval."""
    shuffles: Count = 200
    """Draws of chance (19 or more): the codes or answers of each clip, shifted within it as a whole."""
    kmeans_patches: Count = 20000
    """Patches of training frames that the k-means baseline is fitted to."""
    moving_threshold: int = 10
    """A pixel moves where a channel differs by more than this (out of 255) from the frame before."""
    rollout_frames: Count = 8
    """Frames of the published rollouts that hold one latent action down."""
    start_frames: Count = 8
    """Start frames on the play page."""
    inverse_dynamics: bool = True
    """Whether a network learns to read true actions from frames of training sources, and is asked about generated
    frames; it needs true actions of at least two training sources."""
    inverse_dynamics_steps: Count = 150
    """Training steps of that network, of 64 transitions each."""
    seed: NonNegativeInt = 0
    """The same seed gives the same metrics."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names("evaluation.feature_nets", self.feature_nets, run_files=self.run_feature_files)


@dataclass(frozen=True, kw_only=True)
class PlayConfig(SamplingConfig, name="play"):
    """How the world is played."""

    fps: PositiveFloat = 10.0
    """Most frames per second while a key is held: the rate of the clips (Genie: 10)."""
    max_sessions: Count = 32
    """Most players at a time; one more is told so."""
    keep_s: NonNegativeFloat = 600.0
    """Seconds for which a game is kept after its connection was lost."""
    history: Count = 5000
    """Frames of a game that are kept, to go back to; the oldest ones are dropped."""
    seed: NonNegativeInt = 0
    """The same seed, start frame and keys give the same game."""
    doubt: bool = True
    """Whether each frame says how far the world is guessing; it costs about a fifth of a frame, and needs a world that
    is evaluated."""
    pack_clips: bool = False
    """Whether a packed world takes the whole clips of its start frames along, to compare with: others' videos, so ask
    before you pass it on. Start frames, ids and licences always travel."""
    uncovered_per_game: NonNegativeInt = 8
    """Most situations of one game, at which the world began to guess, that are written to the table `uncovered`."""
    uncovered_per_hour: NonNegativeInt = 60
    """Most of them in an hour, of all games; 0 writes none."""
