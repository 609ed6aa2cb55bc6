"""Vector quantization: a latent becomes the nearest row of a codebook, and its index the token.

Two ways to learn the rows: by gradient (VQ-VAE's loss), or by following the mean of the latents that chose them
(EMA). Everything that changes the codebook in place happens in `update`, after the optimizer's step: inside the
forward pass it would break the backward pass.

Shapes: K codes, L latent values, ... anything before.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PARKED = 1e3
"""Value of the codes that a data-driven start leaves unused: too far from any latent to be chosen."""


class Quantized(NamedTuple):
    """What quantization gives."""

    straight: Tensor
    """(..., L) codebook rows whose gradient goes to the latents as if nothing had happened (straight-through)."""
    codes: Tensor
    """(...) indices, int64."""
    loss: Tensor
    """Commitment, plus the codebook's own loss where it learns by gradient."""


class VectorQuantizer(nn.Module):
    """A codebook of K rows."""

    codebook: Tensor

    def __init__(
        self, num_codes: int, latent_dim: int, *, commitment: float, ema_decay: float = 0.0, restart_below: float = 0.0
    ) -> None:
        """Make a random codebook.

        Args:
            num_codes: K.
            latent_dim: L.
            commitment: weight of the pull of latents towards their rows.
            ema_decay: 0 learns rows by gradient; otherwise the decay of counts and sums that rows follow.
            restart_below: decayed count under which `update` moves a row to a latent of the batch; 0 never.
        """
        super().__init__()
        self.commitment, self.ema_decay, self.restart_below = commitment, ema_decay, restart_below
        rows = torch.randn(num_codes, latent_dim)
        if ema_decay:
            self.register_buffer("codebook", rows)
            self.register_buffer("counts", torch.ones(num_codes))
            self.register_buffer("sums", rows.clone())
        else:
            self.codebook = nn.Parameter(rows)

    def start(self, rows_KL: Tensor, counts_K: Tensor | None = None) -> None:
        """Start from data: the first rows are given, the others are parked out of reach."""
        with torch.no_grad():
            self.codebook.fill_(PARKED)
            self.codebook[: len(rows_KL)] = rows_KL
            if self.ema_decay:
                self.counts.zero_()
                self.counts[: len(rows_KL)] = 1.0 if counts_K is None else counts_K
                self.sums.copy_(self.codebook * self.counts[:, None])

    def nearest(self, latents: Tensor) -> Tensor:
        """Return the indices (...) of the nearest rows, by squared distance in fp32."""
        flat = latents.detach().reshape(-1, latents.shape[-1]).float()
        rows = self.codebook.detach().float()
        # parked rows are never nearest: leaving them out spares most of the work after a data-driven start
        reachable = (rows[:, 0] < PARKED / 2).nonzero()[:, 0]
        rows = rows[reachable]
        with torch.autocast(flat.device.type, enabled=False):
            distance = rows.square().sum(1) - 2 * flat @ rows.T
        return reachable[distance.argmin(1)].view(latents.shape[:-1])

    def lookup(self, codes: Tensor) -> Tensor:
        """Return the rows (..., L) of indices, fp32."""
        return F.embedding(codes, self.codebook)

    def forward(self, latents: Tensor) -> Quantized:
        latents = latents.float()
        codes = self.nearest(latents)
        rows = self.lookup(codes)
        loss = self.commitment * F.mse_loss(latents, rows.detach())
        if not self.ema_decay:
            loss = loss + F.mse_loss(rows, latents.detach())
        return Quantized(latents + (rows - latents).detach(), codes, loss)

    @torch.no_grad()
    def update(self, latents: Tensor, codes: Tensor, generator: torch.Generator | None = None) -> None:
        """Move the rows towards the latents that chose them (EMA only); call it after the optimizer's step."""
        if not self.ema_decay:
            return
        flat, chosen = latents.detach().reshape(-1, latents.shape[-1]).float(), codes.reshape(-1)
        counts = torch.bincount(chosen, minlength=len(self.codebook)).to(flat.dtype)
        sums = torch.zeros_like(self.sums).index_add_(0, chosen, flat)
        self.counts.lerp_(counts, 1 - self.ema_decay)
        self.sums.lerp_(sums, 1 - self.ema_decay)
        used = counts > 0
        self.codebook[used] = self.sums[used] / self.counts[used, None]
        if self.restart_below:
            for row in (self.counts < self.restart_below).nonzero()[:, 0].tolist():
                pick = int(torch.randint(len(flat), (1,), generator=generator))
                self.codebook[row] = flat[pick]
                self.counts[row] = 1.0
                self.sums[row] = flat[pick]


def usage(codes: Tensor, num_codes: int) -> tuple[int, float]:
    """Return how many codes occur, and their perplexity (the number of evenly used codes of the same entropy)."""
    share = torch.bincount(codes.reshape(-1), minlength=num_codes).double()
    share = share[share > 0] / share.sum()
    return len(share), float(torch.exp(-(share * share.log()).sum()))
