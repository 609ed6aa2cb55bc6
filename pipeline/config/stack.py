"""Sizes of a stack of ST-transformer blocks, and the published ones of the dynamics (Genie, tables 10 and 12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import PositiveFloat

from pipeline.config.section import Count, Section
from pipeline.errors import UserError


@dataclass(frozen=True, kw_only=True)
class StackConfig(Section, name="stack"):
    """The size of a stack of ST-transformer blocks; every number is independent of the others."""

    layers: Count
    """Blocks: spatial attention, causal temporal attention, one feed-forward."""
    d_model: Count
    """Width of the residual stream."""
    heads: Count
    """Attention heads."""
    head_dim: Count = 64
    """Size of a head's keys and queries (the paper's k/q size; heads times it need not be `d_model`)."""
    kv_heads: Count = 1
    """Heads of keys and values; 1 is multi-query, the reading that fits the published parameter counts."""
    ffw_multiple: PositiveFloat = 2.0
    """Feed-forward width over `d_model`; 2 fits the published parameter counts."""
    qk_norm: bool = False
    """Normalise queries and keys (the paper's dynamics)."""
    temporal_attention: bool = True
    """Whether a block looks at earlier frames at all."""
    spacetime_attention: bool = False
    """One attention over all tokens of this frame and the frames before, in place of the two (for C-ViViT)."""
    temporal_positions: Literal["rotary", "lag_bias"] = "rotary"
    """How time is known: rotary angles, or a learned bias per head and lag. Never absolute positions."""
    depthwise_conv: Literal["none", "frame", "causal"] = "none"
    """A 3x3 depthwise convolution at the start of each block: over the frame, or over it and the one before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise UserError(f"stack.kv_heads = {self.kv_heads}: must divide heads = {self.heads}")
        if int(self.d_model * self.ffw_multiple) < 1:
            raise UserError(
                f"stack.ffw_multiple = {self.ffw_multiple:g}: no channel of d_model = {self.d_model} is left; set it "
                "to 1 or more"
            )
        if self.temporal_positions == "rotary" and self.head_dim % 2:
            raise UserError(f"stack.head_dim = {self.head_dim}: must be even for rotary positions")
        if self.spacetime_attention and (self.temporal_attention or self.temporal_positions != "rotary"):
            raise UserError(
                "stack.spacetime_attention looks back by itself, by rotary positions: set temporal_attention = false"
            )


@dataclass(frozen=True)
class DynamicsSize:
    """One of the dynamics sizes of Genie's tables 10 and 12."""

    parameters: float
    """As published, in millions."""
    stack: StackConfig
    """Blocks."""
    batch: int
    """Windows a step."""
    steps: int
    """Steps of the joint training."""


def _size(
    parameters: float, layers: int, heads: int, d_model: int, head_dim: int, kv_heads: int, batch: int, steps: int
) -> DynamicsSize:
    stack = StackConfig(layers=layers, d_model=d_model, heads=heads, head_dim=head_dim, kv_heads=kv_heads, qk_norm=True)
    return DynamicsSize(parameters, stack, batch, steps)


# layers, heads, d_model and k/q size are the tables'. They do not tell the heads of keys and values: these are the
# divisor of `heads` that brings the count nearest to the published one (1 gives 0.96 to 1.03 of it, these 0.99 to 1.03)
DYNAMICS_SIZES = {
    "41m": _size(41, 18, 8, 512, 64, 1, 256, 200_000),
    "96m": _size(96, 16, 16, 768, 64, 2, 256, 200_000),
    "192m": _size(192, 20, 18, 1024, 64, 2, 256, 200_000),
    "404m": _size(404, 21, 12, 1536, 128, 1, 256, 200_000),
    "811m": _size(811, 20, 20, 2048, 128, 2, 256, 200_000),
    "1.6b": _size(1600, 28, 22, 2560, 128, 1, 256, 200_000),
    "2.7b": _size(2700, 36, 22, 3072, 128, 2, 256, 200_000),
    "10.1b": _size(10_100, 48, 36, 5120, 128, 4, 512, 125_000),
}
