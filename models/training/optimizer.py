"""AdamW or Muon with the schedules of the configuration, and their state as named tensors (no pickle is written)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from models.networks.transformer import DepthwiseConv
from models.runtime.sharded import Sharded
from models.runtime.weights import kind_of
from models.training.finite import NotFiniteError
from models.training.muon import Muon, block_matrices
from models.training.schedules import learning_rate
from models.training.spikes import SpikeWatch
from pipeline.config.optimizer import OptimizerConfig

_STATES = ("step", "exp_avg", "exp_avg_sq")
_MOMENTUM = "momentum"


def decayed(network: nn.Module) -> set[str]:
    """Return the names of the parameters that weight decay makes smaller: the weights of products and convolutions.

    Norms, biases, positions, codes and embeddings keep their size: for them, small is not simple.
    """
    return {
        f"{name}.{own}" if name else own
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | DepthwiseConv)
        for own, parameter in module.named_parameters(recurse=False)
        if parameter.dim() > 1
    }


class Optimizer:
    """AdamW, or Muon and AdamW, over the parameters of a network, with a schedule, weight decay and clipping."""

    def __init__(self, network: nn.Module, config: OptimizerConfig, total_steps: int, section: str = "network") -> None:
        """Optimize a network; `section` is the section of the configuration that its errors name."""
        self.config, self.total_steps, self.section = config, total_steps, section
        self.learning_rate = 0.0
        """Of the last step."""
        self.rate_share = 1.0
        """Part of the schedule's learning rate that is taken; the loop lowers it where it rolls back."""
        self.spikes: SpikeWatch | None = None
        """Looks at each step's loss before its gradient is applied."""
        self._decayed = decayed(network)
        self._matrices = block_matrices(network) if config.algorithm == "muon" else {}
        self._sharded: Sharded | None = None
        self._bind(network.named_parameters())

    def shard(self, sharded: Sharded) -> None:
        """Move on with this process's parts of a sharded network, before the first step."""
        self._sharded = sharded
        self._bind(sharded.named)

    def _bind(self, named: Iterable[tuple[str, nn.Parameter]]) -> None:
        config = self.config
        self._named = [(name, p) for name, p in named if p.requires_grad]
        inside = {name: p for name, p in self._named if name in self._matrices}
        self._muon = Muon(inside, self._matrices, config.muon_momentum, config.weight_decay, self._sharded)
        others = [(name, p) for name, p in self._named if name not in inside]
        groups = [
            {
                "params": [p for name, p in others if (name in self._decayed) == shrinks],
                "weight_decay": config.weight_decay if shrinks else 0.0,
            }
            for shrinks in (True, False)
        ]
        self._adam = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            # on a CPU one pass over each tensor, not a dozen; a GPU's would keep its count of steps there
            fused=all(parameter.device.type == "cpu" for _, parameter in self._named),
        )

    def begin_losses(self) -> None:
        """Forget the losses of the steps before: from here on it is another loss."""
        if self.spikes is not None:
            self.spikes.losses.clear()

    def step(self, loss: Tensor, step: int, share: float = 1.0) -> float:
        """Take a step along the gradient of a loss; return the gradient's norm before clipping."""
        self.zero_grad()
        loss.backward()
        return self.apply(step, share)

    def zero_grad(self) -> None:
        """Forget the gradients of the step before."""
        for _, parameter in self._named:
            parameter.grad = None

    def apply(self, step: int, share: float = 1.0, loss: Tensor | None = None) -> float:
        """Take a step along the parameters' gradients, at the schedule's learning rate times `share`.

        Args:
            step: number of the step (0-based).
            share: part of the learning rate.
            loss: of the whole batch, to be looked at first.

        Returns:
            the norm of the gradients before clipping.

        Raises:
            NotFiniteError: the norm is not finite; weights and state are as before.
            LossSpikeError: the loss is a spike; weights and state are as before.
        """
        norm = self._clip()
        if not math.isfinite(norm):
            raise NotFiniteError(f"the gradient of {self.section} has the norm {norm}", self.section)
        if self.spikes is not None and loss is not None:
            self.spikes.check(float(loss), self.section)
        self.learning_rate = share * self.rate_share * learning_rate(self.config, step, self.total_steps)
        for group in self._adam.param_groups:
            group["lr"] = self.learning_rate
        self._adam.step()
        self._muon.step(self.learning_rate, self.config.muon_lr_scale)
        return norm

    def _clip(self) -> float:
        """Clip the gradients of the whole network; return their norm before."""
        own = [parameter for _, parameter in self._named]
        if self._sharded is None:
            return float(nn.utils.clip_grad_norm_(own, self.config.clip_norm))
        norm = self._sharded.norm()
        nn.utils.clip_grads_with_norm_(own, self.config.clip_norm, norm)
        return float(norm)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as `<parameter>.<exp_avg | exp_avg_sq | step>`, or `<parameter>.momentum` of Muon's."""
        found = {f"{name}.{_MOMENTUM}": tensor for name, tensor in self._muon.momentum.items()}
        adam = self._adam.state
        return found | {
            f"{name}.{key}": adam[parameter][key]
            for name, parameter in self._named
            if parameter in adam
            for key in _STATES
        }

    def kinds(self, tensors: Mapping[str, Tensor]) -> dict[str, str]:
        """Return names and kinds of the state that tensors of these names must hold: of each parameter, all or none.

        A parameter that has not had a gradient yet has no state.
        """
        kinds: dict[str, str] = {}
        for name, parameter in self._named:
            if name in self._matrices:
                if f"{name}.{_MOMENTUM}" in tensors:
                    kinds[f"{name}.{_MOMENTUM}"] = kind_of(parameter)
            elif any(f"{name}.{key}" in tensors for key in _STATES):
                kinds |= {f"{name}.{key}": kind_of(parameter) for key in _STATES}
                kinds[f"{name}.step"] = "float32 ()"
        return kinds

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `tensors` returned (`models.runtime.weights.load_states` checks that it fits)."""
        self._adam.state.clear()
        self._muon.momentum.clear()
        for name, parameter in self._named:
            if name in self._matrices and f"{name}.{_MOMENTUM}" in tensors:
                self._muon.momentum[name] = tensors[f"{name}.{_MOMENTUM}"].to(parameter.device, copy=True)
            elif f"{name}.step" in tensors:
                # torch counts steps on the CPU, wherever the parameters are
                where = {key: "cpu" if key == "step" else parameter.device for key in _STATES}
                self._adam.state[parameter] = {
                    key: tensors[f"{name}.{key}"].to(where[key], copy=True) for key in _STATES
                }
