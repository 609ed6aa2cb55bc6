"""What a step of the dynamics is shown, asked for, and how much each token weighs, drawn for the whole batch at once.

So nothing that is drawn depends on the micro-batches.

Shapes: B windows, T frames, P tokens of a frame.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from models.networks.dynamics import change_weights, draw_mask, draw_noise
from models.runtime.cpu_parallel import micro_batches
from pipeline.config.world import DynamicsConfig

_UNTOUCHED = -1
"""In place of a random code, where noise leaves a token as it is."""


@dataclass(frozen=True)
class DynamicsInputs:
    """The inputs of a step, or of a micro-batch of it."""

    tokens_BTP: Tensor
    """The true tokens."""
    mask_BTP: Tensor
    """Which of them are hidden and predicted."""
    amount_B: Tensor
    """What each window weighs in the loss: its masked tokens, each by its weight; on the CPU."""
    own_B11: Tensor | None
    """Which windows are shown a guess of the dynamics; None: none."""
    noise_BTP: Tensor | None
    """Random codes where some are shown; None: nowhere."""
    weights_BTP: Tensor | None
    """Of each token in the loss; None: all alike."""

    @property
    def amount(self) -> float:
        """Return what all windows weigh in the loss."""
        return float(self.amount_B.sum())

    def parts(self, count: int) -> list[DynamicsInputs]:
        """Return the inputs of `count` micro-batches."""
        values = [getattr(self, field.name) for field in fields(self)]
        number = len(micro_batches(self.tokens_BTP, count))
        parts = [[None] * number if value is None else micro_batches(value, count) for value in values]
        return [DynamicsInputs(*part) for part in zip(*parts, strict=True)]

    def with_noise(self, seen_BTP: Tensor) -> Tensor:
        """Return tokens with the random codes among them."""
        if self.noise_BTP is None:
            return seen_BTP
        return torch.where(self.noise_BTP == _UNTOUCHED, seen_BTP, self.noise_BTP)


def draw_inputs(
    config: DynamicsConfig, tokens_BTP: Tensor, num_codes: int, generator: torch.Generator
) -> DynamicsInputs:
    """Draw the inputs of a step.

    Args:
        config: says what is drawn.
        tokens_BTP: the true tokens.
        num_codes: of the tokenizer.
        generator: of the step's noise, on the CPU.
    """
    device = tokens_BTP.device
    masked = draw_mask(config, tokens_BTP.shape, generator)
    mask = masked.to(device)
    own = noise = weights = None
    if config.own_frame_share:
        own = (torch.rand(len(tokens_BTP), 1, 1, generator=generator) < config.own_frame_share).to(device)
    if config.token_noise:
        noise = draw_noise(config, torch.full_like(tokens_BTP, _UNTOUCHED), mask, num_codes, generator)
    if config.changed_weight != 1:
        weights = change_weights(config, tokens_BTP)
        masked = (weights * mask).cpu()
    return DynamicsInputs(tokens_BTP, mask, masked.double().sum((1, 2)), own, noise, weights)
