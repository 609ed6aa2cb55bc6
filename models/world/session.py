"""Roll out a world frame by frame, with the states of past frames cached.

A new frame costs `maskgit_steps` passes of one frame through the dynamics, one more pass to cache its states, and one
frame of the tokenizer's decoder. Both networks attend to as many frames as in training. Once the rollout is longer
than that, `past_window` decides:

- `prefill`: the oldest frame is evicted, and all frames that remain are recomputed for each new frame, the oldest
  without an action, as in training. The cached states cannot be reused: they still depend on the evicted frame.
- `ring`: the cached states are reused, although they still depend on evicted frames, so a frame costs no more than
  before. The networks were not trained on such states; the evaluation measures the effect (`drift_...`).

Shapes: B worlds, T frames, H W C pixels, P tokens of a frame, L latent of an action.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.networks.frame_cache import FrameCache
from models.world.draw_record import DrawRecord
from models.world.networks import WorldNetworks
from models.world.sampling import sample_frame
from pipeline.config.evaluation import SamplingConfig
from pipeline.config.world import StackConfig
from pipeline.training_size.parameters import stack_of


class Session:
    """A batch of rollouts of the same length, each with its own actions."""

    def __init__(self, world: WorldNetworks, tokens_BTP: Tensor, rows_BTL: Tensor, sampling: SamplingConfig) -> None:
        """Start after a prompt; see `WorldModel.begin`.

        Args:
            world: the networks.
            tokens_BTP: tokens of the prompt, on the world's device.
            rows_BTL: codebook rows of the T - 1 latent actions between the frames of the prompt.
            sampling: how new frames are sampled, and how frames past the window are treated.
        """
        self.world, self.sampling = world, sampling
        self.length = tokens_BTP.shape[1]
        """Number of frames, those of the prompt included."""
        self.tokens_BTP, self._rows_BTL = tokens_BTP, rows_BTL
        """Tokens and actions of the newest frames, as many as the longer of the two windows."""
        self.record: DrawRecord | None = None
        """What the sampler knew when it drew the newest frame; None before a frame is drawn."""
        self._history = max(world.context, world.tokenizer.config.window)
        self._ring = sampling.past_window == "ring"
        self._past: FrameCache | None = None
        self._decoder_past: FrameCache | None = None
        self._begins = self._decoded = 0
        self._picture_BHWC: Tensor | None = None
        self._drop_old_frames()

    @torch.inference_mode()
    def step(self, latent_actions_B: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Generate the next frame, and return its tokens (B, P).

        Args:
            latent_actions_B: one latent action per rollout.
            generator: random generator of the noise, on the world's device.
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
        record = DrawRecord(self.world.tokenizer.quantizer.rows())
        with self.world.compute.autocast():
            new_BP = sample_frame(
                self.world.dynamics,
                torch.cat([self.tokens_BTP[:, start - first :], self.tokens_BTP[:, -1:]], 1),
                led,
                sampling=self.sampling,
                generator=generator,
                cache=self._past,
                record=record,
            )
        # state changes last, so that a step that failed can be repeated
        self.tokens_BTP, self._rows_BTL = torch.cat([self.tokens_BTP, new_BP[:, None]], 1), rows
        self.length, self.record = self.length + 1, record
        self._drop_old_frames()
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
        # first decode frames that were skipped: the cache needs every frame
        for frame_BP in tokens[:, self._decoded - self._first :].unbind(1):
            newest = tokenizer.decode(frame_BP[:, None], self._decoder_past)
        return newest[:, -1]

    @property
    def _first(self) -> int:
        """Index of the oldest frame whose tokens are kept."""
        return self.length - self.tokens_BTP.shape[1]

    def _drop_old_frames(self) -> None:
        self.tokens_BTP = self.tokens_BTP[:, -self._history :]
        count = self.tokens_BTP.shape[1] - 1
        self._rows_BTL = self._rows_BTL[:, self._rows_BTL.shape[1] - count :]


def session_bytes(world: WorldNetworks) -> int:
    """Return the size in bytes of one rollout's full caches; the tokens, which are small, are not counted."""
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
