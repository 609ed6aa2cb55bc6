"""Ranks that are threads of one process: what they compute is what processes under torchrun compute, in a second.

losses = on_ranks(2, lambda ranks: train(ranks))
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from models.runtime.ranks import ALONE, Ranks

_TIMEOUT_S = 60


class _Meeting:
    def __init__(self, count):
        self.barrier, self.given = threading.Barrier(count, timeout=_TIMEOUT_S), {}


@dataclass(frozen=True)
class ThreadRanks(Ranks):
    meeting: _Meeting = field(default=None, compare=False)

    def _exchange(self, tensor):
        self.meeting.given[self.rank] = tensor.clone()
        self.meeting.barrier.wait()
        given = [self.meeting.given[rank] for rank in range(self.count)]
        self.meeting.barrier.wait()
        return given

    def _add_up(self, tensor):
        tensor.copy_(torch.stack(self._exchange(tensor)).sum(0))

    def _copy(self, tensor, source):
        tensor.copy_(self._exchange(tensor)[source])


def on_ranks(count, work):
    """Return the results of work(ranks) of so many ranks; an error of one ends them all."""
    if count == 1:
        return [work(ALONE)]
    meeting = _Meeting(count)

    def one(rank):
        try:
            return work(ThreadRanks(rank, count, rank, count, meeting))
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(one, rank) for rank in range(count)]
    errors = [future.exception() for future in futures if future.exception() is not None]
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [future.result() for future in futures]
