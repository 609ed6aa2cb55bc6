"""Initialization from data: principal components of patches, codes spread farthest-point first, k-means.

A small network that starts here reaches in seconds what random weights do not reach in minutes: without any training
step the tokenizer's picture is above 30 dB, and no code is wasted on a second copy of a frequent patch (k-means from
random samples found 76 of 250 distinct patches; measured).

Given the same data, every function here returns the same bytes on every CPU. LAPACK's decompositions do not: the sign
of an eigenvector, and any rotation among eigenvectors of nearly the same eigenvalue, depend on the kernel that ran. So
does the winner where two distances are nearly the same. Here sums are exact (`models.networks.exact`), and all else is
elementwise arithmetic, for which IEEE 754 allows one result.

Shapes: N samples, X values of a patch, L latent values, K codes.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.networks.exact import exact_mean, exact_product, grid_step, on_grid

Array: TypeAlias = npt.NDArray[np.float64]
Index: TypeAlias = npt.NDArray[np.int64]

_LEAST_VARIANCE = 1e-9
"""Components below this share of the largest variance are left out: they are rounding, and would be amplified."""
_ORTHOGONAL = 1e-9
"""Cosine of two rows below which they count as orthogonal."""
_MOST_SWEEPS, _AT_ONCE = 30, 4096


class Components(NamedTuple):
    """Principal components of patches, by falling variance; the largest entry of each axis is positive."""

    mean_X: Tensor
    axes_LX: Tensor
    scale_L: Tensor
    """Standard deviation along each axis."""

    def project(self, patches_NX: Tensor) -> Tensor:
        """Return the coordinates (N, L), fp64, of patches along the axes, from the mean."""
        return exact_product(patches_NX.double() - self.mean_X.double(), self.axes_LX.T)

    def origin(self) -> Tensor:
        """Return the coordinates (L,), fp64, of a patch of zeros."""
        return self.project(torch.zeros_like(self.mean_X)[None])[0]


def principal_components(patches_NX: Tensor, num: int) -> Components:
    """Return the first `num` principal components, fp32, or fewer where patches vary in fewer directions."""
    mean_X = exact_mean(patches_NX)
    centred_NX = patches_NX.double() - mean_X
    covariance_XX = exact_product(centred_NX.T, centred_NX) / len(patches_NX)
    variances, axes = eigenvectors(covariance_XX.cpu().numpy())

    def tensor(x: Array) -> Tensor:
        return torch.from_numpy(x[:num].astype(np.float32)).to(patches_NX.device)

    return Components(mean_X.float(), tensor(axes), tensor(np.sqrt(variances)))


def eigenvectors(covariance_XX: Array) -> tuple[Array, Array]:
    """Return a covariance's eigenvalues, falling, and its unit eigenvectors as rows, without those of no variance.

    The largest entry of an eigenvector is positive; among entries that are equally large the first decides. Rows of a
    Cholesky factor are rotated until they are orthogonal (one-sided Jacobi, preconditioned as by Veselic and Hari):
    they then point along the eigenvectors, and their squared lengths are the eigenvalues.
    """
    rows = _orthogonalized(_cholesky(covariance_XX))
    values = (rows * rows).sum(1)
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], rows[order] / np.sqrt(values[order])[:, None]
    sizes = np.abs(vectors)
    # entries may be equal but for rounding: then it must not be rounding that chooses
    largest = (sizes > (1 - 1e-6) * sizes.max(axis=1, initial=0, keepdims=True)).argmax(axis=1)
    return values, vectors * np.sign(vectors[np.arange(len(vectors)), largest])[:, None]


def _cholesky(covariance_XX: Array) -> Array:
    """Return rows R with R' R = the covariance, taken by falling variance of what the rows before leave."""
    rest, rows = covariance_XX.copy(), np.zeros_like(covariance_XX)
    least = _LEAST_VARIANCE * rest.diagonal().max()
    for rank in range(len(rest)):
        pivot = int(rest.diagonal().argmax())
        if rest[pivot, pivot] <= least:
            return rows[:rank]
        rows[rank] = rest[pivot] / math.sqrt(rest[pivot, pivot])
        rest -= rows[rank, :, None] * rows[rank]
    return rows


def _orthogonalized(rows: Array) -> Array:
    """Return rows rotated in pairs until all are orthogonal; R' R stays what it is."""
    rank, rows = len(rows), np.concatenate([rows, np.zeros_like(rows[: len(rows) % 2])])
    half, seats = len(rows) // 2, np.arange(len(rows))
    for _ in range(_MOST_SWEEPS):
        turned = False
        squares = (rows * rows).sum(1)
        # a round-robin tournament: each pair meets once a sweep, half of the rows the other half at a time
        for _ in range(len(rows) - 1):
            turned |= _rotate_pairs(rows, squares, seats[:half], seats[: half - 1 : -1])
            seats = np.concatenate([seats[:1], seats[-1:], seats[1:-1]])
        if not turned:
            break
    return rows[:rank]


