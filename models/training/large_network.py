"""A network that may be too large for one process, with its optimizer: whole, or divided among the ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor, nn

from models.runtime.compute import Compute
from models.runtime.sharded import Sharded, shard
from models.runtime.weights import HasState, part_of, prefixed
from models.training.optimizer import Optimizer

Network = TypeVar("Network", bound=nn.Module)
_OPTIMIZER = "optimizer"


class LargeNetwork:
    """It is divided before its first step or checkpoint, where `training.weights` is `sharded`."""

    def __init__(self, name: str, network: nn.Module, optimizer: Optimizer, compute: Compute) -> None:
        """Begin whole: first weights are made of the whole network.

        Args:
            name: of the network in checkpoints.
            network: the same on each rank.
            optimizer: has taken no step.
            compute: its ranks.
        """
        self._name, self._network, self._optimizer, self._compute = name, network, optimizer, compute
        self._sharded: Sharded | None = None

    def divide(self) -> None:
        """Divide it, where that is asked for and not done yet."""
        if self._compute.sharded and self._sharded is None:
            self._sharded = shard(self._network, self._compute)
            self._optimizer.shard(self._sharded)

    @property
    def learns(self) -> nn.Module | Sharded:
        """Return what `CpuParallel.backward` takes."""
        return self._sharded or self._network

    @property
    def divided(self) -> bool:
        """Return whether each pass is one of all ranks."""
        return self._sharded is not None

    def state(self) -> HasState:
        """Return what weights are loaded into."""
        return self._sharded or self._network

    def tensors(self) -> dict[str, Tensor]:
        """Return weights and optimizer state as a checkpoint holds them; of a divided network on the first rank alone.

        All ranks call this.
        """
        self.divide()
        state, optimizer = self.state().state_dict(), self._optimizer.tensors()
        if self._sharded is not None:
            state, optimizer = self._sharded.whole(state), self._sharded.whole(optimizer)
        return {**prefixed(self._name, state), **prefixed(_OPTIMIZER, optimizer)}

    def own(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint, those of this network cut down to the parts of this rank."""
        self.divide()
        result = dict(tensors)
        if self._sharded is not None:
            for name in (self._name, _OPTIMIZER):
                result |= prefixed(name, self._sharded.parts_of(part_of(name, tensors)))
        return result

    def whole(self, network: Network, make: Callable[[], Network]) -> Network:
        """Return it after the last step: whole on the first rank; all ranks call this.

        Args:
            network: the same that this was made of.
            make: returns a fresh one.
        """
        if self._sharded is None:
            return network
        tensors, self._sharded = self._sharded.whole(self._sharded.state_dict()), None
        if not self._compute.ranks.first:
            return network
        result = make().to(self._compute.device)
        result.load_state_dict(tensors)
        return result
