"""Floating-point operations of the networks and of a whole training, by formula.

A product of (m, k) and (k, n) has 2mkn operations. Linear layers, both attentions, convolutions and the search for the
nearest code are counted. Attention counts scores and mixing; temporal attention includes the masked half of its window,
because that half is computed too. Norms, activations, softmax and the optimizer are not counted. A backward pass has
twice the operations of its forward pass. A test compares the formulas with what torch counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config import Config
from pipeline.config.world import DynamicsConfig, LatentActionConfig, StackConfig, TokenizerConfig
from pipeline.training_size.parameters import FrameSize, Kind, count_parameters, is_checkpointed, stack_of

TRAINING = 3
"""Operations of a training step relative to its forward pass: the backward pass has twice as many."""


def stack_operations(stack: StackConfig, tokens: int, batch: int, frames: int, past: int = 0) -> int:
    """Return the operations of a forward pass over (batch, frames, tokens).

    Args:
        stack: sizes of the blocks.
        tokens: of a frame.
        batch: windows.
        frames: of each.
        past: slots of a cache that attention reads as well.
    """
    d, inner = stack.d_model, stack.heads * stack.head_dim
    positions = batch * frames * tokens
    attentions = 1 + (stack.temporal_attention and not stack.spacetime_attention)
    block = attentions * 2 * positions * d * (2 * inner + 2 * stack.kv_heads * stack.head_dim)
    keys = tokens
    if stack.spacetime_attention:
        keys = (past or frames) * tokens
    elif stack.temporal_attention:
        keys = tokens + (past or frames)
    block += 4 * positions * keys * inner
    block += 4 * positions * d * int(d * stack.ffw_multiple)
    if stack.depthwise_conv != "none":
        block += 18 * positions * d
    if stack.depthwise_conv == "causal":
        block += 18 * batch * (frames if past else frames - 1) * tokens * d
    return stack.layers * block


def encode_operations(config: TokenizerConfig, tokens: int, batch: int, frames: int) -> int:
    """Return the operations of pixels to codes, of frames of so many tokens."""
    positions, values = batch * frames * tokens, 3 * config.patch**2
    linear = values * config.encoder.d_model + config.encoder.d_model * config.latent_dim
    blocks = stack_operations(stack_of(config, "encoder"), tokens, batch, frames)
    return 2 * positions * linear + _search(config, tokens, batch, frames) + blocks


def _search(config: TokenizerConfig, tokens: int, batch: int, frames: int) -> int:
    """Return the operations of the search for the nearest codes; fsq only rounds."""
    codes = config.codebook_size if config.quantizer == "vq" else 0
    return 2 * batch * frames * tokens * codes * config.latent_dim


def tokenizer_operations(config: TokenizerConfig, tokens: int, batch: int, frames: int) -> int:
    """Return the operations of a forward pass: pixels to codes to pixels."""
    positions, values, d = batch * frames * tokens, 3 * config.patch**2, config.decoder.d_model
    decode = 2 * positions * (config.latent_dim * d + d * values)
    decode += stack_operations(stack_of(config, "decoder"), tokens, batch, frames)
    return encode_operations(config, tokens, batch, frames) + decode


def lam_encode_operations(config: LatentActionConfig, tokens: int, batch: int, frames: int) -> int:
    """Return the operations of frames to latent actions, of frames of so many of the LAM's tokens."""
    e, steps = config.encoder.d_model, batch * (frames - 1)
    # the embedding of a token is looked up, not multiplied
    read = 0 if config.input == "tokens" else 3 * config.patch**2
    seen = min(frames, config.window or frames)
    windows = steps // (seen - 1)
    if config.pooling == "antisymmetric":
        encoder = stack_operations(config.encoder, tokens, 2 * steps, 1) + 2 * 2 * steps * tokens * 2 * read * e
    else:
        encoder = stack_operations(config.encoder, tokens, windows, seen) + 2 * windows * seen * tokens * read * e
    return encoder + 2 * steps * (e + config.num_actions) * config.latent_dim


