"""What the sampler knew when it drew a frame: how sure it was of each token, and how far another draw would have been.

Both come from the logits that the sampler computed anyway.

The disagreement compares the drawn frame with what another seed would have drawn at temperature 1 from the same past.
It is the mean over all other seeds, not a sample of one: the logits of the first step, when no token is known yet, are
each token's distribution over seeds. A second sample would be a noisy estimate of the same number.

Shapes: B worlds, P tokens of a frame, K codes, L latent of a code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.networks.quantizer import PARKED


class DrawRecord:
    """The distributions that the tokens of one frame were drawn from, reduced to a few numbers each."""

    def __init__(self, codebook_KL: Tensor) -> None:
        """Record nothing yet.

        Args:
            codebook_KL: the tokenizer's rows, which say how far two codes lie apart. Parked rows, which no latent is
                near, count as the mean of the others.
        """
        rows_KL = codebook_KL.float()
        near_K = rows_KL.abs().amax(1) < PARKED / 2
        mean_L = rows_KL[near_K].mean(0)
        self._rows_KL = torch.where(near_K[:, None], rows_KL - mean_L, 0)
        # the mean squared distance of two codes that are drawn at random
        self._unrelated = (2 * self._rows_KL.square().sum() / near_K.sum()).clamp(min=1e-12)
        self._entropy_BP: Tensor | None = None
        self._mean_BPL: Tensor | None = None
        self._square_BP: Tensor | None = None

    def add_step(self, logits_BPK: Tensor, fixed_BP: Tensor) -> None:
        """Record a step of the sampler.

        Args:
            logits_BPK: float32 logits, before any temperature.
            fixed_BP: mask of the tokens that this step fixed.
        """
        log_BPK = logits_BPK.log_softmax(-1)
        share_BPK = log_BPK.exp()
        # a logit of -inf has share 0, and 0 times -inf would be nan
        entropy_BP = -(share_BPK * log_BPK.clamp(min=-1e4)).sum(-1)
        if self._entropy_BP is None:
            self._entropy_BP = torch.zeros_like(entropy_BP)
            with torch.autocast(logits_BPK.device.type, enabled=False):
                self._mean_BPL = share_BPK @ self._rows_KL
                self._square_BP = share_BPK @ self._rows_KL.square().sum(1)
        self._entropy_BP = torch.where(fixed_BP, entropy_BP, self._entropy_BP)

    def entropy(self) -> Tensor:
        """Return the entropy (B, P) in nats of each token's distribution when it was fixed; 0 for given tokens."""
        assert self._entropy_BP is not None, "nothing was drawn"
        return self._entropy_BP

    def disagreement(self, drawn_BP: Tensor) -> Tensor:
        """Return the mean squared distance (B, P) of each drawn token's code to the code that another seed draws.

        A token that every seed draws alike has 0; one that differs counts by how far its code lies from the other. Two
        codes that have nothing to do with each other have 1 on average.
        """
        assert self._mean_BPL is not None, "nothing was drawn"
        assert self._square_BP is not None
        rows_BPL = self._rows_KL[drawn_BP]
        distance_BP = self._square_BP - 2 * (rows_BPL * self._mean_BPL).sum(-1) + rows_BPL.square().sum(-1)
        return distance_BP.clamp(min=0) / self._unrelated
