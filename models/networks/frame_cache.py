"""A key-value cache of past frames for each block, with which a later frame is computed alone, to the same result.

Attention in time is causal, so the states of a past frame do not depend on later frames, as long as the window begins
with the same frame. A ring goes on beyond that: a new frame takes the slot of the oldest one. The cached states still
depend on the evicted frame, which never happens in training, so a ring drifts; recomputing the window for every frame
does not.

All shapes and addresses stay the same from the first frame on, and a frame's position is a tensor, so that one
compiled graph serves every frame.

Shapes: N sequences, T new frames, W frames that there is room for, G key and value heads, C head size, B windows, P
tokens of a frame, D width.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.networks.attention import rotary_dtype, rotary_table, rotate


@dataclass(frozen=True, eq=False)
class Places:
    """The positions of new frames in time and in the cache."""

    cosines_TC: Tensor
    """Cosines of the angles of their positions in time."""
    sines_TC: Tensor
    """Signed sines of the same angles."""
    slots_T: Tensor
    """Their slots in the cache, int64."""
    lags_TW: Tensor
    """By how many frames each slot's frame precedes each new one, int64; 0 where it does not."""
    hidden_TW: Tensor
    """Mask: 0 where a new frame attends to a slot, -inf where the slot is empty or holds a later frame."""


@dataclass
class BlockPast:
    """The cached states of past frames in one block."""

    room: int
    """W."""
    turned: bool = False
    """Whether keys are rotated by the angles of their positions."""
    keys: Tensor | None = None
    """Keys (N, G, W, S, C): S is 1 where a sequence is one token's, P where it is a window's."""
    values: Tensor | None = None
    before_BPD: Tensor | None = None
    """The block's input at the last frame that was kept, for a convolution that looks one frame back."""

    def join(self, k_NGSC: Tensor, v_NGSC: Tensor, places: Places, *, turned: bool) -> tuple[Tensor, Tensor]:
        """Write the keys (`turned`: rotated) and values (N, G, T or T * P, C) of new frames; return all slots'."""
        self.turned = turned
        new_k, new_v = (x.unflatten(2, (len(places.slots_T), -1)) for x in (k_NGSC, v_NGSC))
        if self.keys is None or self.values is None:
            n, heads, _, tokens, size = new_k.shape
            # zeros, not empty memory: a masked slot has weight 0, and 0 times inf would be nan
            self.keys, self.values = (x.new_zeros(n, heads, self.room, tokens, size) for x in (new_k, new_v))
        self.keys.index_copy_(2, places.slots_T, new_k)
        self.values.index_copy_(2, places.slots_T, new_v)
        return self.keys.flatten(2, 3), self.values.flatten(2, 3)

    def input(self, x_BTPD: Tensor, keep: bool) -> Tensor:
        """Return the block's input at the frame before (zeros before the first); cache the last one if `keep`."""
        if self.before_BPD is None:
            self.before_BPD = torch.zeros_like(x_BTPD[:, -1])
        if not keep:
            return self.before_BPD
        before = self.before_BPD.clone()
        self.before_BPD.copy_(x_BTPD[:, -1].detach())
        return before


@dataclass
class FrameCache:
    """The cache of one stack."""

    context: int
    """Most frames that a new one attends to, itself included."""
    ring: bool = False
    """Whether a frame beyond the context takes the slot of the oldest one; otherwise it is an error."""
    length: int = 0
    """Frames cached so far, evicted ones included."""
    blocks: list[BlockPast] = field(default_factory=list)
    _place: Tensor | None = None
    _rebased: int = 0

    @property
    def full(self) -> bool:
        """Whether the next frame evicts the oldest."""
        return self.length >= self.context

    def blocks_for(self, layers: int) -> list[BlockPast]:
        """Return the cache of each block, made at the first call."""
        if not self.blocks:
            self.blocks = [BlockPast(self.context) for _ in range(layers)]
        return self.blocks

    def places(self, frames: int, head_dim: int, x: Tensor) -> Places:
        """Return the places of the next frames.

        Args:
            frames: how many.
            head_dim: C of the stack.
            x: any tensor of the network; its device and dtype are used.

        Raises:
            ValueError: they exceed the context.
        """
        if self.length + frames > self.context and not (self.ring and frames == 1):
            raise ValueError(f"{self.length} kept and {frames} new frames exceed the context of {self.context}")
        if self._place is None:
            self._place = torch.zeros((), dtype=torch.int64, device=x.device)
        new = torch.arange(frames, device=x.device)
        place_T, last = self._place + new, self._place + (frames - 1)
        slot_W = torch.arange(self.context, device=x.device)
        # the latest place, up to the last new one, that falls into a slot; below 0 there was none yet
        held_W = last - (last - slot_W) % self.context
        lags_TW = place_T[:, None] - held_W
        hidden_TW = torch.where((held_W >= 0) & (lags_TW >= 0), 0.0, float("-inf"))
        cosines, sines = rotary_table(2 * self.context, head_dim, x.device, rotary_dtype(x.dtype))
        return Places(
            cosines[place_T],
            sines[place_T],
            slots_T=place_T % self.context,
            lags_TW=lags_TW.clamp(0, self.context - 1),
            hidden_TW=hidden_TW,
        )

    def advance(self, frames: int) -> None:
        """Count the frames that were last computed as cached."""
        assert self._place is not None
        self.length += frames
        self._place += frames
        if self.length - self._rebased >= 2 * self.context:
            self._rebase()

    def _rebase(self) -> None:
        """Rotate all keys back by as many positions as there are slots: angles stay small in any rollout."""
        assert self._place is not None
        self._rebased += self.context
        self._place -= self.context
        for block in self.blocks:
            if block.keys is not None and block.turned:
                dtype, size = rotary_dtype(block.keys.dtype), block.keys.shape[-1]
                cosines, sines = rotary_table(2 * self.context, size, block.keys.device, dtype)
                block.keys.copy_(rotate(block.keys, cosines[self.context], -sines[self.context]))
