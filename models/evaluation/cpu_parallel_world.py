"""A world model whose batches are divided among CPU threads.

Shapes: B videos, T frames, H W C pixels, P tokens of a frame, A latent actions, S generated frames, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from models.evaluation.world_interface import World
from models.runtime.cpu_parallel import CpuParallel
from pipeline.config.evaluation import SamplingConfig

Result = TypeVar("Result")


class CpuParallelWorld:
    """A world that splits each batch into one part per thread and joins the results.

    Each part draws its noise from a generator of its own, seeded by the caller's seed plus the index of its first
    video. The same seed and the same number of threads therefore give the same frames.
    """

    def __init__(self, world: World, parallel: CpuParallel) -> None:
        self.world, self.parallel = world, parallel

    @property
    def num_actions(self) -> int:
        """Number of latent actions."""
        return self.world.num_actions

    @property
    def context(self) -> int:
        """Number of frames that the dynamics attends to at once."""
        return self.world.context

    @property
    def decoder_window(self) -> int:
        """Number of frames that the tokenizer's decoder sees at once."""
        return self.world.decoder_window

    def encode(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the tokens (B, T, P) of a uint8 video."""
        return self._map(self.world.encode, video_BTHWC)

    def decode(self, tokens_BTP: torch.Tensor) -> torch.Tensor:
        """Return the uint8 video (B, T, H, W, C) of tokens."""
        return self._map(self.world.decode, tokens_BTP)

    def infer_actions(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the latent actions (B, T - 1) of a uint8 video."""
        return self._map(self.world.infer_actions, video_BTHWC)

    def generate(
        self,
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the tokens (B, T + S, P) of the prompt and of the frames that follow it."""
        return self._map_seeded(self.world.generate, prompt_tokens_BTP, latent_actions_BA, sampling, generator)

    def play(
        self,
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """Return the new frames (B, S, H, W, C), uint8."""
        return self._map_seeded(self.world.play, prompt_tokens_BTP, latent_actions_BA, sampling, generator)

    def watch(
        self,
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        *,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the new frames (B, S, H, W, C), uint8, and the features of doubt (B, S, F) of each."""
        found = self._parts_seeded(self.world.watch, prompt_tokens_BTP, latent_actions_BA, sampling, generator)
        frames, features = zip(*found, strict=True)
        return torch.cat(frames), torch.cat(features)

    def _map_seeded(
        self,
        roll_out: Callable[..., torch.Tensor],
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> torch.Tensor:
        return torch.cat(self._parts_seeded(roll_out, prompt_tokens_BTP, latent_actions_BA, sampling, generator))

    def _parts_seeded(
        self,
        roll_out: Callable[..., Result],
        prompt_tokens_BTP: torch.Tensor,
        latent_actions_BA: torch.Tensor,
        sampling: SamplingConfig,
        generator: torch.Generator,
    ) -> list[Result]:
        seed = generator.initial_seed()

        def work(rows: torch.Tensor) -> Result:
            own = torch.Generator(generator.device).manual_seed(seed + int(rows[0]))
            return roll_out(prompt_tokens_BTP[rows], latent_actions_BA[rows], sampling=sampling, generator=own)

        return self._parts(work, torch.arange(len(prompt_tokens_BTP)))

    def _map(self, work: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
        return torch.cat(self._parts(work, batch))

    def _parts(self, work: Callable[[torch.Tensor], Result], batch: torch.Tensor) -> list[Result]:
        def without_gradients(part: torch.Tensor) -> Result:
            with torch.no_grad():  # each thread has a setting of its own
                return work(part)

        return self.parallel.map(
            without_gradients, [part for part in batch.tensor_split(self.parallel.count) if len(part)]
        )
