"""Past frames, kept block by block: a later frame is computed alone, with the same result.

Time is causal, so what a past frame became does not depend on the frames after it. That holds for as long as the window
begins with the same frame. A ring goes on beyond: a new frame takes the oldest one's place. What the others then know
of the one that left is something that training never showed them, so a ring drifts, where computing the window anew
for every frame does not.

All shapes and addresses stay the same from the first frame on, and a frame's place is a tensor: one graph serves every
frame.

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
    """Where new frames stand in time and in the cache."""

    cosines_TC: Tensor
    """Of the angles of their places in time, for rotary positions."""
    sines_TC: Tensor
    """Likewise."""
    slots_T: Tensor
    """Where the cache holds them, int64."""
    lags_TW: Tensor
    """How many frames each slot's frame lies before each new one, int64; 0 where it does not."""
    hidden_TW: Tensor
    """0 where a new frame sees a slot, -inf where the slot is empty or its frame later."""


@dataclass
class BlockPast:
    """What one block keeps of past frames."""

    room: int
    """W."""
    turned: bool = False
    """Whether keys are turned by the angles of their places."""
    keys: Tensor | None = None
    """Turned keys (N, G, W, S, C): S is 1 where a sequence is a position, P where it is a window."""
    values: Tensor | None = None
    before_BPD: Tensor | None = None
    """The block's input at the last frame that was kept, for a convolution that looks one frame back."""

    def join(self, k_NGSC: Tensor, v_NGSC: Tensor, places: Places, *, turned: bool) -> tuple[Tensor, Tensor]:
        """Write new frames' keys (`turned` or not) and values (N, G, T or T * P, C) and return those of all slots."""
        self.turned = turned
        new_k, new_v = (x.unflatten(2, (len(places.slots_T), -1)) for x in (k_NGSC, v_NGSC))
        if self.keys is None or self.values is None:
            n, heads, _, tokens, size = new_k.shape
            # zeros: a slot without a frame gets no weight, and no weight times anything finite is nothing
            self.keys, self.values = (x.new_zeros(n, heads, self.room, tokens, size) for x in (new_k, new_v))
        self.keys.index_copy_(2, places.slots_T, new_k)
        self.values.index_copy_(2, places.slots_T, new_v)
        return self.keys.flatten(2, 3), self.values.flatten(2, 3)

    def input(self, x_BTPD: Tensor, keep: bool) -> Tensor:
        """Return the block's input at the frame before (zeros before the first), and hold the last one if `keep`."""
        if self.before_BPD is None:
            self.before_BPD = torch.zeros_like(x_BTPD[:, -1])
        if not keep:
            return self.before_BPD
        before = self.before_BPD.clone()
        self.before_BPD.copy_(x_BTPD[:, -1].detach())
        return before


@dataclass
class FrameCache:
    """The past frames of one stack."""

    context: int
    """Frames that a new one sees at most, itself included."""
    ring: bool = False
    """Whether a frame beyond the context takes the oldest one's place; otherwise there may be none."""
    length: int = 0
    """Frames that were kept, those that have left a ring included."""
    blocks: list[BlockPast] = field(default_factory=list)
    _place: Tensor | None = None
    _rebased: int = 0

    @property
    def full(self) -> bool:
        """Whether the next frame would push out the oldest."""
        return self.length >= self.context

    def blocks_for(self, layers: int) -> list[BlockPast]:
        """Return what each of the stack's blocks keeps."""
        if not self.blocks:
            self.blocks = [BlockPast(self.context) for _ in range(layers)]
        return self.blocks

    def places(self, frames: int, head_dim: int, x: Tensor) -> Places:
        """Return the places of the next frames.

        Args:
            frames: how many.
            head_dim: C of the stack.
            x: any tensor of the network: tells the device and the dtype.

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
        """Hold the frames that were last computed."""
        assert self._place is not None
        self.length += frames
        self._place += frames
        if self.length - self._rebased >= 2 * self.context:
            self._rebase()

    def _rebase(self) -> None:
        """Turn all keys back by as many places as there are slots, so that angles stay small however long a world."""
        assert self._place is not None
        self._rebased += self.context
        self._place -= self.context
        for block in self.blocks:
            if block.keys is not None and block.turned:
                dtype, size = rotary_dtype(block.keys.dtype), block.keys.shape[-1]
                cosines, sines = rotary_table(2 * self.context, size, block.keys.device, dtype)
                block.keys.copy_(rotate(block.keys, cosines[self.context], -sines[self.context]))
