"""The ST-transformer that all networks share (Genie section 2.1).

A block looks at the other tokens of its frame, then at the same position in earlier frames, then feeds forward
once; each part reads a normalised copy of the residual stream and adds to it. What a part adds is zero at the
start, so that a fresh network passes its embedding through unchanged.

Shapes: B windows, T frames, P tokens of a frame, D width, H heads, C head size, N sequences, S their length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.config.world import StackConfig


def attend(q_NHSC: Tensor, k_NHSC: Tensor, v_NHSC: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return softmax(q k' / sqrt(C) + bias) v by the kernel that is fastest where the tensors are.

    On a CPU in bf16 the fused kernel's backward pass is 8 times slower at 16 keys than three plain steps (measured);
    everywhere else the fused one wins. Keys and values may have fewer heads: each then serves several queries.
    """
    groups = q_NHSC.shape[1] // k_NHSC.shape[1]
    if groups > 1:
        k_NHSC, v_NHSC = (x.repeat_interleave(groups, 1) for x in (k_NHSC, v_NHSC))
    if q_NHSC.device.type == "cpu" and q_NHSC.dtype == torch.bfloat16:
        scores = (q_NHSC * q_NHSC.shape[-1] ** -0.5) @ k_NHSC.transpose(-1, -2)
        if bias is not None:
            scores = scores + bias.to(scores.dtype)
        return scores.softmax(-1) @ v_NHSC
    return F.scaled_dot_product_attention(
        q_NHSC, k_NHSC, v_NHSC, attn_mask=None if bias is None else bias.to(q_NHSC.dtype)
    )


def rotate(x_NHSC: Tensor, start: int = 0, base: float = 10_000.0) -> Tensor:
    """Return queries or keys turned by angles that grow with their place: products then know only the distance."""
    half = x_NHSC.shape[-1] // 2
    place = torch.arange(start, start + x_NHSC.shape[-2], device=x_NHSC.device, dtype=torch.float32)
    speed = base ** (-torch.arange(half, device=x_NHSC.device, dtype=torch.float32) / half)
    angle = place[:, None] * speed
    # in fp32 whatever the autocast: bf16 angles are wrong from the third frame on
    left, right = x_NHSC.float().chunk(2, -1)
    turned = torch.cat([left * angle.cos() - right * angle.sin(), left * angle.sin() + right * angle.cos()], -1)
    return turned.to(x_NHSC.dtype)


@dataclass
class BlockPast:
    """What one block keeps of past frames."""

    keys_NHTC: Tensor | None = None
    """Rotated keys, N = B * P sequences, with room for a whole window."""
    values_NHTC: Tensor | None = None
    input_BPD: Tensor | None = None
    """The block's input at the last frame that was kept, for a convolution that looks one frame back."""

    def join(self, k_NHSC: Tensor, v_NHSC: Tensor, start: int, context: int) -> tuple[Tensor, Tensor]:
        """Write keys and values at their places and return those of all frames up to them."""
        if self.keys_NHTC is None or self.values_NHTC is None:
            n, heads, _, size = k_NHSC.shape
            self.keys_NHTC, self.values_NHTC = (x.new_empty(n, heads, context, size) for x in (k_NHSC, v_NHSC))
        end = start + k_NHSC.shape[2]
        self.keys_NHTC[:, :, start:end] = k_NHSC
        self.values_NHTC[:, :, start:end] = v_NHSC
        return self.keys_NHTC[:, :, :end], self.values_NHTC[:, :, :end]


class FrameCache:
    """Past frames of one window, block by block: a later frame is computed alone, with the same result.

    Time is causal, so what a past frame became does not depend on the frames after it. Holds for as long as the window
    begins with the same frame.
    """

    def __init__(self) -> None:
        self.length = 0
        """Frames that are kept."""
        self.blocks: list[BlockPast] = []


