"""What a step of the dynamics is shown, asked for, and how much each token weighs, drawn for the whole batch at once.

So nothing that is drawn depends on micro-batches, or on the number of processes that train together: each of these
draws for the whole batch, and keeps what belongs to its windows.

Shapes: B windows, T frames, P tokens of a frame, L latent of an action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from models.networks.dynamics import Dynamics, change_weights, draw_mask, draw_noise, self_predicted_tokens
from models.runtime.cpu_parallel import micro_batches
from models.training.own_past import OwnPast, Rollouts, draw_rollouts, with_own_past
from models.training.recalled import NOT_RECALLED
from models.training.unseen_actions import ShownActions, with_unseen_actions
from pipeline.config.world import DynamicsConfig

ALL = slice(None)
_UNTOUCHED = -1
"""In place of a random code, where noise leaves a token as it is."""


@dataclass(frozen=True)
class DynamicsInputs:
    """The inputs of a step, or of a micro-batch of it."""

    tokens_BTP: Tensor
    """The true tokens."""
    actions_BTL: Tensor
    """Codebook rows of the latent actions between the frames."""
    mask_BTP: Tensor
    """Which of them are hidden and predicted."""
    amount_B: Tensor
    """What each window weighs in the loss: its masked tokens, each by its weight; on the CPU."""
    own_B11: Tensor | None
    """Which windows are shown one guess of the dynamics; None: none."""
    own_past: OwnPast | None
    """The rollouts that end the visible past of some windows; None: there are none."""
    noise_BTP: Tensor | None
    """Random codes where some are shown; None: nowhere."""
    weights_BTP: Tensor | None
    """Of each token in the loss; None: all alike."""
    recalled_BTP: Tensor | None
    """Predicted tokens that are shown in place of true ones (`models.training.recalled`); None: nowhere."""

    @property
    def amount(self) -> float:
        """Return what all windows weigh in the loss."""
        return float(self.amount_B.sum())

    def parts(self, count: int) -> list[DynamicsInputs]:
        """Return the inputs of `count` parts of the batch, or of as many as there are windows."""
        number = min(count, len(self.tokens_BTP))

        def split(value: Tensor | OwnPast | None) -> list[Any]:
            if isinstance(value, OwnPast):
                return [OwnPast(*part) for part in zip(*(micro_batches(each, count) for each in value), strict=True)]
            return [None] * number if value is None else micro_batches(value, count)

        values = (split(getattr(self, field.name)) for field in fields(self))
        return [DynamicsInputs(*part) for part in zip(*values, strict=True)]

    def with_noise(self, seen_BTP: Tensor) -> Tensor:
        """Return tokens with the random codes among them."""
        if self.noise_BTP is None:
            return seen_BTP
        return torch.where(self.noise_BTP == _UNTOUCHED, seen_BTP, self.noise_BTP)


def draw_inputs(
    config: DynamicsConfig,
    tokens_BTP: Tensor,
    actions_BTL: Tensor,
    num_codes: int,
    generator: torch.Generator,
    begin: Callable[[Rollouts], OwnPast],
    shown: ShownActions | None,
    recall: Callable[[Tensor, Tensor], Tensor],
    lanes: slice = ALL,
) -> DynamicsInputs:
    """Draw the inputs of a step.

    Args:
        config: says what is drawn.
        tokens_BTP: the true tokens, of the windows of this rank.
        actions_BTL: codebook rows of the latent actions between the frames.
        num_codes: of the tokenizer.
        generator: of the step's noise, on the CPU.
        begin: returns what rollouts begin with; called where `own_frames` asks for some.
        shown: which latent actions the footage shows where; None without `unseen_actions`.
        recall: returns what was predicted, by which windows (B,) are shown it and what is masked, as of
            `RecalledFrames.shown`; called where `recalled_share` asks for some.
        lanes: which windows of the batch (`config.batch`) these are; all: the batch is those that are given.
    """
    device = tokens_BTP.device
    batch = len(tokens_BTP) if lanes == ALL else config.batch
    drawn = draw_mask(config, (batch, *tokens_BTP.shape[1:]), generator)
    masked = drawn[lanes]
    mask = masked.to(device)
    own = own_past = noise = weights = recalled = None
    if config.own_frames > 1:
        own_past = begin(Rollouts(*(part[lanes] for part in draw_rollouts(config, drawn, generator))))
    elif config.own_frame_share:
        own = (torch.rand(batch, 1, 1, generator=generator)[lanes] < config.own_frame_share).to(device)
    if config.token_noise:
        untouched = torch.full(drawn.shape, _UNTOUCHED)
        noise = draw_noise(config, untouched, drawn, num_codes, generator)[lanes].to(device)
    if config.changed_weight != 1:
        weights = change_weights(config, tokens_BTP)
        masked = (weights * mask).cpu()
    if shown is not None:
        steps = actions_BTL.shape[1]
        rows = ALL if lanes == ALL else slice(lanes.start * steps, lanes.stop * steps)
        codes = with_unseen_actions(config.unseen_actions, shown, generator, rows, batch * steps)
        actions_BTL = shown.codes_AL[codes].view_as(actions_BTL)
    if config.recalled_share:
        recalled = recall((torch.rand(batch, generator=generator) < config.recalled_share)[lanes], mask)
    amount = masked.double().sum((1, 2))
    return DynamicsInputs(tokens_BTP, actions_BTL, mask, amount, own, own_past, noise, weights, recalled)


def dynamics_loss(dynamics: Dynamics, inputs: DynamicsInputs) -> tuple[Tensor, Tensor | None]:
    """Return the mean cross-entropy (nat) of what a step asks for, and its tokens as predicted where they are kept."""
    seen, rows, mask = inputs.tokens_BTP, inputs.actions_BTL, inputs.mask_BTP
    if inputs.own_past is not None:
        seen = with_own_past(dynamics, seen, inputs.own_past)
    if inputs.own_B11 is not None:
        seen = torch.where(inputs.own_B11, self_predicted_tokens(dynamics, seen, rows, mask), seen)
    if inputs.recalled_BTP is not None:
        seen = torch.where(inputs.recalled_BTP == NOT_RECALLED, seen, inputs.recalled_BTP)
    seen = inputs.with_noise(seen)
    if not inputs.amount:
        mask = torch.ones_like(mask)  # what weighs nothing still has a loss, which is a number
    keeps = inputs.recalled_BTP is not None
    return dynamics.loss_and_guess(inputs.tokens_BTP, rows, mask, seen, inputs.weights_BTP, guess=keeps)
