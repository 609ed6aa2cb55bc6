"""Run pieces of a batch side by side on a CPU: one thread per piece, instead of all threads inside each product.

A small network is thousands of short products per step. Two threads inside each product must wait for each other at
every one: on a machine whose cores are shared, that costs up to 20 times the step (measured beside one other busy
program, 2 cores). Pieces wait for each other once per step. They give the same speed on a quiet machine, and the same
numbers on any machine for the same number of pieces. On a GPU there is one piece: the whole batch.

Where several processes train together (`models.runtime.ranks`), each computes its own part of a batch, and gradients
and losses are the sums over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from models.runtime.compute import Compute
from models.runtime.sharded import Sharded

Part = TypeVar("Part")
Result = TypeVar("Result")


class CpuParallel:
    """Threads that each run whole pieces of work; the caller's own is one of them."""

    def __init__(self, compute: Compute, most: int | None = None) -> None:
        """Start the threads of a compute, at most `most`; the remaining threads run operations inside the pieces."""
        # passes of a sharded network are passes of all processes, and so come one after another
        threads = 1 if compute.device.type == "cuda" or compute.sharded else compute.threads
        self.ranks = compute.ranks
        self.count = max(1, min(threads, most or threads))
        self.inner = max(1, threads // self.count)
        """Intra-op threads of each piece."""
        self._pool = (
            ThreadPoolExecutor(self.count - 1, "cpu-parallel", torch.set_num_threads, (self.inner,))
            if self.count > 1
            else None
        )

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Run a piece of work in another thread, or here at once where there is none."""
        if self._pool is not None:
            return self._pool.submit(work, *arguments)
        done: Future[Result] = Future()
        done.set_result(work(*arguments))
        return done

    def map(self, work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
        """Return the results of the parts, in their order."""
        if self._pool is None:
            return [work(part) for part in parts]
        elsewhere = {index: self._pool.submit(work, part) for index, part in enumerate(parts) if index % self.count}
        own = {index: work(part) for index, part in enumerate(parts) if index % self.count == 0}
        return [own[index] if index in own else elsewhere[index].result() for index in range(len(parts))]

    def pieces(self, batch: Tensor, accumulate: int = 1) -> list[list[Tensor]]:
        """Return the micro-batches of a batch (B, ...), each as the pieces of the threads."""
        return [micro_batches(part, self.count) for part in micro_batches(batch, accumulate)]

    def backward(
        self,
        network: nn.Module | Sharded,
        loss_of: Callable[[Tensor], tuple[Tensor, Result]],
        batch: Tensor,
        accumulate: int = 1,
        of: int | None = None,
    ) -> tuple[Tensor, list[Result]]:
        """Set the network's gradients of the batch's mean loss, a piece of the batch in each thread.

        Args:
            network: gets the gradients (the sum over pieces in their order, weighted by size; over those of all ranks).
            loss_of: returns the mean loss of a piece, and what its caller wants of the forward pass. All of these are
                kept until the end: return no more than is needed.
            batch: (B, ...), this rank's part, split along its first dimension.
            of: windows of the whole batch, over all ranks; B by default.
            accumulate: parts of the batch that are computed one after another, so that the memory is that of a part.

        Returns:
            the mean loss of the whole batch, detached, and what `loss_of` returned of each piece here, in their order.
        """
        windows = of or len(batch)

        def share_of(piece: Tensor) -> tuple[Tensor, Result]:
            loss, result = loss_of(piece)
            return loss * (len(piece) / windows), result

        return self.backward_sum(network, share_of, self.pieces(batch, accumulate))

    def backward_sum(
        self,
        network: nn.Module | Sharded,
        loss_of: Callable[[Part], tuple[Tensor, Result]],
        parts: Sequence[Sequence[Part]],
    ) -> tuple[Tensor, list[Result]]:
        """Set the network's gradients of the sum of the losses of pieces.

        Args:
            network: gets the gradients (the sum over pieces in their order, and over ranks).
            loss_of: returns the loss of a piece, and what its caller wants to keep.
            parts: are computed one after another, the pieces of each side by side.

        Returns:
            the sum over all ranks, detached, and what `loss_of` returned of each piece here, in their order.
        """
        if isinstance(network, Sharded):
            return network.backward_sum(loss_of, [piece for part in parts for piece in part])
        named = [parameter for parameter in network.parameters() if parameter.requires_grad]
        total: list[Tensor | None] = [None] * len(named)
        losses: list[Tensor] = []
        results: list[Result] = []

        def work(piece: Part) -> tuple[Tensor, Result, tuple[Tensor | None, ...]]:
            with torch.enable_grad():
                loss, result = loss_of(piece)
                return loss.detach(), result, torch.autograd.grad(loss, named, allow_unused=True)

        for pieces in parts:
            part_losses, part_results, gradients = zip(*self.map(work, pieces), strict=True)
            losses += part_losses
            results += part_results
            for place, found_in in enumerate(zip(*gradients, strict=True)):
                found = [gradient for gradient in (total[place], *found_in) if gradient is not None]
                total[place] = _sum(found)
        for parameter, gradient in zip(named, self.ranks.sum_all(total, named), strict=True):
            parameter.grad = gradient
        loss = torch.stack(losses).sum() if losses else torch.zeros((), device=named[0].device)
        return self.ranks.sum(loss), results


def _sum(found: Sequence[Tensor]) -> Tensor | None:
    """Return the sum in this order; None of nothing."""
    if len(found) > 2:
        return torch.stack(list(found)).sum(0)
    # the same to the bit for two, without a copy of both
    return found[0] + found[1] if len(found) == 2 else (found[0] if found else None)


def micro_batches(batch: Tensor, count: int) -> list[Tensor]:
    """Return a batch (B, ...) in `count` parts along its first dimension, or in B where that is less."""
    return [part for part in batch.tensor_split(count) if len(part)]
