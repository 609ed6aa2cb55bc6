"""Floating-point operations of networks, by the formulas of `pipeline.training_size.operations`."""

from __future__ import annotations

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.networks.transformer import STTransformer
from pipeline.training_size.operations import (
    TRAINING,
    dynamics_operations,
    lam_operations,
    stack_operations,
    tokenizer_operations,
)

__all__ = ["TRAINING", "dynamics_flops", "frame_flops", "lam_flops", "stack_flops", "tokenizer_flops"]


def stack_flops(stack: STTransformer, batch: int, frames: int, past: int = 0) -> int:
    """Return the operations of a forward pass over (batch, frames); attention also reads `past` slots of a cache."""
    return stack_operations(stack.config, stack.grid[0] * stack.grid[1], batch, frames, past)


def tokenizer_flops(network: VideoTokenizer, batch: int, frames: int) -> int:
    """Return the operations of a forward pass: pixels to codes to pixels."""
    return tokenizer_operations(network.config, network.num_tokens, batch, frames)


def lam_flops(network: LatentActionModel, batch: int, frames: int) -> int:
    """Return the operations of a forward pass: frames to latent actions, frames and actions to next frames."""
    tokens = network.encoder.grid[0] * network.encoder.grid[1]
    return lam_operations(network.config, network.out.out_features, tokens, batch, frames)


def dynamics_flops(network: Dynamics, batch: int, frames: int, rows: int | None = None) -> int:
    """Return the operations of a forward pass: tokens and latent actions to the logits of `rows` tokens (all)."""
    return _dynamics(network, batch, frames, rows=rows)


def frame_flops(network: Dynamics, batch: int) -> int:
    """Return the operations of a pass over one frame after cached ones; attention reads all slots of the cache."""
    return _dynamics(network, batch, 1, past=network.config.context)


def _dynamics(network: Dynamics, batch: int, frames: int, *, rows: int | None = None, past: int = 0) -> int:
    tokens, action = network.grid[0] * network.grid[1], network.embed_action.in_features
    return dynamics_operations(network.config, network.mask_id, action, tokens, batch, frames, rows=rows, past=past)
