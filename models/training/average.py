"""Average the weights of a training over its steps (EMA): `training.ema_decay`.

    averaged = AveragedTraining(training, decay=0.999)
    run(averaged, checkpoints, ...)        # takes the same steps; checkpoints hold the averages too
    averaged.use()                         # the networks now have the averaged weights

The decay rises with the steps, (1 + t) / (10 + t) up to the one that is set, so that a short run does not average its
random start. Codebooks are as they are after the last step: codes are moved by averages of their own, and by jumps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.runtime.weights import WeightsError, part_of, prefixed
from models.training.loop import Trainable
from models.training.optimizer import Optimizer

_PREFIX = "average"


class AveragedTraining:
    """A training whose weights are averaged beside it; its steps are those of the training alone."""

    def __init__(self, training: Trainable, decay: float) -> None:
        """Average from the step on in which all networks learn."""
        self._training, self._decay = training, decay
        self.total_steps, self.alone_steps = training.total_steps, training.alone_steps
        self._averages: dict[str, Tensor] = {}

    def initialize(self) -> None:
        """Initialize the networks."""
        self._training.initialize()

    def step(self, step: int) -> dict[str, float]:
        """Take a step of the training, then one of the averages; metrics and errors as of the training's."""
        metrics = self._training.step(step)
        self._average(step)
        return metrics

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks, with their own weights until `use`."""
        return self._training.networks()

    def optimizers(self) -> dict[str, Optimizer]:
        """Return the training's optimizers."""
        return self._training.optimizers()

    def tensors(self) -> dict[str, Tensor]:
        """Return the training's tensors and the averages."""
        return {**self._training.tensors(), **prefixed(_PREFIX, self._averages)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load a checkpoint; from one without averages, they begin with the next step's weights."""
        averages, weights = part_of(_PREFIX, tensors), self._weights()
        self._training.load(without_averages(tensors))
        if averages and {name: each.shape for name, each in averages.items()} != {
            name: each.shape for name, each in weights.items()
        }:
            raise WeightsError("its averages are not those of the networks of its settings")
        self._averages = {name: each.to(weights[name].device, copy=True) for name, each in averages.items()}

    def finish(self) -> None:
        """Make the networks whole after the last step."""
        self._training.finish()

    def about(self) -> dict[str, Any]:
        """Return what the training's checkpoint tells."""
        return self._training.about()

    def load_about(self, about: Mapping[str, Any]) -> None:
        """Load what `about` returned."""
        self._training.load_about(about)

    @torch.no_grad()
    def use(self) -> None:
        """Put the averages in the place of the weights."""
        weights = self._weights()
        for name, average in self._averages.items():
            weights[name].copy_(average)

    @torch.no_grad()
    def _average(self, step: int) -> None:
        since, weights = step - self.alone_steps, self._weights()
        if since < 0:
            return
        if not self._averages:
            self._averages = {name: weight.detach().clone() for name, weight in weights.items()}
            return
        kept = min(self._decay, (1 + since) / (10 + since))
        for name, weight in weights.items():
            self._averages[name].lerp_(weight, 1 - kept)

    def _weights(self) -> dict[str, nn.Parameter]:
        return {
            f"{name}.{own}": parameter
            for name, network in self._training.networks().items()
            for own, parameter in network.named_parameters()
            if not own.endswith("codebook")
        }


def without_averages(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint but the averages."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{_PREFIX}.")}
