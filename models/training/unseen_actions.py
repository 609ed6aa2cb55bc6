"""Lead the dynamics by latent actions that the footage never shows in a frame (`dynamics.unseen_actions`).

A player presses every key everywhere; footage does not. A latent action is what changed, so a fall is never seen on the
ground, nor a rise right under the top of the picture. A dynamics that has seen no such pair draws what no frame is
like: the character comes apart, and stays so (measured: docs/model.md). So a small classifier first learns which latent
actions follow a frame, from its tokens alone. Some transitions are then led by an action that the footage does not show
there, and whose nearest shown action is their own: the dynamics learns that such a key does what the nearest possible
action does. Pairs that the footage shows stay as they are.

Shapes: N frames, P tokens of a frame, K codes, A latent actions, L latent of an action, D width; B windows of T
frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.quantizer import PARKED

_WIDTH, _STEPS, _BATCH, _PEAK = 24, 500, 64, 5e-3
_ALL = slice(None)
_SHOWN = 0.01
"""An action of a lower probability is not shown in a frame."""
_LEAST_SCALE = 1e-6


class ActionPrior(nn.Module):
    """Tokens (N, P) of frames to logits (N, A) of the latent action that follows each.

    Convolutions see what stands around a place, and the largest answer of all places counts: a state is often told by
    what one place holds, say the character over nothing. Tokens are read as the tokenizer's codes, of which those of
    pictures alike are near: a prior that learned its own embeddings took actions that follow no frame for rare ones
    twice as long (measured).
    """

    codes_KL: Tensor

    def __init__(self, codebook_KL: Tensor, *, grid: tuple[int, int], num_actions: int) -> None:
        """Build it.

        Args:
            codebook_KL: rows of the tokenizer's codes.
            grid: rows and columns of tokens of a frame.
            num_actions: A.
        """
        super().__init__()
        self.grid = grid
        used = codebook_KL[:, 0] < PARKED / 2
        mean, scale = codebook_KL[used].mean(0), codebook_KL[used].std(0).clamp(min=_LEAST_SCALE)
        codes_KL = torch.where(used[:, None], (codebook_KL - mean) / scale, 0.0).float()
        self.register_buffer("codes_KL", codes_KL.detach().clone(), persistent=False)
        self.near = nn.Conv2d(codebook_KL.shape[1], _WIDTH, 3, padding=1)
        self.far = nn.Conv2d(_WIDTH, 2 * _WIDTH, 3, padding=1)
        self.head = nn.Linear(2 * _WIDTH, num_actions)

    def forward(self, tokens_NP: Tensor) -> Tensor:
        """Return the logits (N, A)."""
        x_NDHW = self.codes_KL[tokens_NP].transpose(1, 2).unflatten(2, self.grid)
        x_NDHW = F.relu(self.far(F.relu(self.near(x_NDHW))))
        return self.head(x_NDHW.amax((2, 3)))


def train_prior(prior: ActionPrior, transitions: Iterable[tuple[Tensor, Tensor]], generator: torch.Generator) -> None:
    """Train a prior on frames and the latent actions that followed them.

    Args:
        prior: fresh.
        transitions: tokens (..., P) of frames, and the latent action (...) that followed each.
        generator: of the order, on the CPU.
    """
    found = [(tokens.flatten(0, -2), codes.flatten()) for tokens, codes in transitions]
    tokens_NP, codes_N = (torch.cat(each) for each in zip(*found, strict=True))
    optimizer = torch.optim.AdamW(prior.parameters(), lr=_PEAK)
    for step in range(_STEPS):
        rows = torch.randint(len(tokens_NP), (_BATCH,), generator=generator).to(tokens_NP.device)
        optimizer.param_groups[0]["lr"] = _PEAK * (1 - step / _STEPS)
        loss = F.cross_entropy(prior(tokens_NP[rows]), codes_N[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class ShownActions(NamedTuple):
    """The latent actions of transitions, and those that the footage shows after the same frames."""

    codes_N: Tensor
    """The action of each transition."""
    shown_NA: Tensor
    """Which actions the footage shows after its frame, bool."""
    codes_AL: Tensor
    """Codebook rows of all actions."""


@torch.no_grad()
def shown_actions(prior: ActionPrior, tokens_BTP: Tensor, led_BTL: Tensor, codes_AL: Tensor) -> ShownActions:
    """Return the latent actions of windows.

    Args:
        prior: has learned.
        tokens_BTP: of their T frames.
        led_BTL: codebook rows of the T - 1 actions between them.
        codes_AL: of all actions.
    """
    own = torch.cdist(led_BTL.flatten(0, 1), codes_AL).argmin(1)
    probabilities = prior(tokens_BTP[:, :-1].flatten(0, 1)).softmax(1)
    return ShownActions(own, probabilities >= _SHOWN, codes_AL)


def with_unseen_actions(
    share: float, actions: ShownActions, generator: torch.Generator, rows: slice = _ALL, of: int | None = None
) -> Tensor:
    """Return latent actions of which a share, where it can be, is one that the footage does not show there.

    Args:
        share: of those transitions that can stand for an action that is not shown.
        actions: of the transitions (N).
        generator: of the step's noise, on the CPU.
        rows: which of the transitions of the batch these are.
        of: transitions of the batch; N by default.
    """
    codes_N, shown_NA, codes_AL = actions
    far = torch.cdist(codes_AL, codes_AL).expand(len(codes_N), -1, -1)
    own = F.one_hot(codes_N, len(codes_AL)).bool()
    # its own action is shown, whatever the prior says
    shown = shown_NA | own
    nearest_NA = far.masked_fill(~shown[:, None], torch.inf).argmin(2)
    stands_for = ~shown & (nearest_NA == codes_N[:, None])
    reach = stands_for.cumsum(1)
    at = (torch.rand(of or len(codes_N), 1, generator=generator)[rows].to(reach.device) * reach[:, -1:]).floor() + 1
    other = torch.searchsorted(reach, at.to(reach.dtype)).clamp(max=len(codes_AL) - 1)[:, 0]
    replaced = (torch.rand(of or len(codes_N), generator=generator)[rows] < share).to(reach.device) & (reach[:, -1] > 0)
    return torch.where(replaced, other, codes_N)
