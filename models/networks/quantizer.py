"""Quantization: a latent becomes one of K rows, and the row's index the token.

`vq` learns the rows, by gradient (VQ-VAE's loss) or as a moving average of the latents that chose them (EMA); a row
that no latent chooses can move to a latent of the batch. `fsq` (finite scalar quantization, Mentzer et al. 2023) has
nothing to learn: each latent value is rounded to one of a few levels, and the rows are the lattice of all of them.

Everything that changes a codebook in place happens in `update`, after the optimizer's step: inside the forward pass
it would break the backward pass. The decayed counts behind it are in the state dict, and so in checkpoints.

Shapes: K codes, L latent values, N samples, ... anything before.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.logits import rows_at_once
from pipeline.config.world import LatentActionConfig, TokenizerConfig

PARKED = 1e3
"""Value of codes that initialization from data leaves unused: too far from any latent to be chosen."""

_COUNT_DECAY = 0.99
"""Decay of the counts behind restarts where there is no EMA: about the last hundred steps."""
_BOUND_SLACK = 1e-3
"""Share by which FSQ's bound is tighter than the outermost levels, which tanh would reach only at infinity."""


class Quantized(NamedTuple):
    """The result of quantization."""

    straight: Tensor
    """(..., L) codebook rows whose gradient goes to the latents as if nothing had happened (straight-through)."""
    codes: Tensor
    """(...) indices, int64."""
    loss: Tensor
    """Commitment, plus the codebook's own loss where it learns by gradient; as of values of variance 1."""


class Samples(NamedTuple):
    """Where the latents of an update lie among those of all processes that train together."""

    first: int
    """Number of the first one here."""
    size: int
    """Number of those of all processes."""
    total: Callable[[Tensor], Tensor]
    """Returns the sum of a tensor over all processes."""


