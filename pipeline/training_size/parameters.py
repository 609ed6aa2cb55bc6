"""Parameters of the networks, counted from their settings; a test builds the networks and finds the same numbers.

Shapes in names: d width, inner feed-forward width, values of a patch.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

from pipeline.config import Config
from pipeline.config.training import TrainingConfig
from pipeline.config.world import StackConfig, TokenizerConfig

Kind = Literal["video_tokenizer", "world_model"]
"""What is trained."""

CHECKPOINTED = 200_000_000
"""Parameters from which on `training.activation_checkpointing: auto` checkpoints a network."""


class FrameSize(NamedTuple):
    """Rows and columns of pixels of a frame."""

    height: int
    width: int

    def tokens(self, patch: int) -> int:
        """Return how many square patches of `patch` pixels cover a frame."""
        return -(-self.height // patch) * -(-self.width // patch)


class Parameters(NamedTuple):
    """Parameters of each network; codebooks count, also those that follow their latents without gradient."""

    tokenizer: int
    latent_actions: int
    dynamics: int


def stack_of(config: TokenizerConfig, part: Literal["encoder", "decoder"]) -> StackConfig:
    """Return the blocks of one half of a tokenizer, with the attention of its architecture."""
    stack = config.encoder if part == "encoder" else config.decoder
    if config.architecture == "vit":
        return dataclasses.replace(stack, temporal_attention=False)
    if config.architecture == "c_vivit":
        return dataclasses.replace(stack, temporal_attention=False, spacetime_attention=True)
    return stack


def count_parameters(config: Config, size: FrameSize | None = None) -> Parameters:
    """Return the parameters of a configuration's networks, for frames of a size (by default that of its clips)."""
    size = size or FrameSize(config.clips.height, config.clips.width)
    return Parameters(_tokenizer(config, size), _latent_actions(config, size), _dynamics(config, size))


def is_checkpointed(config: TrainingConfig, parameters: int) -> bool:
    """Tell whether a network of so many parameters computes its activations again in the backward pass."""
    chosen = config.activation_checkpointing
    return chosen == "on" or (chosen == "auto" and parameters >= CHECKPOINTED)


def _linear(inputs: int, outputs: int, bias: bool = True) -> int:
    return inputs * outputs + bias * outputs


def _stack(stack: StackConfig, tokens: int, context: int) -> int:
    """Return the parameters of a stack of blocks on frames of so many tokens, `context` frames at most."""
    d, inner = stack.d_model, int(stack.d_model * stack.ffw_multiple)
    heads = stack.heads + 2 * stack.kv_heads
    attention = 2 * d + (heads + stack.heads) * stack.head_dim * d + stack.qk_norm * 2 * stack.head_dim
    block = attention + 2 * d + _linear(d, inner) + _linear(inner, d)
    if stack.temporal_attention:
        block += attention + (stack.temporal_positions == "lag_bias") * stack.heads * context
    block += 9 * d * {"none": 0, "frame": 1, "causal": 2}[stack.depthwise_conv]
    return tokens * d + stack.layers * block


def _tokenizer(config: Config, size: FrameSize) -> int:
    section, values = config.tokenizer, 3 * config.tokenizer.patch**2
    tokens, latent = size.tokens(section.patch), section.latent_dim
    e, d = section.encoder.d_model, section.decoder.d_model
    stacks = sum(_stack(stack_of(section, part), tokens, section.window) for part in ("encoder", "decoder"))
    codes = section.codebook_size * latent if section.quantizer == "vq" else 0
    return _linear(values, e) + _linear(e, latent) + codes + _linear(latent, d) + _linear(d, values) + stacks


def _latent_actions(config: Config, size: FrameSize) -> int:
    section, pairs = config.latent_actions, config.latent_actions.pooling == "antisymmetric"
    e, d, latent = section.encoder.d_model, section.decoder.d_model, section.latent_dim
    context = section.window or config.dynamics.context
    if section.input == "tokens":
        values, tokens = config.tokenizer.codebook_size, size.tokens(config.tokenizer.patch)
        embeddings = values * (e + d)
    else:
        values, tokens = 3 * section.patch**2, size.tokens(section.patch)
        embeddings = _linear((1 + pairs) * values, e) + _linear(values, d)
    stacks = _stack(section.encoder, tokens, context) + _stack(section.decoder, tokens, context)
    codes = section.num_actions * latent
    return embeddings + stacks + _linear(e, latent, not pairs) + codes + _linear(latent, d) + _linear(d, values)


def _dynamics(config: Config, size: FrameSize) -> int:
    section, codes, latent = config.dynamics, config.tokenizer.codebook_size, config.latent_actions.latent_dim
    d, prepends = section.stack.d_model, section.action_injection == "prepend"
    stack = _stack(section.stack, size.tokens(config.tokenizer.patch) + prepends, section.context)
    actions = _linear(latent, 2 * d if section.action_injection == "film" else d) + prepends * d
    return (codes + 1) * d + actions + stack + 2 * d + _linear(d, codes)
