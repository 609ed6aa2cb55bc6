"""A world that goes on frame by frame: what its networks made of the past is kept from one frame to the next.

A frame costs `maskgit_steps` passes of one frame through the dynamics, one more to keep it, and one frame of the
tokenizer's decoder. Both see as many frames at once as they were trained on. Once the world is longer, `past_window`
says what becomes of the past:

- `prefill`: the oldest frame leaves and the others are computed anew for each frame, the oldest of them without an
  action, as in training: what was made of them depended on frames that have left;
- `ring`: they stay what they were made, which costs no more than before. No training saw that; the evaluation
  measures what it does (`drift_...`).

Shapes: B worlds, T frames, H W C pixels, P tokens of a frame, L latent of an action.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.networks.frame_cache import FrameCache
from models.networks.tokenizer import stack_of
from models.world.networks import WorldNetworks
from models.world.sampling import sample_frame
from pipeline.config.evaluation import SamplingConfig
from pipeline.config.world import StackConfig


class Session:
    """Worlds that began together and are led frame by frame, each by its own actions."""

    def __init__(self, world: WorldNetworks, tokens_BTP: Tensor, rows_BTL: Tensor, sampling: SamplingConfig) -> None:
        """Begin after given frames; see `WorldModel.begin`.

        Args:
            world: its networks.
            tokens_BTP: frames so far, on the world's device.
            rows_BTL: rows of the LAM's codebook for the T - 1 transitions between them.
            sampling: how new frames are drawn, and what becomes of past ones.
        """
        self.world, self.sampling = world, sampling
        self.length = tokens_BTP.shape[1]
        """Frames so far."""
        self.tokens_BTP, self._rows_BTL = tokens_BTP, rows_BTL
        """The newest frames: as many as any of the networks sees at once."""
        self._history = max(world.context, world.tokenizer.config.window)
        self._ring = sampling.past_window == "ring"
        self._past: FrameCache | None = None
        self._decoder_past: FrameCache | None = None
        self._begins = self._decoded = 0
        self._picture_BHWC: Tensor | None = None
        self._forget()

    @torch.inference_mode()
    def step(self, latent_actions_B: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the tokens (B, P) of the frame that these actions lead to.

        Args:
            latent_actions_B: one of each world.
            generator: of the noise, on the world's device.
        """
        rows = torch.cat([self._rows_BTL, self.world.rows_of(latent_actions_B)[:, None]], 1)
        first, context = self._first, self.world.context
        start = max(0, self.length + 1 - context)
        if start and not self._ring:
            self._past = None
            led = rows[:, start - first :]
        elif self._past is None:
            self._past, self._begins = FrameCache(context, self._ring), start
            led = rows[:, start - first :]
        else:
            start = self._begins + self._past.length
            led = rows[:, start - 1 - first :]
        with self.world.compute.autocast():
            new_BP = sample_frame(
                self.world.dynamics,
                torch.cat([self.tokens_BTP[:, start - first :], self.tokens_BTP[:, -1:]], 1),
                led,
                sampling=self.sampling,
                generator=generator,
                cache=self._past,
            )
        # last, so that a step that fails can be taken again
        self.tokens_BTP, self._rows_BTL = torch.cat([self.tokens_BTP, new_BP[:, None]], 1), rows
        self.length += 1
        self._forget()
        return new_BP

    @torch.inference_mode()
    def pixels(self) -> Tensor:
        """Return the newest frame (B, H, W, 3), uint8."""
        if self._picture_BHWC is None or self._decoded < self.length:
            with self.world.compute.autocast():
                self._picture_BHWC = (self._newest_frame() * 255).round().to(torch.uint8)
            self._decoded = self.length
        return self._picture_BHWC

    def _newest_frame(self) -> Tensor:
        tokenizer = self.world.tokenizer
        window, tokens = tokenizer.config.window, self.tokens_BTP
        if self.length > window and not self._ring:
            self._decoder_past = None
            return tokenizer.decode(tokens[:, -window:])[:, -1]
        if self._decoder_past is None or self._decoded < self._first:
            self._decoder_past = FrameCache(window, self._ring)
            return tokenizer.decode(tokens[:, -window:], self._decoder_past)[:, -1]
        # frames that were never asked for are decoded first, each with those before it
        for frame_BP in tokens[:, self._decoded - self._first :].unbind(1):
            newest = tokenizer.decode(frame_BP[:, None], self._decoder_past)
        return newest[:, -1]

    @property
    def _first(self) -> int:
        """Number of the oldest frame whose tokens are still here."""
        return self.length - self.tokens_BTP.shape[1]

    def _forget(self) -> None:
        self.tokens_BTP = self.tokens_BTP[:, -self._history :]
        count = self.tokens_BTP.shape[1] - 1
        self._rows_BTL = self._rows_BTL[:, self._rows_BTL.shape[1] - count :]


def session_bytes(world: WorldNetworks) -> int:
    """Return what one world of a session keeps at most of past frames, in bytes (tokens are small beside it)."""
    config, tokenizer = world.dynamics.config, world.tokenizer
    tokens = world.num_tokens + (config.action_injection == "prepend")
    return _past_bytes(config.stack, tokens, config.context, world.compute.dtype) + _past_bytes(
        stack_of(tokenizer.config, "decoder"), world.num_tokens, tokenizer.config.window, world.compute.dtype
    )


def _past_bytes(stack: StackConfig, tokens: int, frames: int, dtype: torch.dtype) -> int:
    each = 0
    if stack.temporal_attention or stack.spacetime_attention:
        each += 2 * frames * stack.kv_heads * stack.head_dim * dtype.itemsize
    if stack.depthwise_conv == "causal":
        each += stack.d_model * torch.float32.itemsize  # the residual stream stays fp32
    return stack.layers * tokens * each
