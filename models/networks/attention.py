"""Attention kernels and the choice among them, rotary positions, and masks.

Three kernels give the same numbers up to rounding; `kernel_for` chooses one:

- `fused`: torch's scaled_dot_product_attention (flash where the device has it);
- `plain`: two products and a softmax;
- `packed`: the fused kernel over several short sequences, concatenated and masked from each other. A GPU computes tiles
  of 128 rows, and a sequence of 16 frames alone leaves most of a tile empty.

A GPU's fused kernel is never cuDNN's (`avoid_cudnn`).

Shapes: N sequences, H heads, G key and value heads (H is a multiple of it), Q queries, K keys, C size of a head.
"""

from __future__ import annotations

import functools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Kernel = Literal["fused", "plain", "packed"]

_TILE = 128
_SHORT = 32
_CACHE_TAG = "attention-without-cudnn"


def avoid_cudnn() -> None:
    """Keep torch from attending by cuDNN in this process, and from reusing compiled code that does.

    Its backward pass returns NaN for finite queries in bf16 where a row's scores are all far below zero and the
    sequence is 64 longer than a multiple of 128 (pytorch issue 196678): on an H100 with torch 2.11 a LAM of 8 x 8
    patches met it at step 494, and with flash attention it did not (measured). torch chooses it by itself on an H100.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)
    # the compiler's cache on disk does not ask which kernels are enabled, so it has code from before (seen)
    tag = torch.compiler.config.cache_key_tag
    if _CACHE_TAG not in tag:
        torch.compiler.config.cache_key_tag = tag + _CACHE_TAG


def kernel_for(device: torch.device, dtype: torch.dtype, num_queries: int, num_keys: int) -> Kernel:
    """Return the fastest kernel for these rows.

    On a CPU in bf16 the fused kernel's backward pass takes 9 times as long as the plain one at 16 keys and twice as
    long at 256, while in fp32 the plain one takes twice as long at 256 (measured on one core with avx512_bf16). On a
    GPU a single query fills no tile, and where heads share keys the plain products need no copy of them.
    """
    if device.type == "cpu":
        return "plain" if dtype == torch.bfloat16 else "fused"
    if num_queries == 1:
        return "plain"
    return "packed" if num_queries == num_keys <= _SHORT else "fused"


def attend(
    q_NHQC: Tensor,
    k_NGKC: Tensor,
    v_NGKC: Tensor,
    bias: Tensor | None = None,
    *,
    causal: bool = False,
    kernel: Kernel | None = None,
) -> Tensor:
    """Return softmax(q k' / sqrt(C) + bias) v, (N, H, Q, C).

    Args:
        q_NHQC: queries.
        k_NGKC: keys; each of the G heads serves H / G heads of queries.
        v_NGKC: values.
        bias: added to the scores, broadcast to (N, H, Q, K).
        causal: query i sees keys 0..i only (as many queries as keys).
        kernel: which one; `kernel_for` chooses by default.
    """
    num_queries, num_keys = q_NHQC.shape[-2], k_NGKC.shape[-2]
    kernel = kernel or kernel_for(q_NHQC.device, q_NHQC.dtype, num_queries, num_keys)
    if kernel == "packed" and bias is None:
        return _packed(q_NHQC, k_NGKC, v_NGKC, causal)
    if kernel == "plain":
        if causal:
            past = causal_mask(num_keys, q_NHQC.device)
            bias = past if bias is None else bias + past
        return _plain(q_NHQC, k_NGKC, v_NGKC, bias)
    if causal and bias is not None:
        bias, causal = bias + causal_mask(num_keys, q_NHQC.device), False
    mask = None if bias is None else bias.to(q_NHQC.dtype)
    grouped = q_NHQC.shape[1] != k_NGKC.shape[1]
    return F.scaled_dot_product_attention(q_NHQC, k_NGKC, v_NGKC, mask, is_causal=causal, enable_gqa=grouped)


def _plain(q_NHQC: Tensor, k_NGKC: Tensor, v_NGKC: Tensor, bias: Tensor | None) -> Tensor:
    n, heads, queries, c = q_NHQC.shape
    groups, keys = k_NGKC.shape[1:3]
    # heads that share their keys are rows of one product
    q_NGRC = q_NHQC.reshape(n, groups, heads // groups * queries, c)
    scores = (q_NGRC * c**-0.5) @ k_NGKC.transpose(-1, -2)
    if bias is not None:
        scores = (scores.view(n, heads, queries, keys) + bias.to(scores.dtype)).view(n, groups, -1, keys)
    return (scores.softmax(-1) @ v_NGKC).view(n, heads, queries, c)


def _packed(q_NHSC: Tensor, k_NGSC: Tensor, v_NGSC: Tensor, causal: bool) -> Tensor:
    n, s = q_NHSC.shape[0], q_NHSC.shape[2]
    together = next(size for size in range(min(n, max(1, _TILE // s)), 0, -1) if n % size == 0)

    def laid(x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, together)).transpose(1, 2).flatten(2, 3)

    mask = _block_diagonal(together, s, causal, q_NHSC.device).to(q_NHSC.dtype)
    # a GPU's fused kernels take either a mask or heads that share keys
    groups = q_NHSC.shape[1] // k_NGSC.shape[1]
    k_NHSC, v_NHSC = (x.repeat_interleave(groups, 1) if groups > 1 else x for x in (k_NGSC, v_NGSC))
    y = F.scaled_dot_product_attention(laid(q_NHSC), laid(k_NHSC), laid(v_NHSC), mask)
    return y.unflatten(2, (together, s)).transpose(1, 2).flatten(0, 1)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)
def causal_mask(size: int, device: torch.device) -> Tensor:
    """Return the causal mask (size, size), fp32: 0 where key <= query, -inf elsewhere."""
    return torch.full((size, size), float("-inf"), device=device).triu(1)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
def block_causal_mask(frames: int, tokens: int, device: torch.device) -> Tensor:
    """Return the mask (frames * tokens, frames * tokens), fp32, that is -inf at the tokens of later frames."""
    return causal_mask(frames, device).repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)


@functools.lru_cache(maxsize=8)
@torch.inference_mode(False)
def _block_diagonal(blocks: int, size: int, causal: bool, device: torch.device) -> Tensor:
    inside = causal_mask(size, device) if causal else torch.zeros(size, size, device=device)
    mask = torch.full((blocks, size, blocks, size), float("-inf"), device=device)
    for block in range(blocks):
        mask[block, :, block] = inside
    return mask.view(blocks * size, blocks * size)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)
def rotary_table(places: int, size: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the cosines and the signed sines (places, size) of the angles of places 0.. for heads of `size`.

    Angles are fp32 at least, whatever the dtype of the products: in bf16 they are wrong from the third frame on.
    """
    half = size // 2
    place = torch.arange(places, device=device, dtype=dtype)
    speed = 10_000.0 ** (-torch.arange(half, device=device, dtype=dtype) / half)
    angle = place[:, None] * speed
    return torch.cat([angle.cos()] * 2, -1), torch.cat([-angle.sin(), angle.sin()], -1)


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Return queries or keys rotated by the angles of their positions: their products depend on the distance alone.

    Args:
        x: (..., C).
        cosines: of `rotary_table`, broadcast to `x`.
        sines: likewise.
    """
    turned = torch.addcmul(x * cosines, x.roll(x.shape[-1] // 2, -1), sines)
    return turned.to(x.dtype)


def rotary_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the angles for queries of a dtype: fp32, or fp64 for fp64."""
    return torch.float64 if dtype == torch.float64 else torch.float32