def _rotate_pairs(rows: Array, squares: Array, first: Index, second: Index) -> bool:
    """Rotate pairs of rows in place so that each is orthogonal; return whether any was not."""
    one, other = rows[first], rows[second]
    # numpy's sums have one order, written in C; BLAS and einsum have one for each processor
    products = (one * other).sum(1)
    turn = np.abs(products) > _ORTHOGONAL * np.sqrt(squares[first] * squares[second])
    if not turn.all():
        first, second, products, one, other = first[turn], second[turn], products[turn], one[turn], other[turn]
    slope = (squares[second] - squares[first]) / (2 * products)
    tangent = np.copysign(1.0, slope) / (np.abs(slope) + np.sqrt(1 + slope * slope))
    cosine = 1 / np.sqrt(1 + tangent * tangent)
    cosine_, sine_ = cosine[:, None], (cosine * tangent)[:, None]
    rows[first], rows[second] = cosine_ * one - sine_ * other, sine_ * one + cosine_ * other
    squares[first] -= tangent * products
    squares[second] += tangent * products
    return bool(turn.any())


def farthest_points(latents_NL: Tensor, max_points: int, tolerance: float) -> Tensor:
    """Return samples such that each sample is within `tolerance` (squared) of one, at most `max_points`.

    Each next point is the sample that is farthest from those chosen (maximin); ties go to the first. The first point
    is the sample nearest to the mean.
    """
    step = grid_step(latents_NL, terms=4 * latents_NL.shape[1])
    samples = on_grid(latents_NL, step)
    squares = samples.square().sum(1)
    chosen = [int(_squared_distances(samples, squares, on_grid(exact_mean(samples), step)).argmin())]
    nearest = _squared_distances(samples, squares, samples[chosen[0]])
    while len(chosen) < max_points:
        worst = int(nearest.argmax())
        if float(nearest[worst]) < tolerance:
            break
        chosen.append(worst)
        nearest = torch.minimum(nearest, _squared_distances(samples, squares, samples[worst]))
    return latents_NL[chosen].clone()


def _squared_distances(samples_NL: Tensor, squares_N: Tensor, row_L: Tensor) -> Tensor:
    """Return the squared distances (N,) to a row, exact where all lie on a grid for 4 L terms.

    `squares_N` are the squared lengths of the samples.
    """
    return squares_N - 2 * (samples_NL @ row_L) + row_L.square().sum()


def lloyd(latents_NL: Tensor, rows_KL: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """Return the rows after rounds of k-means, and how many samples each has; an empty row stays where it was.

    A sample between two rows at the same distance goes to the first.
    """
    step = grid_step(latents_NL, rows_KL, terms=4 * latents_NL.shape[1])
    samples, rows = on_grid(latents_NL, step), on_grid(rows_KL, step)

    def counted() -> tuple[Tensor, Tensor]:
        squares = rows.square().sum(1)
        # all distances at once would be the most memory that a start needs
        chosen = torch.cat([(squares - 2 * part @ rows.T).argmin(1) for part in samples.split(_AT_ONCE)])
        return chosen, torch.bincount(chosen, minlength=len(rows)).double()

    for _ in range(rounds):
        chosen, counts = counted()
        sums = torch.zeros_like(rows).index_add_(0, chosen, samples)
        rows = torch.where(counts[:, None] > 0, on_grid(sums / counts[:, None].clamp(min=1), step), rows)
    return rows.to(latents_NL.dtype), counted()[1].to(latents_NL.dtype)


def kmeans(latents_NL: Tensor, num: int, rounds: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return `num` centres by k-means++ and Lloyd's rounds, and how many samples each has."""
    samples = on_grid(latents_NL, grid_step(latents_NL, terms=4 * latents_NL.shape[1]))
    squares = samples.square().sum(1)
    chosen = [int(torch.randint(len(samples), (1,), generator=generator))]
    nearest = _squared_distances(samples, squares, samples[chosen[0]])
    while len(chosen) < num and float(nearest.max()) > 0:
        # a draw by hand: the noise of torch.multinomial depends on the processor
        odds = np.cumsum(nearest.cpu().numpy())
        at = float(torch.rand(1, generator=generator, dtype=torch.float64)) * odds[-1]
        chosen.append(min(int(np.searchsorted(odds, at, side="right")), len(odds) - 1))
        nearest = torch.minimum(nearest, _squared_distances(samples, squares, samples[chosen[-1]]))
    # fewer distinct samples than centres: the others are copies
    chosen += [place % len(samples) for place in range(num - len(chosen))]
    return lloyd(latents_NL, latents_NL[chosen], rounds)
