"""Starts from data: principal components of patches, codes spread farthest-point first, k-means.

A small network that starts here reaches in seconds what random weights do not reach in minutes: without any
training step the tokenizer's picture is above 30 dB, and no code is wasted on a second copy of a frequent patch
(k-means with random starts found 76 of 250 distinct patches; measured).

Shapes: N samples, X values of a patch, L latent values, K codes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Components(NamedTuple):
    """Principal components of patches, by falling variance."""

    mean_X: Tensor
    axes_LX: Tensor
    scale_L: Tensor
    """Standard deviation along each axis."""


def principal_components(patches_NX: Tensor, num: int) -> Components:
    """Return the first `num` principal components."""
    x = patches_NX.double()
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    num = min(num, x.shape[1])
    axes = vectors.flip(1)[:, :num].T
    # eigenvectors have no sign of their own: point the largest entry upwards, so that a start is reproducible
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    scale = values.flip(0)[:num].clamp(min=1e-10).sqrt()
    return Components(mean.float(), axes.float(), scale.float())


def farthest_points(latents_NL: Tensor, max_points: int, tolerance: float) -> Tensor:
    """Return samples such that each sample is within `tolerance` (squared) of one, at most `max_points`.

    Each next point is the sample that is farthest from those chosen (maximin); ties go to the first.
    """
    chosen = [int((latents_NL - latents_NL.mean(0)).square().sum(1).argmin())]
    nearest = (latents_NL - latents_NL[chosen[0]]).square().sum(1)
    while len(chosen) < max_points:
        worst = int(nearest.argmax())
        if float(nearest[worst]) < tolerance:
            break
        chosen.append(worst)
        nearest = torch.minimum(nearest, (latents_NL - latents_NL[worst]).square().sum(1))
    return latents_NL[chosen].clone()


def assign(latents_NL: Tensor, rows_KL: Tensor) -> Tensor:
    """Return the index of each sample's nearest row."""
    return (rows_KL.square().sum(1) - 2 * latents_NL @ rows_KL.T).argmin(1)


def lloyd(latents_NL: Tensor, rows_KL: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """Return the rows after rounds of k-means, and how many samples each has; an empty row stays where it was."""
    for _ in range(rounds):
        chosen = assign(latents_NL, rows_KL)
        counts = torch.bincount(chosen, minlength=len(rows_KL)).to(latents_NL.dtype)
        sums = torch.zeros_like(rows_KL).index_add_(0, chosen, latents_NL)
        rows_KL = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), rows_KL)
    counts = torch.bincount(assign(latents_NL, rows_KL), minlength=len(rows_KL)).to(latents_NL.dtype)
    return rows_KL, counts


def kmeans(latents_NL: Tensor, num: int, rounds: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return `num` centres by k-means++ and Lloyd's rounds, and how many samples each has."""
    first = int(torch.randint(len(latents_NL), (1,), generator=generator))
    rows = latents_NL[first : first + 1]
    while len(rows) < num:
        distance = torch.cdist(latents_NL, rows).square().amin(1)
        if float(distance.sum()) <= 0:  # fewer distinct samples than centres
            rows = torch.cat([rows, latents_NL[: num - len(rows)]])
            break
        rows = torch.cat([rows, latents_NL[torch.multinomial(distance, 1, generator=generator)]])
    return lloyd(latents_NL, rows, rounds)
