"""The first codes of a LAM that has learned without quantization."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

import torch
from torch import Tensor

from models.networks.latent_actions import LatentActionModel, initialize_codes
from models.runtime.compute import Compute
from models.runtime.cpu_parallel import CpuParallel

_JUDGED = 1_200
"""Transitions on which tries are compared: their frames are held until the choice is made."""


@torch.no_grad()
def initialize_first_codes(
    lam: LatentActionModel,
    batches: Iterable[Tensor],
    compute: Compute,
    parallel: CpuParallel,
    generator: torch.Generator,
    micro_batches: int = 1,
) -> None:
    """Initialize a LAM's codes by k-means of its latents: of several tries, the one that its decoder does best with.

    Args:
        lam: has learned without quantization.
        batches: what it reads, (B, T, ...) each.
        compute: where it runs.
        parallel: divides batches among threads.
        generator: of the first centres.
        micro_batches: parts of a batch that are computed one after another.
    """

    def latents_of(frames: Tensor) -> Tensor:
        with torch.no_grad(), compute.autocast():
            return lam.latents(frames)

    def error_of(place: int) -> Tensor:
        frames, latents = judged[place], found[place]
        with torch.no_grad(), compute.autocast():
            rows = lam.quantizer.lookup(lam.quantizer.nearest(latents))
            return lam.error(lam.decode(frames[:, :-1], rows), frames).double() * len(frames)

    found: list[Tensor] = []
    judged: list[Tensor] = []
    transitions = 0
    for frames in batches:
        pieces = [piece for part in parallel.pieces(frames, micro_batches) for piece in part]
        found += [latents.float() for latents in parallel.map(latents_of, pieces)]
        if transitions < _JUDGED:
            judged += pieces
        transitions += frames.shape[0] * (frames.shape[1] - 1)

    def error(share: float) -> float:
        return float(torch.stack(parallel.map(error_of, range(ceil(share * len(judged))))).sum())

    initialize_codes(lam, torch.cat([latents.flatten(0, 1) for latents in found]), generator, error)