def lam_operations(config: LatentActionConfig, num_codes: int, tokens: int, batch: int, frames: int) -> int:
    """Return the operations of a forward pass: frames to latent actions, frames and actions to next frames.

    Args:
        config: of the LAM.
        num_codes: of the tokenizer, whose logits a LAM of tokens predicts.
        tokens: the LAM's, of a frame.
        batch: windows.
        frames: of each.
    """
    d, steps = config.decoder.d_model, batch * (frames - 1)
    read, drawn = (0, num_codes) if config.input == "tokens" else (3 * config.patch**2, 3 * config.patch**2)
    seen = min(frames, config.window or frames)
    decoder = stack_operations(config.decoder, tokens, steps // (seen - 1), seen - 1)
    decoder += 2 * steps * tokens * (read + drawn) * d + 2 * steps * config.latent_dim * d
    return lam_encode_operations(config, tokens, batch, frames) + decoder


def dynamics_operations(
    config: DynamicsConfig,
    num_codes: int,
    action_dim: int,
    tokens: int,
    batch: int,
    frames: int,
    *,
    rows: int | None = None,
    past: int = 0,
) -> int:
    """Return the operations of a forward pass: tokens and latent actions to logits.

    Args:
        config: of the dynamics.
        num_codes: of the tokenizer.
        action_dim: values of a latent action.
        tokens: of a frame.
        batch: windows.
        frames: of each.
        rows: tokens whose logits are computed; all by default.
        past: slots of a cache that attention reads as well; each frame then has an action, else the first has none.
    """
    d, injection = config.stack.d_model, config.action_injection
    rows = batch * frames * tokens if rows is None else rows
    action = action_dim * (2 * d if injection == "film" else d)
    led = frames if past else frames - 1
    stack = stack_operations(config.stack, tokens + (injection == "prepend"), batch, frames, past)
    return stack + 2 * rows * d * num_codes + 2 * batch * led * action


@dataclass(frozen=True)
class TrainingOperations:
    """Operations of a training."""

    step: int
    """Of a step; of a world, of one in which the dynamics learns."""
    total: int
    """Of all steps: what the training costs."""
    repeated: int
    """What activation checkpointing computes once more, in all steps."""


def training_operations(config: Config, kind: Kind, size: FrameSize | None = None) -> TrainingOperations:
    """Return the operations of a training.

    Tokens and codes that `training.cache_tokens` keeps are counted as if every step computed them.

    Args:
        config: the settings.
        kind: what is trained.
        size: of the frames; by default that of the configured clips.
    """
    size = size or FrameSize(config.clips.height, config.clips.width)
    counts, section = count_parameters(config, size), config.tokenizer
    tokens = size.tokens(section.patch)
    if kind == "video_tokenizer":
        forward = tokenizer_operations(section, tokens, section.batch, section.window)
        again = forward * is_checkpointed(config.training, counts.tokenizer)
        # the search for codes has no backward pass
        step = TRAINING * forward - (TRAINING - 1) * _search(section, tokens, section.batch, section.window)
        return TrainingOperations(step, section.steps * step, section.steps * again)
    lam, dynamics = config.latent_actions, config.dynamics
    lam_tokens = tokens if lam.input == "tokens" else size.tokens(lam.patch)
    batch, frames = dynamics.batch, dynamics.context
    of_lam = lam_operations(lam, section.codebook_size, lam_tokens, batch, frames)
    only_codes = lam_encode_operations(lam, lam_tokens, batch, frames)
    # read from the token shards, or encoded at every step
    encode = 0 if config.training.read_tokens else encode_operations(section, tokens, batch, frames)
    of_dynamics = _dynamics_pass(config, tokens, batch, frames, int(batch * frames * tokens * _masked_share(dynamics)))
    learns = 1 / lam.update_every if lam.update_every else 0.0
    if dynamics.led_by == "true_actions":
        of_lam, only_codes = 0, 0
    step = encode + int(learns * TRAINING * of_lam + (1 - learns) * only_codes)
    step += TRAINING * of_dynamics + _own_past(config, tokens)
    alone, steps_alone = TRAINING * of_lam + encode * (lam.input == "tokens"), dynamics.alone_steps(lam)
    lam_again = int(of_lam * (steps_alone + learns * dynamics.steps))
    again = lam_again * is_checkpointed(config.training, counts.latent_actions)
    again += dynamics.steps * of_dynamics * is_checkpointed(config.training, counts.dynamics)
    return TrainingOperations(step, dynamics.steps * step + steps_alone * alone, again)


def _dynamics_pass(config: Config, tokens: int, batch: int, frames: int, rows: int, past: int = 0) -> int:
    codes, action = config.tokenizer.codebook_size, config.latent_actions.latent_dim
    return dynamics_operations(config.dynamics, codes, action, tokens, batch, frames, rows=rows, past=past)


def _masked_share(config: DynamicsConfig) -> float:
    """Return which share of a window's tokens is masked, on average."""
    rate = (1 + config.min_mask_rate) / 2
    rate += config.full_mask_share * (1 - rate)
    # of frames 2..T: all of them, or those after a prefix of 1..T-1 frames
    frames = (config.context - 1) / config.context
    return rate * frames * (1 - config.clean_prefix_share * (config.context - 2) / (2 * max(1, config.context - 1)))


def _own_past(config: Config, tokens: int) -> int:
    """Return the operations of the dynamics' own guesses in a step (`dynamics.own_frame_share`, `own_frames`)."""
    dynamics = config.dynamics
    batch, frames = dynamics.batch, dynamics.context
    if dynamics.own_frames > 1:
        # side by side, a frame a pass, and one more pass that caches the frame before
        drawn = int(dynamics.own_frame_share * batch)
        return 2 * dynamics.own_frames * _dynamics_pass(config, tokens, drawn, 1, drawn * tokens, past=frames)
    return _dynamics_pass(config, tokens, batch, frames, batch * frames * tokens) if dynamics.own_frame_share else 0
