"""Steps of the latent action model (LAM): alone and without quantization at first, then beside the dynamics.

    steps = LamSteps(lam, config, optimizer, parallel, compute, batch=12, alone_steps=800, noise=noise, accumulate=1)
    metrics = steps.take_alone(frames, step)          # without quantization
    rows_BTL, metrics = steps.take(frames, step)      # with it

Frames are what the LAM reads: pixels (B, T, H, W, 3), or tokens (B, T, P).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from models.networks.latent_actions import LatentActionModel
from models.runtime.compute import Compute
from models.runtime.cpu_parallel import CpuParallel
from models.training.code_metrics import code_metrics, lam_quality
from models.training.optimizer import Optimizer
from models.training.tokenizer_training import samples_of
from pipeline.config.world import LatentActionConfig

# of the steps without quantization: full noise from the first step on keeps a LAM from learning directions (measured)
_NOISE_RISES = 0.6


class _Part(NamedTuple):
    """What a step keeps of a part of its batch."""

    codes: Tensor
    latents_BTL: Tensor
    quality: float


class LamSteps:
    """Takes the steps of a LAM on the windows of this rank."""

    def __init__(
        self,
        lam: LatentActionModel,
        config: LatentActionConfig,
        optimizer: Optimizer,
        parallel: CpuParallel,
        compute: Compute,
        *,
        batch: int,
        alone_steps: int,
        noise: Callable[[int], torch.Generator],
        accumulate: int,
    ) -> None:
        """Take what learns, and how.

        Args:
            lam: learns.
            config: its settings.
            optimizer: moves it.
            parallel: divides batches among threads.
            compute: where it runs.
            batch: windows of a step, over all ranks.
            alone_steps: steps without quantization.
            noise: returns the generator of a number, of which each step has two; the steps draw from the second.
            accumulate: micro-batches of a step.
        """
        self._lam, self._config, self._optimizer = lam, config, optimizer
        self._parallel, self._compute, self._batch = parallel, compute, batch
        self._alone_steps, self._noise, self._accumulate = alone_steps, noise, accumulate

    def take(self, frames: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:
        """Take a step with quantization; return the codes' rows (B, T-1, L) from before it, and metrics."""
        lam, ranks = self._lam, self._compute.ranks
        loss, parts = self._parallel.backward(lam, self._loss, frames, self._accumulate, of=self._batch)
        codes = torch.cat([part.codes for part in parts])
        rows = lam.quantizer.lookup(codes).detach().clone()
        # at the full learning rate the codes collapsed in 2 of 4 runs (measured)
        norm = self._optimizer.apply(step, self._config.joint_lr_scale, loss)
        latents = torch.cat([part.latents_BTL for part in parts])
        lam.quantizer.update(latents, codes, self._noise(2 * step + 1), samples_of(ranks, codes, self._batch))
        return rows, {
            "lam_loss": float(loss),
            lam.metric: ranks.total(sum(part.quality * len(part.codes) for part in parts)) / self._batch,
            **self._pace(norm),
            **self.code_metrics(codes),
        }

    def take_alone(self, frames: Tensor, step: int) -> dict[str, float]:
        """Take a step without quantization; return metrics."""
        noise = self._latent_noise(frames, step)

        def loss_of(rows: Tensor) -> tuple[Tensor, tuple[float, int]]:
            return self._continuous_loss(frames[rows], None if noise is None else noise[rows])

        rows = torch.arange(len(frames), device=frames.device)
        loss, parts = self._parallel.backward(self._lam, loss_of, rows, self._accumulate, of=self._batch)
        norm = self._optimizer.apply(step, loss=loss)
        quality = self._compute.ranks.total(sum(quality * count for quality, count in parts)) / self._batch
        return {"lam_loss": float(loss), self._lam.metric: quality, **self._pace(norm)}

    def code_metrics(self, codes: Tensor) -> dict[str, float]:
        """Return the metrics of the codes (B, T-1) of all ranks."""
        return code_metrics(self._compute.ranks.gather(codes, self._batch), self._config.num_actions)

    def _loss(self, frames: Tensor) -> tuple[Tensor, _Part]:
        with self._compute.autocast():
            loss, result = self._lam.loss(frames, False)
        assert result.quantized is not None
        quality = lam_quality(result.next_frames.detach(), frames[:, 1:])
        return loss, _Part(result.quantized.codes, result.latents_BTL.detach(), quality)

    def _continuous_loss(self, frames: Tensor, noise_BTL: Tensor | None) -> tuple[Tensor, tuple[float, int]]:
        """Return the loss, and the quality of the prediction with the number of windows."""
        with self._compute.autocast():
            loss, result = self._lam.loss(frames, True, noise_BTL)
        return loss, (lam_quality(result.next_frames.detach(), frames[:, 1:]), len(frames))

    def _latent_noise(self, frames: Tensor, step: int) -> Tensor | None:
        """Return the noise on the latents of windows, drawn for the whole batch, whatever its parts."""
        scale = self._config.latent_noise * min(1.0, step / (_NOISE_RISES * self._alone_steps))
        if not self._config.latent_noise:
            return None
        size = (self._batch, frames.shape[1] - 1, self._config.latent_dim)
        noise = scale * torch.randn(size, generator=self._noise(2 * step + 1))
        return noise[self._compute.ranks.lanes(self._batch)].to(self._compute.device)

    def _pace(self, norm: float) -> dict[str, float]:
        return {"lam_gradient_norm": norm, "lam_learning_rate": self._optimizer.learning_rate}
