"""Logits of many positions, a part at a time: in fp32 those of a large batch are the largest tensor of a training.

Of 256 windows of 16 frames of 920 tokens they are 15 GB in fp32, and the loss holds them three times over. Above
`LOGITS_AT_ONCE` they are computed in parts, and again in the backward pass, so that one part is there at a time. At or
below it nothing is divided, and every bit is as before.

Shapes: N positions, D width, K codes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pipeline.training_size.activations import LOGITS_AT_ONCE

NO_TARGET = -100
"""In place of the code of a position that the loss leaves out."""

Head = Callable[[Tensor], Tensor]


def rows_at_once(num_codes: int) -> int:
    """Return of how many positions logits are held at a time."""
    return max(1, LOGITS_AT_ONCE // num_codes)


def cross_entropy(head: Head, hidden_ND: Tensor, targets_N: Tensor, weights_N: Tensor | None, num_codes: int) -> Tensor:
    """Return the mean cross-entropy (nat), weighted where there are weights.

    Args:
        head: hidden states to logits.
        hidden_ND: hidden states of the positions.
        targets_N: their codes; `NO_TARGET` where a position does not count.
        weights_N: fp32; 0 where a position does not count.
        num_codes: K.
    """
    part = rows_at_once(num_codes)
    if len(hidden_ND) > part:
        counted = (targets_N != NO_TARGET).float() if weights_N is None else weights_N
        parts = zip(hidden_ND.split(part), targets_N.split(part), counted.split(part), strict=True)
        sums = [checkpoint(_weighted_sum, head, *each, use_reentrant=False, preserve_rng_state=False) for each in parts]
        return torch.stack(sums).sum() / counted.sum()
    logits = head(hidden_ND).float()
    if weights_N is None:
        return F.cross_entropy(logits, targets_N, ignore_index=NO_TARGET)
    losses = F.cross_entropy(logits, targets_N, ignore_index=NO_TARGET, reduction="none")
    return losses @ weights_N / weights_N.sum()


def likeliest(head: Head, hidden: Tensor, num_codes: int) -> Tensor:
    """Return the likeliest code (...) of each hidden state (..., D)."""
    rows = rows_at_once(num_codes)
    if hidden.shape[:-1].numel() <= rows:
        return head(hidden).argmax(-1)
    found = [head(part).argmax(-1) for part in hidden.flatten(0, -2).split(rows)]
    return torch.cat(found).view(hidden.shape[:-1])


def _weighted_sum(head: Head, hidden_ND: Tensor, targets_N: Tensor, weights_N: Tensor) -> Tensor:
    losses = F.cross_entropy(head(hidden_ND).float(), targets_N, ignore_index=NO_TARGET, reduction="none")
    return losses @ weights_N
