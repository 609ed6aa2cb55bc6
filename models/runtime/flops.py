"""Floating-point operations of the networks, by formula.

A product of (m, k) and (k, n) has 2mkn operations. Linear layers, both attentions, convolutions and the search for the
nearest code are counted. Attention counts scores and mixing; temporal attention includes the masked half of its window,
because that half is computed too. Norms, activations, softmax and the optimizer are not counted. A backward pass has
twice the operations of its forward pass.
"""

from __future__ import annotations

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.networks.transformer import STTransformer

TRAINING = 3
"""Operations of a training step relative to its forward pass: the backward pass has twice as many."""


def stack_flops(stack: STTransformer, batch: int, frames: int, past: int = 0) -> int:
    """Return the operations of a forward pass over (batch, frames); attention also reads `past` slots of a cache."""
    config, tokens = stack.config, stack.grid[0] * stack.grid[1]
    d, inner = config.d_model, config.heads * config.head_dim
    positions = batch * frames * tokens
    attentions = 1 + (config.temporal_attention and not config.spacetime_attention)
    block = attentions * 2 * positions * d * (2 * inner + 2 * config.kv_heads * config.head_dim)
    keys = tokens
    if config.spacetime_attention:
        keys = (past or frames) * tokens
    elif config.temporal_attention:
        keys = tokens + (past or frames)
    block += 4 * positions * keys * inner
    block += 4 * positions * d * int(d * config.ffw_multiple)
    if config.depthwise_conv != "none":
        block += 18 * positions * d
    if config.depthwise_conv == "causal":
        block += 18 * batch * (frames if past else frames - 1) * tokens * d
    return config.layers * block


def tokenizer_flops(network: VideoTokenizer, batch: int, frames: int) -> int:
    """Return the operations of a forward pass: pixels to codes to pixels."""
    config = network.config
    positions, values = batch * frames * network.num_tokens, 3 * config.patch**2
    linear = values * config.encoder.d_model + config.encoder.d_model * config.latent_dim
    linear += config.latent_dim * config.decoder.d_model + config.decoder.d_model * values
    # vq searches for the nearest code; fsq only rounds
    nearest = config.codebook_size * config.latent_dim if config.quantizer == "vq" else 0
    stacks = (stack_flops(stack, batch, frames) for stack in (network.encoder, network.decoder))
    return 2 * positions * (linear + nearest) + sum(stacks)


def lam_flops(network: LatentActionModel, batch: int, frames: int) -> int:
    """Return the operations of a forward pass: frames to latent actions, frames and actions to next frames."""
    config = network.config
    tokens = network.encoder.grid[0] * network.encoder.grid[1]
    d, e, steps = config.decoder.d_model, config.encoder.d_model, batch * (frames - 1)
    values = network.out.out_features
    # the embedding of a token is looked up, not multiplied
    read = 0 if network.reads_tokens else values
    seen = min(frames, network.frames_at_once)
    windows = steps // (seen - 1)
    if network.pairs:
        encoder = stack_flops(network.encoder, 2 * steps, 1) + 2 * 2 * steps * tokens * 2 * read * e
    else:
        encoder = stack_flops(network.encoder, windows, seen) + 2 * windows * seen * tokens * read * e
    codes = 2 * steps * (e + config.num_actions) * config.latent_dim
    decoder = stack_flops(network.decoder, windows, seen - 1) + 2 * steps * tokens * (read + values) * d
    return encoder + codes + decoder + 2 * steps * config.latent_dim * d


def dynamics_flops(network: Dynamics, batch: int, frames: int, rows: int | None = None) -> int:
    """Return the operations of a forward pass: tokens and latent actions to the logits of `rows` tokens (all)."""
    d, action = network.config.stack.d_model, network.embed_action
    rows = batch * frames * network.grid[0] * network.grid[1] if rows is None else rows
    head = 2 * rows * d * network.mask_id
    actions = 2 * batch * (frames - 1) * action.in_features * action.out_features
    return stack_flops(network.transformer, batch, frames) + head + actions


def frame_flops(network: Dynamics, batch: int) -> int:
    """Return the operations of a pass over one frame after cached ones; attention reads all slots of the cache."""
    d, action = network.config.stack.d_model, network.embed_action
    head = 2 * batch * network.grid[0] * network.grid[1] * d * network.mask_id
    actions = 2 * batch * action.in_features * action.out_features
    return stack_flops(network.transformer, batch, 1, past=network.config.context) + head + actions
