"""The gradients of a step of the dynamics, from its inputs (`models.training.dynamics_inputs`)."""

from __future__ import annotations

import torch
from torch import Tensor

from models.networks.dynamics import Dynamics
from models.runtime.compute import Compute
from models.runtime.cpu_parallel import CpuParallel
from models.training.dynamics_inputs import DynamicsInputs, dynamics_loss
from models.training.large_network import LargeNetwork


def backward(
    dynamics: Dynamics,
    inputs: DynamicsInputs,
    compute: Compute,
    parallel: CpuParallel,
    large: LargeNetwork,
    accumulate: int = 1,
) -> tuple[Tensor, Tensor]:
    """Set the gradients of a step.

    Args:
        dynamics: gets them.
        inputs: of the windows of this rank.
        compute: where it runs.
        parallel: computes pieces of a micro-batch side by side.
        large: the dynamics, as several ranks hold it.
        accumulate: micro-batches of the step.

    Returns:
        the loss over all ranks, and the tokens of the windows, of which those are the likeliest ones that were masked
        (where `DynamicsInputs.recalled_BTP` is given; else the true ones).
    """
    total = compute.ranks.total(inputs.amount)

    def share_of(piece: DynamicsInputs) -> tuple[Tensor, Tensor | None]:
        # the loss is a mean over masked tokens, of which each piece has its own number
        with compute.autocast():
            loss, guess = dynamics_loss(dynamics, piece)
        return loss * (piece.amount / total), guess

    pieces: list[list[DynamicsInputs]] = []
    windows: list[slice] = []
    first = 0
    for part in inputs.parts(accumulate):
        asked = []
        for piece in part.parts(parallel.count):
            last = first + len(piece.tokens_BTP)
            # every pass of a divided network is one of all ranks, also where a rank's part has nothing to learn
            if piece.amount or large.divided:
                asked.append(piece)
                windows.append(slice(first, last))
            first = last
        if asked:
            pieces.append(asked)
    loss, guesses = parallel.backward_sum(large.learns, share_of, pieces)
    predicted = inputs.tokens_BTP.clone()
    for window, guess in zip(windows, guesses, strict=True):
        if guess is not None:
            predicted[window] = guess
    return torch.as_tensor(loss), predicted
