"""Configuration of the world model: tokenizer, latent action model, dynamics, and their training.

Defaults are the paper's (Genie, appendices C and D); where it is silent the docstring says so. Every departure that
a small model needs has a name here, is off by default, and is switched on in `pipeline.config.demo`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from pipeline.config.optimizer import OptimizerConfig
from pipeline.config.section import Count, Section, Share
from pipeline.config.stack import DYNAMICS_SIZES, StackConfig
from pipeline.errors import UserError

__all__ = [
    "DYNAMICS_SIZES", "RESTART_BELOW", "DynamicsConfig", "JoinRule", "LatentActionConfig", "OptimizerConfig",
    "StackConfig", "TokenizerConfig", "check_lam_window",
]  # fmt: skip

JoinRule = Literal["auto", "most", "mean", "sum", "first", "last"]
"""How the actions of several source frames become one of a transition; see `pipeline.actions.join`."""
RESTART_BELOW = 0.1
"""Default of both `restart_below`: a tenth of a choice a step, of the hundreds that a code in use has."""


def _check_fsq(levels: tuple[int, ...], latent_dim: int, codes: int) -> None:
    if not levels or min(levels) < 3:
        # two levels a value collapse where three and more train
        raise UserError(f"tokenizer.fsq_levels = {list(levels)}: each must be at least 3")
    if len(levels) != latent_dim or math.prod(levels) != codes:
        raise UserError(
            f"tokenizer.fsq_levels = {list(levels)} need latent_dim = {len(levels)} and codebook_size = "
            f"{math.prod(levels)}"
        )


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig(Section, name="tokenizer"):
    """The video tokenizer: an ST-ViViT VQ-VAE."""

    patch: Count = 4
    """Pixels of a square patch; 160x90 is padded to 160x92, 920 tokens a frame."""
    codebook_size: Count = 1024
    """Codes."""
    latent_dim: Count = 32
    """Size of a code."""
    architecture: Literal["st_vivit", "vit", "c_vivit"] = "st_vivit"
    """Both stacks' attention: `vit` sees each frame alone, `c_vivit` all tokens of all frames so far (table 3)."""
    quantizer: Literal["vq", "fsq"] = "vq"
    """`vq` learns the codes; `fsq` rounds each latent value to one of a few levels and has no codes to learn."""
    fsq_levels: tuple[int, ...] = (4, 4, 4, 4, 4)
    """`fsq`: levels of each latent value; `latent_dim` is how many there are, `codebook_size` their product."""
    cosine: bool = False
    """`vq`: latents and codes are brought to length 1 first: the nearest code is the one of the same direction."""
    encoder: StackConfig = field(default_factory=lambda: StackConfig(layers=12, d_model=512, heads=8))
    """Encoder blocks."""
    decoder: StackConfig = field(default_factory=lambda: StackConfig(layers=20, d_model=1024, heads=16))
    """Decoder blocks."""
    window: Count = 16
    """Frames seen at once."""
    batch: Count = 64
    """Windows a step."""
    steps: Count = 300_000
    """Training steps."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=3e-4, final_learning_rate=3e-4, warmup_steps=10_000)
    )
    """Learning rates (flat after the warm-up in the paper)."""
    reconstruction_weight: PositiveFloat = 1.0
    """Weight of the mean squared error of pixels in [0, 1]."""
    commitment: NonNegativeFloat = 0.25
    """Weight of the commitment loss (the paper is silent; VQ-VAE's)."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Codes follow the mean of their latents with this decay; 0 learns them by gradient."""
    restart_below: NonNegativeFloat = RESTART_BELOW
    """A code used less than this (decayed count a step) moves to a latent of the batch; 0 never (the paper is silent).
    """
    start: Literal["random", "patches", "latents"] = "latents"
    """`random`: latents and codes as they are drawn, of which one code is used (the paper is silent). `latents`: the
    fresh encoder's latents of real frames are scaled to variance 1, and codes are spread among them, farthest-point
    first. `patches`: latents are principal components of patches, and so are the codes."""
    start_coverage: NonNegativeFloat = 0.02
    """`latents`, `patches`: codes are added until no latent is farther than this squared, a latent dimension."""
    min_psnr: float = 25.0
    """Floor in dB on held-out clips; a tokenizer below it does not go on (the paper reaches 35.7)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quantizer == "fsq":
            _check_fsq(self.fsq_levels, self.latent_dim, self.codebook_size)
            if self.start == "patches" or self.cosine or self.ema_decay or self.restart_below not in (0, RESTART_BELOW):
                raise UserError(
                    "tokenizer.quantizer = 'fsq' has no codes to learn: leave cosine, ema_decay and restart_below at "
                    "their defaults, and start at 'latents' or 'random'"
                )
        stacks = (self.encoder, self.decoder)
        if self.architecture == "vit" and any(stack.depthwise_conv == "causal" for stack in stacks):
            raise UserError(
                "tokenizer.architecture = 'vit' sees each frame alone: set depthwise_conv = 'frame' or 'none' in its "
                "stacks"
            )
        if self.architecture == "c_vivit" and any(stack.temporal_positions != "rotary" for stack in stacks):
            raise UserError(
                "tokenizer.architecture = 'c_vivit' knows time by rotary positions: set temporal_positions = 'rotary' "
                "in its stacks"
            )
        narrow = min(stack.d_model for stack in stacks)
        if self.start == "patches" and self.latent_dim > narrow:
            raise UserError(
                f"tokenizer.start = 'patches' takes a channel of both stacks for each value of a latent: lower "
                f"tokenizer.latent_dim (now {self.latent_dim}) to {narrow}, raise d_model of both to "
                f"{self.latent_dim}, or set tokenizer.start = 'latents'"
            )
        if self.cosine and self.start == "patches":
            raise UserError("tokenizer.start = 'patches' spreads codes by distance: leave tokenizer.cosine off")


@dataclass(frozen=True, kw_only=True)
class LatentActionConfig(Section, name="latent_actions"):
    """The latent action model (LAM): a VQ-VAE of what changes between two frames."""

    patch: Count = 16
    """Pixels of a square patch; 160x90 is padded to 160x96, 60 tokens a frame."""
    num_actions: Count = 8
    """Codes, and so keys of the player."""
    latent_dim: Count = 32
    """Size of a code."""
    encoder: StackConfig = field(default_factory=lambda: StackConfig(layers=20, d_model=1024, heads=16))
    """Encoder blocks."""
    decoder: StackConfig = field(default_factory=lambda: StackConfig(layers=20, d_model=1024, heads=16))
    """Decoder blocks."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Learning rates."""
    input: Literal["pixels", "tokens"] = "pixels"
    """What the encoder reads and the decoder predicts from: frames, or the tokenizer's codes of them (table 2)."""
    window: int = 0
    """Frames that the LAM sees at once, in training too; 0 is the dynamics' context, fewer cut it into pieces."""
    cosine: bool = False
    """Latents and codes are brought to length 1 first."""
    pooling: Literal["mean", "difference", "antisymmetric"] = "mean"
    """`mean`: the causal encoder's tokens at frame t+1; `difference`: less those at t. `antisymmetric`: the pair
    (t, t+1) less the pair swapped."""
    normalize_latent: bool = False
    """Bring each latent to mean 0 and variance 1 before it is quantized."""
    unquantized_steps: NonNegativeInt = 0
    """First steps, of the LAM alone and without quantization; k-means then initializes the codes."""
    latent_noise: NonNegativeFloat = 0.0
    """Standard deviation of noise on the decoder's latents in the `unquantized_steps`, reached from 0 after 60 % of
    them. Little passes through it, so
    latents keep what the decoder cannot tell from the present frame: what was done, and not what follows from it."""
    joint_lr_scale: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the LAM's learning rate once it quantizes and the dynamics learns beside it."""
    decoder_output: Literal["sigmoid", "residual", "sigmoid_residual"] = "sigmoid"
    """The next frame itself, or its difference to the present one (added to it, or to its logit)."""
    reconstruction_weight: PositiveFloat = 1.0
    """Weight of the mean squared error of pixels in [0, 1]."""
    commitment: NonNegativeFloat = 0.25
    """Weight of the commitment loss (the paper is silent; VQ-VAE's)."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Codes follow the mean of their latents with this decay; 0 learns them by gradient."""
    restart_below: NonNegativeFloat = RESTART_BELOW
    """A code used less than this (decayed count a step) moves to a latent of the batch; 0 never (the paper is silent).
    """
    start: Literal["random", "latents"] = "latents"
    """`random`: latents and codes as they are drawn, of which one code is used (the paper is silent). `latents`: the
    fresh encoder's latents of real frames are scaled to variance 1, and k-means of them initializes the codes. With
    `unquantized_steps` k-means does so after these steps instead."""
    pca_start: bool = False
    """Initialize the patch embeddings with principal components of patches."""
    motion_weight: PositiveFloat = 1.0
    """Weight, in the loss, of pixels that change from one frame to the next by more than a tenth of their range; 1
    counts all alike."""
    loss_margin: NonNegativeInt = 0
    """Pixels at the left and right sides that the loss leaves out: what enters there cannot be known."""
    update_every: NonNegativeInt = 1
    """Joint steps from one update of the LAM to the next; between them it only gives codes (a fifth of the cost). 0:
    it stays as its steps alone have left it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pooling == "antisymmetric" and self.encoder.temporal_attention:
            raise UserError(
                "latent_actions.pooling = 'antisymmetric' sees pairs alone: set "
                "latent_actions.encoder.temporal_attention = false"
            )
        if self.pooling == "antisymmetric" and self.encoder.depthwise_conv == "causal":
            raise UserError(
                "latent_actions.pooling = 'antisymmetric' reads a pair as one frame, and "
                "latent_actions.encoder.depthwise_conv = 'causal' the one before, which is not there: set it to 'frame'"
            )
        if self.latent_noise and not self.unquantized_steps:
            raise UserError(
                f"latent_actions.latent_noise = {self.latent_noise:g} acts in the steps without quantization: set "
                "latent_actions.unquantized_steps, or latent_noise = 0"
            )
        if not self.update_every and not self.unquantized_steps:
            raise UserError(
                "latent_actions.update_every = 0 leaves the LAM as it is before the joint steps, and it would not have "
                "learned: set latent_actions.unquantized_steps, or update_every above 0"
            )
        if self.window == 1 or self.window < 0:
            raise UserError(f"latent_actions.window = {self.window}: must be 0 or at least 2")
        if self.cosine and (self.normalize_latent or self.unquantized_steps):
            raise UserError(
                "latent_actions.cosine: leave normalize_latent and unquantized_steps off (k-means initializes "
                "codes by distance)"
            )
        if self.input == "tokens" and (
            self.pooling == "antisymmetric" or self.decoder_output != "sigmoid" or self.pca_start
        ):
            raise UserError(
                "latent_actions.input = 'tokens' has no pixels: use pooling 'mean' or 'difference', decoder_output "
                "'sigmoid' and no pca_start"
            )
        if self.input == "tokens" and (self.motion_weight != 1 or self.loss_margin):
            raise UserError(
                "latent_actions.input = 'tokens' has no pixels to weigh: set motion_weight = 1 and loss_margin = 0"
            )


def check_lam_window(window: int, context: int) -> None:
    """Raise a `UserError` unless windows of `context` frames can be cut into those of the LAM (0: not cut at all)."""
    if window and (window > context or (context - 1) % (window - 1)):
        raise UserError(
            f"latent_actions.window = {window}: windows that share their end frames must fill dynamics.context = "
            f"{context}, so {context - 1} must be a multiple of {window - 1}"
        )


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig(Section, name="dynamics"):
    """The MaskGIT dynamics model, and the joint training of it and the LAM."""

    stack: StackConfig = field(default_factory=lambda: DYNAMICS_SIZES["10.1b"].stack)
    """Blocks (10.1 billion parameters)."""
    context: Annotated[int, Field(ge=2)] = 16
    """Frames seen at once, in training and in play."""
    batch: Count = 512
    """Windows a step of the joint training."""
    window_stride: Count = 1
    """Frames from one place where a window may begin to the next, from the start of each shot; 1: at any frame. Token
    shards (`training.read_tokens`) hold windows at every `tokens.stride` frames."""
    steps: Count = 125_000
    """Steps of the joint training."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Learning rates."""
    min_mask_rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Each sample draws its mask rate evenly between this and 1."""
    full_mask_share: Share = 0.0
    """Share of samples whose rate is exactly 1."""
    clean_prefix_share: Share = 0.0
    """Share of samples whose first frames (a random number of them) are not masked, as in play."""
    token_noise: Share = 0.0
    """Visible tokens are replaced by random codes at a rate that each sample draws evenly between 0 and this."""
    unseen_actions: Share = 0.0
    """Share of transitions, where it can be, that are led by an action which the footage does not show after their
    frame, and whose nearest shown one is their own. A player presses keys that no recording shows there, say a jump at
    the top of the picture; without such samples they take the character apart (measured). Needs a LAM that rests
    (`latent_actions.update_every: 0`)."""
    action_injection: Literal["add", "prepend", "film"] = "add"
    """A latent action is added to every token of its frame (the paper), stands before them as one more token, or
    scales and shifts them."""
    own_frame_share: Share = 0.0
    """Share of samples whose last visible frame is the dynamics' own guess instead of the true one, as in play."""
    own_frames: Count = 1
    """More than 1: such samples end their visible past with a rollout of 1 to so many frames, each drawn greedily after
    the ones before, from a true frame and led by the LAM's codes, as in play. Windows are drawn longer for it."""
    recalled_share: Share = 0.0
    """Share of samples whose visible frames are shown as the dynamics last predicted them, where an earlier step did:
    pasts with errors of its own at no cost, if of an older dynamics. It pays where windows of the same frames come
    again, and does nothing where each frame is drawn once."""
    recalled_frames: Count = 50_000
    """`recalled_share`: most predicted frames that are kept, 4 bytes a token, in memory and in checkpoints."""
    changed_weight: PositiveFloat = 1.0
    """Weight, in the loss, of tokens that differ from the same place in the frame before; 1 counts all alike."""
    embedding_start: Literal["random", "codebook"] = "random"
    """`codebook` starts the token embeddings with the tokenizer's codes."""
    led_by: Literal["latent_actions", "true_actions"] = "latent_actions"
    """What leads from frame to frame: the latent actions of the LAM, or the true actions of the recordings
    (`download.actions: keep`). With those no LAM learns, `unseen_actions` does nothing, and there must be
    `latent_actions.num_actions` of them."""
    join_actions: JoinRule = "auto"
    """`led_by: true_actions`: how the actions of the source frames between two frames of a clip become one. `auto` is
    `most` (the one held longest) for discrete and `mean` for continuous ones; `sum` is for displacements, `last` for
    targets."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.action_injection == "prepend" and self.stack.depthwise_conv != "none":
            raise UserError(
                "dynamics.action_injection = 'prepend' stands before the frame's grid: set "
                "dynamics.stack.depthwise_conv = 'none'"
            )
        if self.own_frames > 1 and not self.own_frame_share:
            raise UserError(
                f"dynamics.own_frames = {self.own_frames}: no sample has them; set dynamics.own_frame_share above 0, "
                "or own_frames = 1"
            )

    def alone_steps(self, latent_actions: LatentActionConfig) -> int:
        """Return the steps in which the LAM learns alone before the joint ones."""
        return 0 if self.led_by == "true_actions" else latent_actions.unquantized_steps

    @property
    def frames_before(self) -> int:
        """Return the frames that training draws before a window, in which rollouts of `own_frames` can begin."""
        # as whole windows of the LAM, which share their end frames
        return -(-self.own_frames // (self.context - 1)) * (self.context - 1) if self.own_frames > 1 else 0

    @property
    def drawn_frames(self) -> int:
        """Return the frames of the windows that training draws."""
        return self.frames_before + self.context

    @property
    def drawn_by(self) -> str:
        """Return the setting to lower where clips hold no such window."""
        return "dynamics.own_frames" if self.frames_before else "dynamics.context"
