"""Sums and products that have one result, whatever the processor, the kernel or the number of threads.

Rounding makes a sum depend on its order, and each kernel of a library has its own. Numbers on a coarse enough grid do
not round: fp64 holds every partial sum exactly, so that all orders agree.

Shapes: N and M rows and columns, X values that a product sums over.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MANTISSA_BITS = 53  # of fp64


def grid_step(*tensors: Tensor, terms: int) -> float:
    """Return a power of two: of its multiples as large as these numbers, `terms` products sum without rounding."""
    largest = max((float(torch.stack(x.aminmax()).abs().max()) for x in tensors if x.numel()), default=0.0)
    bits = (_MANTISSA_BITS - math.ceil(math.log2(max(terms, 1)))) // 2
    return math.ldexp(1.0, math.frexp(largest)[1] - bits)


def on_grid(x: Tensor, step: float) -> Tensor:
    """Return numbers rounded to multiples of a power of two, fp64."""
    return (x.double() / step).round_().mul_(step)


def exact_product(a_NX: Tensor, b_XM: Tensor) -> Tensor:
    """Return the matrix product (N, M), fp64, of numbers rounded to 17 bits and more (22 where X is 300)."""
    terms = a_NX.shape[1]
    return on_grid(a_NX, grid_step(a_NX, terms=terms)) @ on_grid(b_XM, grid_step(b_XM, terms=terms))


def exact_mean(x_NX: Tensor) -> Tensor:
    """Return the mean over the rows (X,), fp64."""
    return exact_product(torch.ones(1, len(x_NX), device=x_NX.device), x_NX)[0] / len(x_NX)
