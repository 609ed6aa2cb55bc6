"""Processes that train one model together (ranks): who this one is, and what they tell each other.

Every rank takes the same steps. Of each batch it computes its own windows (lanes), and gradients, codebook statistics
and metrics are sums over all ranks. A process that was not started by torchrun is the only rank: nothing is sent then,
and no number changes by a bit.

    with joined_ranks(config.training) as ranks:
        lanes = ranks.lanes(batch)
        total = ranks.total(amount)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.config.training import TrainingConfig
from pipeline.errors import UserError
from pipeline.shards.loader.order import lanes_of

_BUCKET = 16 << 20
"""Values that are sent at a time: 64 MB in fp32."""
_TIMEOUT = timedelta(minutes=30)
"""Longest wait for another rank, as rank 0 may write a checkpoint meanwhile."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train a model; all methods but `lanes` must be called by all of them."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    """Among those of this machine: the number of its GPU."""
    local_count: int = 1

    @property
    def first(self) -> bool:
        """Return whether this one writes checkpoints, curves and the model."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Return whether there is no other."""
        return self.count == 1

    def lanes(self, batch: int) -> slice:
        """Return which windows of a batch are this rank's."""
        lanes = lanes_of(self.rank, self.count, batch)
        return slice(lanes.start, lanes.stop)

    def total(self, value: float) -> float:
        """Return the sum of a number over all ranks."""
        return value if self.alone else float(self.sum(torch.tensor(value, dtype=torch.float64)))

    def totals(self, values: Sequence[float]) -> list[float]:
        """Return the sums of numbers over all ranks."""
        return list(values) if self.alone else self.sum(torch.tensor(values, dtype=torch.float64)).tolist()

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all ranks; the same bytes on each."""
        if self.alone:
            return tensor
        result = tensor.clone()
        self._add_up(result)
        return result

    def sum_all(self, tensors: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the sums of tensors over all ranks.

        Args:
            tensors: None for zeros; None on all ranks stays None.
            like: tensors of the same shapes, dtypes and devices.
        """
        result: list[Tensor | None] = list(tensors)
        if self.alone:
            return result
        there = self.sum(torch.tensor([tensor is not None for tensor in tensors], dtype=torch.int32)).tolist()
        bucket: list[int] = []
        size = 0
        for place, count in enumerate(there):
            if count:
                result[place] = torch.zeros_like(like[place]) if tensors[place] is None else tensors[place]
                bucket.append(place)
                size += like[place].numel()
            if bucket and (size >= _BUCKET or place + 1 == len(there)):
                self._sum_bucket(result, bucket)
                bucket, size = [], 0
        return result

    def _sum_bucket(self, tensors: list[Tensor | None], places: list[int]) -> None:
        """Replace tensors by their sums: one message for all of them."""
        flat = torch.cat([_given(tensors[place]).reshape(-1) for place in places])
        self._add_up(flat)
        start = 0
        for place in places:
            tensor = _given(tensors[place])
            tensors[place] = flat[start : start + tensor.numel()].view_as(tensor)
            start += tensor.numel()

    def gather(self, tensor: Tensor, batch: int) -> Tensor:
        """Return the rows of all ranks (batch, ...) from those of this one (its lanes, ...)."""
        if self.alone:
            return tensor
        result = tensor.new_zeros(batch, *tensor.shape[1:])
        result[self.lanes(batch)] = tensor
        self._add_up(result)
        return result

    def merged(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the mappings of all ranks as one (JSON values); of a name that several have, the last one's."""
        if self.alone:
            return dict(values)
        result: dict[str, Any] = {}
        for rank in range(self.count):
            result |= self.share(values, rank)
        return result

    def share(self, value: Any, source: int = 0) -> Any:
        """Return a JSON value of one rank (by default the first) on all."""
        if self.alone:
            return value
        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        length = torch.tensor(len(data))
        self._copy(length, source)
        data = data if self.rank == source else torch.empty(int(length), dtype=torch.uint8)
        self._copy(data, source)
        return json.loads(data.numpy().tobytes())

    def align(self, tensors: Sequence[Tensor]) -> None:
        """Copy the first rank's tensors into those of all; each rank has its own parts of a divided network."""
        if not self.alone:
            from torch.distributed.tensor import DTensor  # most of a second of imports, for one process too

            for tensor in tensors:
                if not isinstance(tensor, DTensor):
                    self._copy(tensor.detach(), 0)

    def wait(self) -> None:
        """Wait until all have come here."""
        if not self.alone:
            self.total(0)

    def _add_up(self, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all ranks."""
        dist.all_reduce(tensor)

    def _copy(self, tensor: Tensor, source: int) -> None:
        """Replace a tensor by that of one rank."""
        dist.broadcast(tensor, source)


ALONE = Ranks()


def _given(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor


def among_ranks() -> bool:
    """Return whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ or "WORLD_SIZE" in os.environ


@contextmanager
def joined_ranks(config: TrainingConfig) -> Iterator[Ranks]:
    """Join the processes that torchrun started with this one; `ALONE` where it started none.

    Raises:
        UserError: there are fewer GPUs than processes on this machine.
    """
    if not among_ranks() or int(os.environ["WORLD_SIZE"]) == 1:
        yield ALONE
        return
    rank, count, local, here = (
        int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    )
    gpu = config.device != "cpu" and torch.cuda.is_available()
    if gpu:
        check_gpus(here)
        torch.cuda.set_device(local)
    # the CPU's messages (numbers, texts) go by gloo, those of tensors on a GPU by NCCL
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=_TIMEOUT)
    try:
        yield Ranks(rank, count, local, here)
    finally:
        dist.destroy_process_group()


def check_device(config: TrainingConfig) -> None:
    """Raise a UserError where a GPU is asked for and there is none."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise UserError("training.device = 'cuda': torch sees no GPU here; set it to 'auto' or 'cpu'")


def check_gpus(processes: int) -> None:
    """Raise a UserError where this machine has fewer GPUs than processes."""
    if (there := torch.cuda.device_count()) < processes:
        raise UserError(
            f"training.processes = {processes}: this machine has {there} GPUs; set it to {there}, or "
            "training.device to 'cpu'"
        )
