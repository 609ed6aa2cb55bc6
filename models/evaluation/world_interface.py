"""The interface of a world model that can be measured: `models.world.world.WorldModel` has it, and so have test fakes.

Shapes: B videos, T frames, H W C pixels, P tokens of a frame, A latent actions, S generated frames, F features.
"""

from __future__ import annotations

from typing import Protocol

import torch

from pipeline.config.evaluation import SamplingConfig


class World(Protocol):
    """What a world model must offer to be measured."""

    @property
    def num_actions(self) -> int:
        """Number of latent actions."""

    @property
    def context(self) -> int:
        """Number of frames that the dynamics attends to at once."""

    @property
    def decoder_window(self) -> int:
        """Number of frames that the tokenizer's decoder sees at once, the newest included."""

    def encode(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the tokens (B, T, P) of a uint8 video."""

    def decode(self, tokens_BTP: torch.Tensor) -> torch.Tensor:
        """Return the uint8 video (B, T, H, W, C) of tokens."""

    def infer_actions(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the latent actions (B, T - 1) of a uint8 video."""

    def generate(
        self,
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the prompt's tokens followed by those of S new frames, (B, T + S, P).

        The first T - 1 actions lie between the prompt's frames; each of the others leads to a new frame.
        """

    def play(
        self,
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the new frames of `generate` (B, S, H, W, C), uint8, decoded one by one as a player sees them."""

    def watch(
        self,
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the frames of `play`, and the features of doubt (B, S, F) of each (`models.world.signals`)."""
