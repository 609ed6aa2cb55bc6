"""Muon for the matrices inside the blocks: steps along orthogonalized momentum (Jordan 2024; Liu et al. 2025).

A matrix's momentum is replaced by the nearest matrix whose singular values are all about 1, so that no direction
dominates a step. As in torch.optim.Muon with `match_rms_adamw`, a step is then as large as AdamW's at the same rate.
Two things differ from it: queries, keys and values are three matrices, although they are one weight here; and matrices
of one shape are orthogonalized together, because a small network is many short products.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from models.networks.transformer import Attention, Block
from models.runtime.sharded import Sharded

_COEFFICIENTS, _ITERATIONS, _EPS = (3.4445, -4.7750, 2.0315), 5, 1e-7
_RMS = 0.2
"""Root mean square of a step at a rate of 1: AdamW's is about 0.2 to 0.4 (Liu et al. 2025, section 2.2)."""
_AT_ONCE = 1 << 24
"""Values that are orthogonalized at once, so that their copies stay small beside the network."""


def block_matrices(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the matrices inside the blocks of a network by name, each with the numbers of rows of its parts.

    Embeddings, codes, positions, convolutions and projections to pixels, logits or latents are not among them.
    """
    found: dict[str, tuple[int, ...]] = {}
    split: dict[str, tuple[int, ...]] = {}
    for block_name, block in network.named_modules():
        if isinstance(block, Block):
            for name, module in block.named_modules(prefix=block_name):
                if isinstance(module, nn.Linear):
                    found[f"{name}.weight"] = (module.out_features,)
                elif isinstance(module, Attention):
                    keys = module.kv_heads * module.head_dim
                    split[f"{name}.qkv.weight"] = (module.heads * module.head_dim, keys, keys)
    return found | split


class Muon:
    """Momentum and steps of some matrices."""

    def __init__(
        self,
        named: Mapping[str, nn.Parameter],
        rows: Mapping[str, tuple[int, ...]],
        momentum: float,
        weight_decay: float,
        sharded: Sharded | None = None,
    ) -> None:
        """Begin without momentum.

        Args:
            named: the matrices by name: of sharded ones this process's part.
            rows: as of `block_matrices`.
            momentum: decay of the momentum.
            weight_decay: share of a weight that a step at a rate of 1 takes off.
            sharded: the network, where it is sharded.
        """
        self._named, self._rows, self._decay, self._weight_decay = dict(named), rows, momentum, weight_decay
        self._sharded = sharded
        self.momentum: dict[str, Tensor] = {}
        """Of each matrix that has had a gradient."""

    @torch.no_grad()
    def step(self, rate: float, scale: float = 1.0) -> None:
        """Move the matrices along their gradients.

        Args:
            rate: the learning rate; weights decay by it too.
            scale: factor on the rate, without the decay of weights.
        """
        for names in self._batches():
            pieces = [part for name in names for part in self._direction(name).split(list(self._rows[name]))]
            found = iter(_orthogonalized(pieces))
            for name in names:
                parts = [next(found) for _ in self._rows[name]]
                move = torch.cat([_RMS * math.sqrt(max(part.shape)) * part for part in parts])
                parameter = self._named[name]
                parameter.mul_(1 - rate * self._weight_decay)
                parameter.add_(
                    move if self._sharded is None else self._sharded.part_of(name, move), alpha=-rate * scale
                )

    def _batches(self) -> Iterator[list[str]]:
        """Yield names of matrices that are orthogonalized together."""
        batch: list[str] = []
        values = 0
        for name, parameter in self._named.items():
            if parameter.grad is not None:
                rows, columns = sum(self._rows[name]), parameter.shape[1]
                if batch and values + rows * columns > _AT_ONCE:
                    yield batch
                    batch, values = [], 0
                batch.append(name)
                values += rows * columns
        if batch:
            yield batch

    def _direction(self, name: str) -> Tensor:
        """Return what is to be orthogonalized: the momentum with a look ahead, whole on each rank."""
        gradient = self._named[name].grad
        assert gradient is not None
        if name not in self.momentum:
            self.momentum[name] = torch.zeros_like(gradient)
        momentum = self.momentum[name].lerp_(gradient, 1 - self._decay)
        ahead = gradient.lerp(momentum, self._decay)
        return ahead if self._sharded is None else self._sharded.gather(name, ahead)


def _orthogonalized(matrices: list[Tensor]) -> list[Tensor]:
    """Return matrices with their singular values brought near 1 (0.7 to 1.2), by Newton-Schulz iterations."""
    shapes: dict[tuple[int, int], list[int]] = {}
    wide = [matrix.T if matrix.shape[0] > matrix.shape[1] else matrix for matrix in matrices]
    for index, matrix in enumerate(wide):
        shapes.setdefault((matrix.shape[0], matrix.shape[1]), []).append(index)
    found: dict[int, Tensor] = {}
    for places in shapes.values():
        found |= dict(zip(places, newton_schulz(torch.stack([wide[place] for place in places])), strict=True))
    return [
        found[place].T if matrix.shape[0] > matrix.shape[1] else found[place] for place, matrix in enumerate(matrices)
    ]


def newton_schulz(matrices_NRC: Tensor) -> Tensor:
    """Return matrices (N, R, C) of R <= C with their singular values brought near 1, in fp32."""
    a, b, c = _COEFFICIENTS
    # a GPU multiplies bf16 many times as fast, and it is exact enough; few CPUs do
    x = matrices_NRC.to(torch.bfloat16 if matrices_NRC.device.type == "cuda" else torch.float32)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_EPS)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.float()
