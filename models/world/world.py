"""A trained world: pixels to tokens, tokens to pixels, transitions to latent actions, actions to new frames.

    world = load_world(store)                        # the newest published world model
    tokens_BTP = world.encode(video_BTHWC)                # uint8 in
    actions_BT = world.infer_actions(video_BTHWC)         # T-1 transitions
    tokens_BTP = world.generate(tokens_BTP[:, :1], actions_BT, sampling=SamplingConfig(), generator=noise)
    video_BTHWC = world.decode(tokens_BTP)                # uint8 out

a_t is the change from frame t to frame t + 1. Videos and token sequences may be longer than the networks' windows:
each frame is then seen together with as many frames before it as a window holds.

Shapes: B videos, T frames, H W C pixels, P tokens of a frame, A latent actions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from models.world.networks import WorldNetworks
from models.world.session import Session, session_bytes
from pipeline.config.evaluation import SamplingConfig

_FRAMES_AT_ONCE = 320


class WorldModel(WorldNetworks):
    """Tokenizer, latent action model and dynamics that were trained together, ready to be asked."""

    @property
    def session_bytes(self) -> int:
        """Bytes that one world of a session keeps at most."""
        return session_bytes(self)

    @torch.inference_mode()
    def encode(self, video_BTHWC: Tensor) -> Tensor:
        """Return the tokens (B, T, P), int64, of a uint8 video (or float in [0, 1])."""
        return self._sliding(self.tokenizer.encode, video_BTHWC, self.tokenizer.config.window)

    @torch.inference_mode()
    def decode(self, tokens_BTP: Tensor) -> Tensor:
        """Return the video (B, T, H, W, 3), uint8, of tokens."""

        def pixels(tokens: Tensor) -> Tensor:
            return (self.tokenizer.decode(tokens) * 255).round().to(torch.uint8)

        return self._sliding(pixels, tokens_BTP, self.tokenizer.config.window)

    @torch.inference_mode()
    def infer_actions(self, video_BTHWC: Tensor) -> Tensor:
        """Return the latent actions (B, T-1), int64, of a uint8 video: entry t is the change from frame t to t + 1."""
        frames = self.encode(video_BTHWC) if self.latent_actions.reads_tokens else video_BTHWC
        return self._sliding(self.latent_actions.encode, frames, self.latent_actions.window, lost=1)

    @torch.inference_mode()
    def begin(self, prompt_tokens_BTP: Tensor, latent_actions_BA: Tensor, *, sampling: SamplingConfig) -> Session:
        """Return a session that goes on from a prompt, frame by frame.

        Args:
            prompt_tokens_BTP: T0 >= 1 frames.
            latent_actions_BA: the T0 - 1 latent actions between them.
            sampling: how new frames are drawn, and what becomes of past ones.
        """
        tokens = prompt_tokens_BTP.to(self.compute.device)
        if latent_actions_BA.shape[1] != tokens.shape[1] - 1:
            raise ValueError(f"{latent_actions_BA.shape[1]} latent actions do not lie between {tokens.shape[1]} frames")
        return Session(self, tokens, self.rows_of(latent_actions_BA), sampling)

    def generate(
        self,
        prompt_tokens_BTP: Tensor,
        latent_actions_BA: Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the prompt's tokens followed by new frames' tokens, (B, A + 1, P).

        Args:
            prompt_tokens_BTP: T0 >= 1 frames.
            latent_actions_BA: A >= T0 latent actions, of all transitions from frame 1 on: the first T0 - 1 lie
                inside the prompt, each further one leads to a new frame.
            sampling: how new frames are drawn.
            generator: of the noise, on this world's device; the same seed gives the same frames.
        """
        frames = [tokens for _, tokens in self._frames(prompt_tokens_BTP, latent_actions_BA, sampling, generator)]
        return torch.cat([prompt_tokens_BTP.to(self.compute.device), torch.stack(frames, 1)], 1)

    def play(
        self,
        prompt_tokens_BTP: Tensor,
        latent_actions_BA: Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the new frames of `generate` (B, S, H, W, 3), uint8, decoded one by one as a player sees them."""
        frames = self._frames(prompt_tokens_BTP, latent_actions_BA, sampling, generator)
        return torch.stack([session.pixels() for session, _ in frames], 1)

    def _frames(
        self,
        prompt_tokens_BTP: Tensor,
        latent_actions_BA: Tensor,
        sampling: SamplingConfig,
        generator: torch.Generator | None,
    ) -> Iterator[tuple[Session, Tensor]]:
        given = prompt_tokens_BTP.shape[1]
        if latent_actions_BA.shape[1] < given:
            raise ValueError(f"{latent_actions_BA.shape[1]} latent actions lead to no new frame after {given}")
        session = self.begin(prompt_tokens_BTP, latent_actions_BA[:, : given - 1], sampling=sampling)
        for actions_B in latent_actions_BA[:, given - 1 :].unbind(1):
            yield session, session.step(actions_B, generator)

    def _sliding(self, function: Callable[[Tensor], Tensor], x_BT: Tensor, window: int, lost: int = 0) -> Tensor:
        """Return a causal function of every frame and the `window - 1` frames before it.

        The first window is one call; each later frame is the last of a window of its own. `lost` is by how many
        frames the function's result is shorter than its window.
        """
        x_BT = x_BT.to(self.compute.device)
        total = x_BT.shape[1]
        with self.compute.autocast():
            parts = [function(x_BT[:, :window])]
            for start in range(1, total - window + 1, chunk := max(1, _FRAMES_AT_ONCE // (window * len(x_BT)))):
                count = min(chunk, total - window + 1 - start)
                windows = torch.stack([x_BT[:, start + i : start + i + window] for i in range(count)], 1)
                result = function(windows.flatten(0, 1))[:, window - 1 - lost]
                parts.append(result.unflatten(0, (len(x_BT), count)))
        return torch.cat(parts, 1)