class Quantizer(nn.Module, ABC):
    """Latents (..., L) to codes (...), and codes to rows (..., L)."""

    def __init__(self, num_codes: int, latent_dim: int) -> None:
        super().__init__()
        self.num_codes, self.latent_dim = num_codes, latent_dim
        self.needs_latents = False
        """Whether `update` does anything with the latents of a step."""

    @abstractmethod
    def forward(self, latents: Tensor) -> Quantized:
        """Quantize latents (..., L)."""

    @abstractmethod
    def nearest(self, latents: Tensor) -> Tensor:
        """Return the indices (...), int64, of the rows that latents (..., L) become."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """Return the rows (..., L), fp32, of indices."""

    @abstractmethod
    def rows(self) -> Tensor:
        """Return all rows (K, L), detached."""

    def update(
        self,
        latents: Tensor,
        codes: Tensor,
        generator: torch.Generator | None = None,
        among: Samples | None = None,
    ) -> None:
        """Change what does not learn by gradient; call it after the optimizer's step.

        Args:
            latents: (..., L) of the step, before quantization.
            codes: (...) that they became.
            generator: of the draws, on the CPU.
            among: of which these are a part, where several processes train together: all of them call this, and the
                change is the same on each.
        """


class VectorQuantizer(Quantizer):
    """A codebook (K, L) that is learned: the VQ of VQ-VAE (Genie appendices C and D: 1024 x 32 and 8 x 32)."""

    codebook: Tensor
    """(K, L): a parameter where rows learn by gradient, else a buffer."""
    counts: Tensor
    """(K,) decayed counts of choices a step; there with `ema_decay` or `restart_below`."""
    sums: Tensor
    """(K, L) decayed sums of the latents that chose each row; there with `ema_decay`."""

    def __init__(
        self,
        num_codes: int,
        latent_dim: int,
        *,
        commitment: float,
        ema_decay: float = 0.0,
        restart_below: float = 0.0,
        cosine: bool = False,
    ) -> None:
        """Make a random codebook.

        Args:
            num_codes: K.
            latent_dim: L.
            commitment: weight of the pull of latents towards their rows.
            ema_decay: 0 learns rows by gradient; otherwise the decay of counts and sums that rows follow.
            restart_below: decayed count a step under which `update` moves a row to a latent of the batch; 0 never.
            cosine: bring latents and rows to length 1, so that the nearest row is the one of the same direction.
        """
        super().__init__(num_codes, latent_dim)
        self.commitment, self.ema_decay, self.restart_below = commitment, ema_decay, restart_below
        self.cosine, self.needs_latents = cosine, bool(ema_decay or restart_below)
        rows = self._scaled(torch.randn(num_codes, latent_dim))
        if ema_decay:
            self.register_buffer("codebook", rows)
            self.register_buffer("counts", torch.ones(num_codes))
            self.register_buffer("sums", rows.clone())
        else:
            self.codebook = nn.Parameter(rows)
            if restart_below:
                self.register_buffer("counts", torch.ones(num_codes))

    def _scaled(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) if self.cosine else x

    def initialize(self, rows_KL: Tensor, counts_K: Tensor | None = None) -> None:
        """Set the first rows, and their counts (1 by default); the others are parked out of reach.

        No direction is out of reach: by cosine the others are copies of the first ones, which are chosen before them.
        """
        with torch.no_grad():
            copies = torch.arange(self.num_codes, device=rows_KL.device) % len(rows_KL)
            self.codebook.copy_(rows_KL[copies] if self.cosine else torch.full_like(self.codebook, PARKED))
            self.codebook[: len(rows_KL)] = rows_KL
            if self.ema_decay or self.restart_below:
                self.counts.zero_()
                self.counts[: len(rows_KL)] = 1.0 if counts_K is None else counts_K
            if self.ema_decay:
                self.sums.copy_(self.codebook * self.counts[:, None])

    def nearest(self, latents: Tensor) -> Tensor:
        """Return the indices (...) of the nearest rows, by squared distance in fp32."""
        flat = self._scaled(latents.detach().reshape(-1, latents.shape[-1]).float())
        # parked rows are never nearest: leaving them out saves most of the work after initialization from data
        rows = self.rows().float()
        reachable = (rows[:, 0] < PARKED / 2).nonzero()[:, 0]
        rows = rows[reachable]
        with torch.autocast(flat.device.type, enabled=False):
            parts = flat.split(rows_at_once(self.num_codes))
            nearest = [(rows.square().sum(1) - 2 * part @ rows.T).argmin(1) for part in parts]
        return reachable[torch.cat(nearest)].view(latents.shape[:-1])

    def lookup(self, codes: Tensor) -> Tensor:
        """Return the rows (..., L) of indices, fp32; of length 1 where `cosine`."""
        return self._scaled(F.embedding(codes, self.codebook))

    def rows(self) -> Tensor:
        """Return all rows (K, L), parked ones included."""
        return self._scaled(self.codebook.detach())

    def forward(self, latents: Tensor) -> Quantized:
        latents = self._scaled(latents.float())
        codes = self.nearest(latents)
        rows = self.lookup(codes)
        loss = self.commitment * F.mse_loss(latents, rows.detach())
        if not self.ema_decay:
            loss = loss + F.mse_loss(rows, latents.detach())
        if self.cosine:
            # values of vectors of length 1 are that much smaller than values of variance 1: unweighted, little holds
            # latents near their codes (a perplexity of 192 after 60 steps, where it is 376 with the weight; measured)
            loss = loss * self.latent_dim
        return Quantized(latents + (rows - latents).detach(), codes, loss)

    @torch.no_grad()
    def update(
        self,
        latents: Tensor,
        codes: Tensor,
        generator: torch.Generator | None = None,
        among: Samples | None = None,
    ) -> None:
        """Move rows towards the latents that chose them (EMA), and idle rows to latents of the batch (restart)."""
        if not self.needs_latents:
            return
        flat = self._scaled(latents.detach().reshape(-1, latents.shape[-1]).float())
        chosen = codes.reshape(-1)
        among = among or Samples(0, len(flat), lambda own: own)
        counts = among.total(torch.bincount(chosen, minlength=self.num_codes).to(flat.dtype))
        self.counts.lerp_(counts, 1 - (self.ema_decay or _COUNT_DECAY))
        if self.ema_decay:
            sums = among.total(torch.zeros_like(self.sums).index_add_(0, chosen, flat))
            self.sums.lerp_(sums, 1 - self.ema_decay)
            used = counts > 0
            self.codebook[used] = self._scaled(self.sums[used] / self.counts[used, None])
        if self.restart_below:
            self._restart(flat, generator, among)

    def _restart(self, latents_NL: Tensor, generator: torch.Generator | None, among: Samples) -> None:
        idle = (self.counts < self.restart_below).nonzero()[:, 0]
        drawn = torch.randint(among.size, (len(idle),), generator=generator).to(idle.device) - among.first
        # each process gives the latents that lie with it, and zeros for the others
        own = (drawn >= 0) & (drawn < len(latents_NL))
        picked = latents_NL.new_zeros(len(idle), self.latent_dim)
        picked[own] = latents_NL[drawn[own]]
        picked = among.total(picked)
        self.codebook[idle] = picked
        self.counts[idle] = 1.0
        if self.ema_decay:
            self.sums[idle] = picked


class FiniteScalarQuantizer(Quantizer):
    """The lattice of all combinations of a few levels a value (FSQ): no parameters, no loss, no row to die.

    A value is bounded by tanh so that rounding it gives exactly its number of levels, then rounded. An even number of
    levels lies half a step off 0: the offset goes into the tanh as well, so that a latent of 0 stays 0. Rows lie in
    [-1, 1]; the index of a row counts its levels in mixed radix, the first value fastest.
    """

    levels_L: Tensor
    radix_L: Tensor

    def __init__(self, levels: tuple[int, ...]) -> None:
        """Lay the lattice of `levels` (each at least 3), L of them; K is their product."""
        super().__init__(math.prod(levels), len(levels))
        radix = [math.prod(levels[:place]) for place in range(len(levels))]
        # made from the levels: no part of the state dict
        self.register_buffer("levels_L", torch.tensor(levels), persistent=False)
        self.register_buffer("radix_L", torch.tensor(radix), persistent=False)

    def bounded(self, latents: Tensor) -> Tensor:
        """Return latents (..., L) in units of a level, such that each rounds to one of its levels."""
        reach = (self.levels_L - 1) * (1 - _BOUND_SLACK) / 2
        offset = (self.levels_L % 2 == 0) / 2
        return torch.tanh(latents.float() + torch.atanh(offset / reach)) * reach - offset

    def index_of(self, rows: Tensor) -> Tensor:
        """Return the indices (...), int64, of rows (..., L) of the lattice."""
        half = self.levels_L // 2
        return (((rows * half).round().long() + half) * self.radix_L).sum(-1)

    def nearest(self, latents: Tensor) -> Tensor:
        """Return the indices (...) of the lattice points nearest to the bounded latents."""
        return self.index_of(self.bounded(latents.detach()).round() / (self.levels_L // 2))

    def lookup(self, codes: Tensor) -> Tensor:
        """Return the rows (..., L) of indices, fp32 in [-1, 1]."""
        half = self.levels_L // 2
        return (codes[..., None] // self.radix_L % self.levels_L - half) / half

    def rows(self) -> Tensor:
        """Return the lattice (K, L)."""
        return self.lookup(torch.arange(self.num_codes, device=self.levels_L.device))

    def forward(self, latents: Tensor) -> Quantized:
        values = self.bounded(latents) / (self.levels_L // 2)
        codes = self.nearest(latents)
        straight = values + (self.lookup(codes) - values).detach()
        return Quantized(straight, codes, straight.new_zeros(()))


def make_quantizer(config: TokenizerConfig) -> Quantizer:
    """Return the quantizer that a tokenizer's section asks for."""
    if config.quantizer == "fsq":
        return FiniteScalarQuantizer(config.fsq_levels)
    return make_vector_quantizer(config, config.codebook_size)


def make_vector_quantizer(config: TokenizerConfig | LatentActionConfig, num_codes: int) -> VectorQuantizer:
    """Return a codebook of a section's settings."""
    return VectorQuantizer(
        num_codes,
        config.latent_dim,
        commitment=config.commitment,
        ema_decay=config.ema_decay,
        restart_below=config.restart_below,
        cosine=config.cosine,
    )


def usage(codes: Tensor, num_codes: int) -> tuple[int, float]:
    """Return how many codes occur, and their perplexity (the number of evenly used codes of the same entropy)."""
    return usage_of(torch.bincount(codes.reshape(-1), minlength=num_codes))


def usage_of(counts_K: Tensor) -> tuple[int, float]:
    """Return `usage` of the numbers of times that the codes occur."""
    share = counts_K.double()
    share = share[share > 0] / share.sum()
    return len(share), float(torch.exp(-(share * share.log()).sum()))
