"""The ST-transformer that all networks share (Genie section 2.1).

A block attends to the other tokens of its frame, then to the same position in earlier frames, and ends with one
feed-forward. Each part reads a normalised copy of the residual stream and adds its output to it. Fresh parts add zero,
so that a fresh network returns its embedding unchanged.

Shapes: B windows, T frames, P tokens of a frame, D width, H heads, G key and value heads, C head size, N sequences,
S their length, W frames that a cache has room for.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.networks.attention import attend, block_causal_mask, causal_mask, rotary_dtype, rotary_table, rotate
from models.networks.frame_cache import BlockPast, FrameCache, Places
from pipeline.config.world import StackConfig


class Attention(nn.Module):
    """Multi-head attention over sequences (N, S, D), with H heads of queries and G of keys (1: multi-query attention).

    H, G and C are settings of the stack (in table 10 heads times head size is not the width). QK-norm is optional (the
    paper's dynamics has it).
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        inner = (config.heads + 2 * config.kv_heads) * config.head_dim
        self.qkv = nn.Linear(config.d_model, inner, bias=False)
        self.out = nn.Linear(config.heads * config.head_dim, config.d_model, bias=False)
        self.q_norm = nn.LayerNorm(config.head_dim, bias=False) if config.qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(config.head_dim, bias=False) if config.qk_norm else nn.Identity()
        nn.init.normal_(self.qkv.weight, std=config.d_model**-0.5)
        nn.init.zeros_(self.out.weight)

    def split(self, x_NSD: Tensor, angles: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries (N, H, S, C), keys and values (N, G, S, C), the first two turned by angles (S, 1, C) each."""
        n, s, _ = x_NSD.shape
        # as one matrix: of a strided batch torch may make as many products, each with a copy of the weights
        qkv = self.qkv(x_NSD.reshape(n * s, -1)).view(n, s, self.heads + 2 * self.kv_heads, self.head_dim)
        q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads], 2)
        q, k = self.q_norm(q), self.k_norm(k)
        if angles is not None:
            q, k = rotate(q, *angles), rotate(k, *angles)
        return q.to(v.dtype).transpose(1, 2), k.to(v.dtype).transpose(1, 2), v.transpose(1, 2)

    def join(self, y_NHSC: Tensor) -> Tensor:
        """Return the heads' outputs, mixed, (N, S, D)."""
        n, _, s, _ = y_NHSC.shape
        return self.out(y_NHSC.transpose(1, 2).reshape(n * s, -1)).view(n, s, -1)


class SpatialAttention(Attention):
    """Attention among the P tokens of each frame of (B, T, P, D) (section 2.1)."""

    def forward(self, x_BTPD: Tensor) -> Tensor:
        b, t, p, d = x_BTPD.shape
        return self.join(attend(*self.split(x_BTPD.reshape(b * t, p, d)))).view(b, t, p, d)


class TemporalAttention(Attention):
    """Attention of each position of (B, T, P, D) to itself in this frame and the frames before (section 2.1).

    Frame t never sees t + 1.
    """

    def __init__(self, config: StackConfig, context: int) -> None:
        super().__init__(config)
        self.context = context
        self.lag_bias: nn.Parameter | None = None
        if config.temporal_positions == "lag_bias":
            # from heads that attend to all frames alike to heads that prefer the present one
            slope = torch.linspace(0, 1, config.heads)
            self.lag_bias = nn.Parameter(-slope[:, None] * torch.arange(context))

    def forward(self, x_BTPD: Tensor, past: BlockPast | None = None, places: Places | None = None) -> Tensor:
        """Return what is added to frames at `places` (0.. by default); `past` caches the frames before them."""
        b, t, p, d = x_BTPD.shape
        if t > self.context:
            raise ValueError(f"{t} frames exceed the context of {self.context}")
        x_NTD = x_BTPD.transpose(1, 2).reshape(b * p, t, d)
        q, k, v = self.split(x_NTD, _angles(self, t, x_BTPD, places) if self.lag_bias is None else None)
        if past is None or places is None:
            y = attend(q, k, v, None if self.lag_bias is None else self._bias(t), causal=self.lag_bias is None)
        else:
            k, v = past.join(k, v, places, turned=self.lag_bias is None)
            lags = None if self.lag_bias is None else self.lag_bias[:, places.lags_TW]
            y = attend(q, k, v, places.hidden_TW if lags is None else lags + places.hidden_TW)
        return self.join(y).view(b, p, t, d).transpose(1, 2)

    def _bias(self, frames: int) -> Tensor:
        assert self.lag_bias is not None
        place = torch.arange(frames, device=self.lag_bias.device)
        lags = (place[:, None] - place).clamp(min=0)
        return causal_mask(frames, self.lag_bias.device) + self.lag_bias[:, lags]


class SpaceTimeAttention(Attention):
    """Attention of each token of (B, T, P, D) to all tokens of this frame and those before (C-ViViT: table 3)."""

    def __init__(self, config: StackConfig, context: int) -> None:
        super().__init__(config)
        self.context = context

    def forward(self, x_BTPD: Tensor, past: BlockPast | None = None, places: Places | None = None) -> Tensor:
        """Return what is added to frames at `places` (0.. by default); `past` caches the frames before them."""
        b, t, p, d = x_BTPD.shape
        if t > self.context:
            raise ValueError(f"{t} frames exceed the context of {self.context}")
        cosines, sines = (part.repeat_interleave(p, 0) for part in _angles(self, t, x_BTPD, places))
        q, k, v = self.split(x_BTPD.reshape(b, t * p, d), (cosines, sines))
        if past is None or places is None:
            hidden = block_causal_mask(t, p, x_BTPD.device)
        else:
            k, v = past.join(k, v, places, turned=True)
            hidden = places.hidden_TW.repeat_interleave(p, 0).repeat_interleave(p, 1)
        return self.join(attend(q, k, v, hidden)).view(b, t, p, d)


def _angles(attention: Attention, frames: int, x: Tensor, places: Places | None) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines (T, 1, C) of the frames' places."""
    if places is not None:
        cosines, sines = places.cosines_TC, places.sines_TC
    else:
        cosines, sines = rotary_table(frames, attention.head_dim, x.device, rotary_dtype(x.dtype))
    return cosines[:, None], sines[:, None]


class DepthwiseConv(nn.Module):
    """A 3x3 convolution of each channel of (B, T, P, D) over its frame, and over the frame before where `causal`."""

    def __init__(self, d_model: int, causal: bool) -> None:
        super().__init__()
        self.here = nn.Parameter(torch.randn(d_model, 1, 3, 3) * 0.1)
        self.before = nn.Parameter(torch.randn(d_model, 1, 3, 3) * 0.1) if causal else None

    def forward(self, x_BTPD: Tensor, grid: tuple[int, int], before_BPD: Tensor | None = None) -> Tensor:
        """Return the convolution of frames; `before_BPD` is the frame before the first (zeros: none)."""
        b, t, p, d = x_BTPD.shape
        image = x_BTPD.reshape(b * t, *grid, d).permute(0, 3, 1, 2)
        y = _depthwise(image, self.here).permute(0, 2, 3, 1).reshape(b, t, p, d)
        if self.before is not None and before_BPD is not None:
            past = torch.cat([before_BPD[:, None], x_BTPD[:, :-1]], 1)
            image = past.reshape(b * t, *grid, d).permute(0, 3, 1, 2)
            y = y + _depthwise(image, self.before).permute(0, 2, 3, 1).reshape(b, t, p, d)
        elif self.before is not None and t > 1:
            past = x_BTPD[:, :-1].reshape(b * (t - 1), *grid, d).permute(0, 3, 1, 2)
            past = _depthwise(past, self.before).permute(0, 2, 3, 1).reshape(b, t - 1, p, d)
            y = y + F.pad(past, (0, 0, 0, 0, 1, 0))
        return y


def _depthwise(image_NDHW: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(image_NDHW, weight, padding=1, groups=image_NDHW.shape[1])


class Block(nn.Module):
    """Spatial attention, causal temporal attention, one feed-forward, on (B, T, P, D) (section 2.1: none between)."""

    def __init__(self, config: StackConfig, context: int) -> None:
        super().__init__()
        d, inner = config.d_model, int(config.d_model * config.ffw_multiple)
        self.conv = None if config.depthwise_conv == "none" else DepthwiseConv(d, config.depthwise_conv == "causal")
        self.spatial: SpatialAttention | None = None
        self.temporal: TemporalAttention | SpaceTimeAttention | None = None
        if config.spacetime_attention:
            self.temporal_norm, self.temporal = nn.LayerNorm(d), SpaceTimeAttention(config, context)
        else:
            self.spatial_norm, self.spatial = nn.LayerNorm(d), SpatialAttention(config)
        if config.temporal_attention:
            self.temporal_norm, self.temporal = nn.LayerNorm(d), TemporalAttention(config, context)
        self.ffw_norm = nn.LayerNorm(d)
        widen, narrow = nn.Linear(d, inner), nn.Linear(inner, d)
        nn.init.normal_(widen.weight, std=d**-0.5)
        nn.init.zeros_(narrow.weight)
        nn.init.zeros_(widen.bias)
        nn.init.zeros_(narrow.bias)
        self.ffw = nn.Sequential(widen, nn.GELU(), narrow)

    def forward(
        self,
        x_BTPD: Tensor,
        grid: tuple[int, int],
        past: BlockPast | None = None,
        places: Places | None = None,
        keep: bool = False,
    ) -> Tensor:
        """Return the frames after this block; with `past`, of frames at `places`, which it caches if `keep`."""
        if self.conv is not None:
            x_BTPD = x_BTPD + self.conv(x_BTPD, grid, None if past is None else past.input(x_BTPD, keep))
        if self.spatial is not None:
            x_BTPD = x_BTPD + self.spatial(self.spatial_norm(x_BTPD))
        if self.temporal is not None:
            x_BTPD = x_BTPD + self.temporal(self.temporal_norm(x_BTPD), past, places)
        return x_BTPD + self.ffw(self.ffw_norm(x_BTPD))


class STTransformer(nn.Module):
    """Blocks on (B, T, P, D): learned positions in the frame, in time only what attention knows (section 2.1).

    The paper does not say which positions. Absolute ones in time would let latent actions encode the frame number, and
    would not allow a sliding window.
    """

    def __init__(self, config: StackConfig, grid: tuple[int, int], context: int) -> None:
        """Build a stack.

        Args:
            config: its sizes.
            grid: rows and columns of tokens of a frame.
            context: most frames of a window.
        """
        super().__init__()
        self.config, self.grid = config, grid
        self.checkpointing = False
        """Whether the backward pass recomputes a block's activations instead of keeping them."""
        self.after_past = self._after_past
        """The pass of one frame after cached ones through all blocks; may be replaced by a compiled one."""
        self.positions = nn.Parameter(torch.randn(grid[0] * grid[1], config.d_model) * 0.02)
        self.blocks = nn.ModuleList(Block(config, context) for _ in range(config.layers))

    def forward(self, x_BTPD: Tensor, cache: FrameCache | None = None, keep: bool = False) -> Tensor:
        """Return the residual stream after all blocks, fp32, (B, T, P, D).

        Args:
            x_BTPD: embedded tokens; with a cache, of the frames after those that it holds.
            cache: holds the frames before them.
            keep: whether to cache these frames too; otherwise the next ones take their slots.
        """
        # the positions are fp32, and so the whole residual stream is, whatever the products' dtype
        frames, x_BTPD = x_BTPD.shape[1], x_BTPD + self.positions
        if cache is None:
            for block in self.blocks:
                if self.checkpointing and torch.is_grad_enabled():
                    x_BTPD = checkpoint(block, x_BTPD, self.grid, use_reentrant=False)
                else:
                    x_BTPD = block(x_BTPD, self.grid)
            return x_BTPD
        # places are computed here, so that the part that may be compiled or captured depends on tensors alone
        places, pasts = cache.places(frames, self.config.head_dim, x_BTPD), cache.blocks_for(len(self.blocks))
        after_past = self.after_past if frames == 1 and cache.length else self._after_past
        x_BTPD = after_past(x_BTPD, pasts, places, keep)
        if keep:
            cache.advance(frames)
        return x_BTPD

    def _after_past(self, x_BTPD: Tensor, pasts: list[BlockPast], places: Places, keep: bool) -> Tensor:
        for block, past in zip(self.blocks, pasts, strict=True):
            x_BTPD = block(x_BTPD, self.grid, past, places, keep)
        return x_BTPD
