"""Floating-point operations of the networks by formula: what a step must do, whatever computes it.

A product of (m, k) and (k, n) is 2mkn. Counted are the linear layers, both attentions (scores and mixing; the temporal
one over its whole window, the masked half included, as it is computed), convolutions, and the search for the nearest
code. Norms, activations, softmax and the optimizer are not. A backward pass is twice its forward pass.
"""

from __future__ import annotations

from models.dynamics import Dynamics
from models.latent_actions import LatentActionModel
from models.tokenizer import VideoTokenizer
from models.transformer import STTransformer
from pipeline.config.world import StackConfig

TRAINING = 3
"""A training step over its forward pass: the forward pass itself, and a backward pass of twice its size."""


def stack_flops(config: StackConfig, batch: int, frames: int, tokens: int) -> int:
    """Return the operations of a forward pass of ST-transformer blocks over (batch, frames, tokens)."""
    d, inner = config.d_model, config.heads * config.head_dim
    positions = batch * frames * tokens
    projections = 2 * positions * d * (2 * inner + 2 * config.kv_heads * config.head_dim)
    block = projections + 4 * positions * tokens * inner
    if config.temporal_attention:
        block += projections + 4 * positions * frames * inner
    block += 4 * positions * d * int(d * config.ffw_multiple)
    if config.depthwise_conv != "none":
        block += 18 * positions * d
    if config.depthwise_conv == "causal":
        block += 18 * batch * (frames - 1) * tokens * d
    return config.layers * block


def tokenizer_flops(network: VideoTokenizer, batch: int, frames: int) -> int:
    """Return the operations of a forward pass: pixels to codes to pixels."""
    config, tokens = network.config, network.num_tokens
    positions, values = batch * frames * tokens, 3 * network.config.patch**2
    linear = values * config.encoder.d_model + config.encoder.d_model * config.latent_dim
    linear += config.latent_dim * config.decoder.d_model + config.decoder.d_model * values
    nearest = config.codebook_size * config.latent_dim
    stacks = (stack_flops(stack, batch, frames, tokens) for stack in (config.encoder, config.decoder))
    return 2 * positions * (linear + nearest) + sum(stacks)


def lam_flops(network: LatentActionModel, batch: int, frames: int) -> int:
    """Return the operations of a forward pass: frames to latent actions, frames and actions to next frames."""
    config, tokens = network.config, _tokens(network.encoder)
    values, d, e = 3 * config.patch**2, config.decoder.d_model, config.encoder.d_model
    steps = batch * (frames - 1)
    if network.pairs:
        encoder = stack_flops(config.encoder, 2 * steps, 1, tokens) + 2 * 2 * steps * tokens * 2 * values * e
        pre = 2 * steps * e * config.latent_dim
    else:
        encoder = stack_flops(config.encoder, batch, frames, tokens) + 2 * batch * frames * tokens * values * e
        pre = 2 * steps * e * config.latent_dim
    nearest = 2 * steps * config.num_actions * config.latent_dim
    decoder = stack_flops(config.decoder, batch, frames - 1, tokens) + 2 * 2 * steps * tokens * values * d
    return encoder + pre + nearest + decoder + 2 * steps * config.latent_dim * d


def dynamics_flops(network: Dynamics, batch: int, frames: int, *, action_dim: int) -> int:
    """Return the operations of a forward pass: tokens and latent actions to logits."""
    d, tokens = network.config.stack.d_model, _tokens(network.transformer)
    head = 2 * batch * frames * tokens * d * network.mask_id
    actions = 2 * batch * (frames - 1) * action_dim * d
    return stack_flops(network.config.stack, batch, frames, tokens) + head + actions


def _tokens(stack: STTransformer) -> int:
    return stack.grid[0] * stack.grid[1]
