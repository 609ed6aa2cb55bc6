"""A network whose blocks are sharded: each process holds a part of their weights, gradients and optimizer states.

FSDP2 (`fully_shard`) gathers the matrices of one block at a time, for its forward and its backward pass, and leaves
each process the sum of all gradients of its part: what DeepSpeed calls ZeRO-3. The matrices of the linear layers are
sharded, which are nearly all of a large network (99.9 % of 10 billion parameters). Norms, biases, embeddings and heads
stay whole on each process; their gradients are summed as those of a replicated network are.

In bf16 the gathered matrices are bf16, as products would round them anyway; parts, sums of gradients and all else are
fp32.

    sharded = shard(dynamics, compute)
    loss = sharded.backward_sum(loss_of, pieces)     # sets the gradients of `sharded.named`
    optimizer = Optimizer(dynamics, ..., named=sharded.named)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from models.networks.transformer import STTransformer
from models.runtime.compute import Compute
from models.runtime.ranks import Ranks

Part = TypeVar("Part")
Result = TypeVar("Result")


class Sharded:
    """What an optimizer and a checkpoint need of a sharded network; all ranks call the same methods."""

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        """Take over a network after `fully_shard`."""
        from torch.distributed.tensor import DTensor  # a second of imports, for a training that is not sharded too

        self._network, self._ranks = network, ranks
        self._sharded: dict[str, nn.Parameter] = {}
        self.named: list[tuple[str, nn.Parameter]] = []
        """Parameters of this process by name: of sharded ones its part, in the same memory."""
        for name, parameter in network.named_parameters():
            if isinstance(parameter, DTensor):
                self._sharded[name] = parameter
                parameter = nn.Parameter(parameter.to_local().detach(), requires_grad=parameter.requires_grad)
            self.named.append((name, parameter))

    def backward_sum(
        self, loss_of: Callable[[Part], tuple[Tensor, Result]], pieces: Sequence[Part]
    ) -> tuple[Tensor, list[Result]]:
        """Set the gradients of the sum of the losses of all pieces of all ranks, and return that sum.

        Each rank must have as many pieces: every pass gathers weights of all.
        """
        from torch.distributed.tensor import DTensor

        self._network.zero_grad(set_to_none=True)
        losses, results = [], []
        for piece in pieces:
            with torch.enable_grad():
                loss, result = loss_of(piece)
                loss.backward()
            losses.append(loss.detach())
            results.append(result)
        whole = [(name, own) for name, own in self.named if name not in self._sharded and own.requires_grad]
        summed = self._ranks.sum_all([own.grad for _, own in whole], [own for _, own in whole])
        for (_, own), gradient in zip(whole, summed, strict=True):
            own.grad = gradient
        for name, own in self.named:
            if name in self._sharded:
                gradient = self._sharded[name].grad
                own.grad = gradient.to_local() if isinstance(gradient, DTensor) else None
        return self._ranks.sum(torch.stack(losses).sum()), results

    def norm(self) -> Tensor:
        """Return the norm of the gradients of the whole network, on each rank."""
        parts = [own.grad for name, own in self.named if name in self._sharded and own.grad is not None]
        whole = [own.grad for name, own in self.named if name not in self._sharded and own.grad is not None]
        squares = [nn.utils.get_total_norm(each).square() if each else torch.zeros(()) for each in (parts, whole)]
        device = self.named[0][1].device
        return (self._ranks.sum(squares[0].to(device)) + squares[1].to(device)).sqrt()

    def gather(self, name: str, part: Tensor) -> Tensor:
        """Return a tensor like a parameter, whole on each rank, from the part of each."""
        return self._gathered(name, part) if name in self._sharded else part

    def part_of(self, name: str, whole: Tensor) -> Tensor:
        """Return this process's part of a tensor like a parameter."""
        return whole[self._rows(name)] if name in self._sharded else whole

    def state_dict(self) -> dict[str, Tensor]:
        """Return weights and buffers by name: of sharded ones the part of this process."""
        own = dict(self.named)
        return {name: own.get(name, tensor) for name, tensor in self._network.state_dict().items()}

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy what `state_dict` returned into the network."""
        with torch.no_grad():
            for name, tensor in self.state_dict().items():
                tensor.copy_(tensors[name])

    def parts_of(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return of whole tensors, named as parameters or as `<parameter>.<state>`, the parts of this process."""
        return dict(self._each(tensors, lambda name, tensor: tensor[self._rows(name)]))

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return whole tensors of the parts of all processes, on the CPU of the first; nothing on the others."""
        gathered = self._each(tensors, self._gathered)
        # one at a time: a process never holds the whole network beside its part
        found = {name: tensor.detach().cpu() if self._ranks.first else None for name, tensor in gathered}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def _each(
        self, tensors: Mapping[str, Tensor], change: Callable[[str, Tensor], Tensor]
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield tensors, those of sharded parameters changed."""
        for name, tensor in tensors.items():
            owner = name if name in self._sharded else name.rpartition(".")[0]
            # the number of steps of an optimizer's state is the same everywhere
            yield name, change(owner, tensor) if owner in self._sharded and tensor.dim() else tensor

    def _rows(self, name: str) -> slice:
        """Return which rows of a parameter lie here: blocks of equal length, of which the last ones may be empty."""
        rows = self._sharded[name].shape[0]
        each = -(-rows // self._ranks.count)
        first = min(rows, self._ranks.rank * each)
        return slice(first, min(rows, first + each))

    def _gathered(self, name: str, part: Tensor) -> Tensor:
        result = part.new_zeros(self._sharded[name].shape)
        result[self._rows(name)] = part
        return self._ranks.sum(result)


def shard(network: nn.Module, compute: Compute) -> Sharded:
    """Shard the blocks of a network among the ranks; afterwards a pass through it is one of all ranks.

    Args:
        network: whole, and the same on each rank.
        compute: its ranks and dtype.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    ranks = compute.ranks
    mesh = init_device_mesh(compute.device.type, (ranks.count,))
    bf16 = torch.bfloat16 if compute.dtype == torch.bfloat16 else None
    policy = MixedPrecisionPolicy(param_dtype=bf16, reduce_dtype=torch.float32, cast_forward_inputs=False)
    linear = {module.weight for module in network.modules() if isinstance(module, nn.Linear)}
    for stack in [module for module in network.modules() if isinstance(module, STTransformer)]:
        whole = {parameter for parameter in stack.parameters() if parameter not in linear}
        for block in stack.blocks:
            fully_shard(block, mesh=mesh, mp_policy=policy, ignored_params=whole)
        fully_shard(stack, mesh=mesh, mp_policy=policy, ignored_params=whole)
    for module in network.modules():
        if isinstance(module, FSDPModule):
            # a batch's loss is a sum over ranks, so its gradient is one too; gloo has no other way to scale it
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return Sharded(network, ranks)