class Attention(nn.Module):
    """Queries, keys and values of a stack's sizes; `kv_heads` 1 is multi-query attention."""

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

    def split(self, x_NSD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (N, heads, S, C)."""
        n, s, _ = x_NSD.shape
        qkv = self.qkv(x_NSD).view(n, s, self.heads + 2 * self.kv_heads, self.head_dim).transpose(1, 2)
        q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads], 1)
        return self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype), v

    def join(self, y_NHSC: Tensor) -> Tensor:
        """Return the heads' outputs, mixed, (N, S, D)."""
        return self.out(y_NHSC.transpose(1, 2).flatten(2))


class SpatialAttention(Attention):
    """Attention among the tokens of one frame."""

    def forward(self, x_BTPD: Tensor) -> Tensor:
        b, t, p, d = x_BTPD.shape
        return self.join(attend(*self.split(x_BTPD.reshape(b * t, p, d)))).view(b, t, p, d)


class TemporalAttention(Attention):
    """Attention of each position to itself in this frame and the frames before: frame t never sees t + 1."""

    def __init__(self, config: StackConfig, context: int) -> None:
        super().__init__(config)
        self.context = context
        self.lag_bias: nn.Parameter | None = None
        if config.temporal_positions == "lag_bias":
            # from heads that look at all frames alike to heads that prefer the present one
            slope = torch.linspace(0, 1, config.heads)
            self.lag_bias = nn.Parameter(-slope[:, None] * torch.arange(context))

    def forward(self, x_BTPD: Tensor, past: BlockPast | None = None, start: int = 0) -> Tensor:
        """Return what is added to frames `start` and on, of which the ones before them are in `past`."""
        b, t, p, d = x_BTPD.shape
        end = start + t
        assert end <= self.context, f"{end} frames exceed the context of {self.context}"
        q, k, v = self.split(x_BTPD.transpose(1, 2).reshape(b * p, t, d))
        bias = torch.full((t, end), float("-inf"), device=q.device).triu(start + 1)
        if self.lag_bias is None:
            q, k = rotate(q, start), rotate(k, start)
        else:
            place = torch.arange(end, device=q.device)
            bias = bias + self.lag_bias[:, (place[start:, None] - place).clamp(min=0)]
        if past is not None:
            k, v = past.join(k, v, start, self.context)
        return self.join(attend(q, k, v, bias)).view(b, p, t, d).transpose(1, 2)


class DepthwiseConv(nn.Module):
    """A 3x3 convolution of each channel over its frame, and over the frame before where `causal`."""

    def __init__(self, d_model: int, causal: bool) -> None:
        super().__init__()
        self.here = nn.Parameter(torch.randn(d_model, 1, 3, 3) * 0.1)
        self.before = nn.Parameter(torch.randn(d_model, 1, 3, 3) * 0.1) if causal else None

    def forward(self, x_BTPD: Tensor, grid: tuple[int, int], before_BPD: Tensor | None = None) -> Tensor:
        """Return the convolution of frames; `before_BPD` is the frame before the first of them, if there is one."""
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
    """Spatial attention, causal temporal attention, one feed-forward (no feed-forward between: section 2.1)."""

    def __init__(self, config: StackConfig, context: int) -> None:
        super().__init__()
        d, inner = config.d_model, int(config.d_model * config.ffw_multiple)
        self.conv = None if config.depthwise_conv == "none" else DepthwiseConv(d, config.depthwise_conv == "causal")
        self.spatial_norm, self.spatial = nn.LayerNorm(d), SpatialAttention(config)
        self.temporal_norm = self.temporal = None
        if config.temporal_attention:
            self.temporal_norm, self.temporal = nn.LayerNorm(d), TemporalAttention(config, context)
        self.ffw_norm = nn.LayerNorm(d)
        self.ffw = nn.Sequential(nn.Linear(d, inner), nn.GELU(), nn.Linear(inner, d))
        nn.init.normal_(self.ffw[0].weight, std=d**-0.5)
        nn.init.zeros_(self.ffw[2].weight)
        for index in (0, 2):
            nn.init.zeros_(self.ffw[index].bias)

    def forward(
        self,
        x_BTPD: Tensor,
        grid: tuple[int, int],
        past: BlockPast | None = None,
        start: int = 0,
        keep: bool = False,
    ) -> Tensor:
        """Return the frames after this block; with `past`, of frames `start` and on, which it then holds if `keep`."""
        before = None if past is None else past.input_BPD
        if past is not None and keep:
            past.input_BPD = x_BTPD[:, -1]
        if self.conv is not None:
            x_BTPD = x_BTPD + self.conv(x_BTPD, grid, before)
        x_BTPD = x_BTPD + self.spatial(self.spatial_norm(x_BTPD))
        if self.temporal is not None:
            x_BTPD = x_BTPD + self.temporal(self.temporal_norm(x_BTPD), past, start)
        return x_BTPD + self.ffw(self.ffw_norm(x_BTPD))


class STTransformer(nn.Module):
    """A stack of blocks with learned positions in the frame and none in time beyond what attention knows."""

    def __init__(self, config: StackConfig, grid: tuple[int, int], context: int) -> None:
        """Build a stack.

        Args:
            config: its sizes.
            grid: rows and columns of tokens of a frame.
            context: most frames of a window.
        """
        super().__init__()
        self.grid = grid
        self.positions = nn.Parameter(torch.randn(grid[0] * grid[1], config.d_model) * 0.02)
        self.blocks = nn.ModuleList(Block(config, context) for _ in range(config.layers))

    def forward(self, x_BTPD: Tensor, cache: FrameCache | None = None, keep: bool = False) -> Tensor:
        """Return the residual stream after all blocks, fp32, (B, T, P, D).

        Args:
            x_BTPD: embedded tokens; with a cache, of the frames after those that it holds.
            cache: the frames before them.
            keep: whether the cache holds these frames too afterwards; otherwise the next ones take their place.
        """
        # the positions are fp32, and so the whole residual stream is, whatever the products' dtype
        frames, x_BTPD = x_BTPD.shape[1], x_BTPD + self.positions
        if cache is None:
            for block in self.blocks:
                x_BTPD = block(x_BTPD, self.grid)
            return x_BTPD
        if not cache.blocks:
            cache.blocks = [BlockPast() for _ in self.blocks]
        for block, past in zip(self.blocks, cache.blocks, strict=True):
            x_BTPD = block(x_BTPD, self.grid, past, cache.length, keep)
        cache.length += frames * keep
        return x_BTPD
