"""Functions of the windows of a step through which no gradient goes: frozen networks, in micro-batches and pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.runtime.compute import Compute
from models.runtime.cpu_parallel import CpuParallel
from models.training.token_cache import TokenSource
from pipeline.shards.loader.loader import Place


@dataclass(frozen=True)
class WithoutGradients:
    """How such functions are computed."""

    compute: Compute
    parallel: CpuParallel
    accumulate: int
    """Parts of a batch that are computed one after another."""

    def map(self, function: Callable[[Tensor], Tensor], batch: Tensor, parts: int = 0) -> Tensor:
        """Return a function of a batch (B, ...) in `parts` parts, or as many as there are micro-batches."""
        pieces, result = self.parallel.pieces(batch, parts or self.accumulate), self._of(function)
        return torch.cat([found for part in pieces for found in self.parallel.map(result, part)])

    def kept(
        self, cache: TokenSource | None, function: Callable[[Tensor], Tensor], frames: Tensor, places: Sequence[Place]
    ) -> Tensor:
        """Return a function of windows (B, T, ...) that lie at places, from a cache where there is one."""
        if cache is None:
            return self.map(function, frames)
        return cache.of(frames, places, self._of(function), self.parallel)

    def _of(self, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        @torch.no_grad()
        def result(piece: Tensor) -> Tensor:
            with self.compute.autocast():
                return function(piece)

        return result
