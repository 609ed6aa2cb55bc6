"""The dynamics: a decoder-only MaskGIT over tokens, conditioned on latent actions (Genie section 2.1).

Input z_1..z_T with some tokens of frames 2..T masked; the logits at a masked position predict its own token (no
shift), so a frame can be refined in several steps. The paper's text masks z_2..z_T-1 and predicts z_2..z_T. Read
literally, that is a shifted model without the present frame in its input, which more steps cannot refine. Here frames
2..T are masked, frame 1 never is, and the loss is that of the masked tokens.

a_t is the change from frame t to frame t + 1, so frame t + 1 is conditioned on it; frame 1 has none.
`action_injection` says how: `add` its embedding to every token (the paper); `prepend` it to the frame as one more
token, a learned one for frame 1; `film`: it scales and shifts every embedded token, except in frame 1, and the scales
start at 0. Whatever the way, embeddings of actions start as large as those of tokens (`scale_action_embeddings`).
Latent actions are detached: the LAM learns by its own loss alone.

Shapes: B windows, T frames, P tokens of a frame, K codes, D width, L latent of an action.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.frame_cache import FrameCache
from models.networks.logits import NO_TARGET, cross_entropy, likeliest, rows_at_once
from models.networks.quantizer import PARKED
from models.networks.transformer import STTransformer
from pipeline.config.world import DynamicsConfig

_SIZES = 8
_LEAST_SIZE = 1e-12
"""Of embeddings of actions whose codes are all 0: they stay at 0."""


class Dynamics(nn.Module):
    """Tokens (B, T, P) and latent actions (B, T-1, L) to logits (B, T, P, K): a decoder-only MaskGIT (section 2.1)."""

    def __init__(self, config: DynamicsConfig, *, num_codes: int, grid: tuple[int, int], action_dim: int) -> None:
        """Build the dynamics.

        Args:
            config: its sizes.
            num_codes: K of the tokenizer; index K is the mask.
            grid: rows and columns of tokens of a frame.
            action_dim: L of the LAM's codebook.
        """
        super().__init__()
        self.config, self.mask_id, self.grid = config, num_codes, grid
        d, injection = config.stack.d_model, config.action_injection
        self.embed = nn.Embedding(num_codes + 1, d)
        nn.init.normal_(self.embed.weight, std=0.02 if config.embedding_start == "random" else 0.2)
        self.embed_action = nn.Linear(action_dim, 2 * d if injection == "film" else d)
        # the configuration refuses convolutions with a prepended action, so this grid is never used as an image
        tokens = (1, grid[0] * grid[1] + 1) if injection == "prepend" else grid
        self.transformer = STTransformer(config.stack, tokens, config.context)
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, num_codes)
        if injection == "prepend":
            self.no_action = nn.Parameter(torch.randn(d) * 0.02)
        nn.init.zeros_(self.embed_action.bias)
        if injection == "film":
            # scales start at 0, and shifts like added embeddings
            nn.init.zeros_(self.embed_action.weight[:d])

    def hidden(
        self, tokens_BTP: Tensor, actions_BTL: Tensor, cache: FrameCache | None = None, keep: bool = False
    ) -> Tensor:
        """Return the normalised residual stream (B, T, P, D) before the head.

        Args:
            tokens_BTP: int64, `mask_id` where masked; with a cache, of the frames after those that it holds.
            actions_BTL: latent actions of the transitions to these frames; there is none to the window's first.
            cache: holds the frames before them.
            keep: whether to cache these frames too.
        """
        actions = self.embedded_actions(actions_BTL, first=cache is None or not cache.length)
        x_BTPD = self.conditioned(self.embed(tokens_BTP), actions)
        x_BTPD = self.transformer(x_BTPD, cache, keep)
        if self.config.action_injection == "prepend":
            x_BTPD = x_BTPD[:, :, 1:]
        return self.norm(x_BTPD)

    def embedded_actions(self, actions_BTL: Tensor, first: bool) -> Tensor:
        """Return what `conditioned` takes for frames: (B, T, 1, D), or (B, T, 1, 2 D) for `film`.

        Args:
            actions_BTL: latent actions of the transitions to these frames.
            first: whether there is one more frame, the first of a window, which no action leads to.
        """
        actions = self.embed_action(actions_BTL)[:, :, None]
        if first and self.config.action_injection == "prepend":
            none = self.no_action.to(actions.dtype).expand(len(actions), 1, 1, -1)
            return torch.cat([none, actions], 1)
        return F.pad(actions, (0, 0, 0, 0, 1, 0)) if first else actions

    def conditioned(self, x_BTPD: Tensor, actions: Tensor) -> Tensor:
        """Return embedded tokens conditioned on `embedded_actions`; with `prepend` a frame has one more token."""
        if self.config.action_injection == "prepend":
            return torch.cat([actions.to(x_BTPD.dtype), x_BTPD], 2)
        if self.config.action_injection == "film":
            scale, shift = actions.chunk(2, -1)
            # not x * (1 + scale): in bf16 the sum loses what is small beside 1
            return x_BTPD + x_BTPD * scale + shift
        return x_BTPD + actions

    def forward(self, tokens_BTP: Tensor, actions_BTL: Tensor) -> Tensor:
        """Return the logits (B, T, P, K) of every position."""
        return self.head(self.hidden(tokens_BTP, actions_BTL))

    def loss(
        self,
        tokens_BTP: Tensor,
        actions_BTL: Tensor,
        mask_BTP: Tensor,
        seen_BTP: Tensor | None = None,
        weights_BTP: Tensor | None = None,
    ) -> Tensor:
        """Return the mean cross-entropy (nat) of the masked tokens.

        Args:
            tokens_BTP: the true tokens.
            actions_BTL: the latent actions between frames; no gradient reaches them.
            mask_BTP: which tokens are hidden and predicted.
            seen_BTP: tokens that the network sees where nothing is masked; the true ones by default.
            weights_BTP: of each token in the mean; all alike by default.
        """
        return self.loss_and_guess(tokens_BTP, actions_BTL, mask_BTP, seen_BTP, weights_BTP, guess=False)[0]

    def loss_and_guess(
        self,
        tokens_BTP: Tensor,
        actions_BTL: Tensor,
        mask_BTP: Tensor,
        seen_BTP: Tensor | None = None,
        weights_BTP: Tensor | None = None,
        *,
        guess: bool = True,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the loss as of `loss`, and the tokens (B, T, P) with the likeliest ones where they are masked."""
        seen = tokens_BTP if seen_BTP is None else seen_BTP
        hidden = self.hidden(seen.masked_fill(mask_BTP, self.mask_id), actions_BTL.detach())
        rows = loss_rows(mask_BTP, self.mask_id)
        targets = tokens_BTP.masked_fill(~mask_BTP, NO_TARGET).flatten()[rows]
        weights = None if weights_BTP is None else (weights_BTP * mask_BTP).flatten()[rows].float()
        chosen = hidden.flatten(0, -2).index_select(0, rows)
        loss = cross_entropy(self.head, chosen, targets, weights, self.mask_id)
        if not guess:
            return loss, None
        with torch.no_grad():
            found = torch.where(
                targets == NO_TARGET, tokens_BTP.flatten()[rows], likeliest(self.head, chosen, self.mask_id)
            )
            return loss, tokens_BTP.flatten().index_copy(0, rows, found).view_as(tokens_BTP)


def loss_rows(mask_BTP: Tensor, num_codes: int) -> Tensor:
    """Return the positions whose logits the loss takes: the masked ones, and others up to an eighth of all.

    A product of another size every step is compiled every step on a CPU, and the compiled ones pile up (measured: 3 %
    of the time, and 6 MB a step); of these sizes there are eight. Where logits are computed in parts
    (`models.networks.logits`), the masked positions are filled up to whole parts.
    """
    flat = mask_BTP.flatten()
    part = min(-(-len(flat) // _SIZES), rows_at_once(num_codes))
    count = min(len(flat), max(1, -(-int(flat.sum()) // part)) * part)
    return flat.logical_not().byte().argsort(stable=True)[:count]


def change_weights(config: DynamicsConfig, tokens_BTP: Tensor) -> Tensor:
    """Return the weight (B, T, P) of each token in the loss: `changed_weight` where the frame before has another."""
    changed = F.pad(tokens_BTP[:, 1:] != tokens_BTP[:, :-1], (0, 0, 1, 0))
    return torch.where(changed, config.changed_weight, 1.0)


@torch.no_grad()
def last_frame_quality(dynamics: Dynamics, tokens_BTP: Tensor, actions_BTL: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy (nat) of each token of the last frame, and whether the likeliest is right, both (B, P).

    The last frame is wholly masked; the frames before it are the true ones.
    """
    seen, truth = tokens_BTP.clone(), tokens_BTP[:, -1]
    seen[:, -1] = dynamics.mask_id
    logits = dynamics(seen, actions_BTL)[:, -1].float()
    losses = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none")
    return losses.view_as(truth), logits.argmax(-1) == truth


@torch.no_grad()
def self_predicted_tokens(dynamics: Dynamics, tokens_BTP: Tensor, actions_BTL: Tensor, mask_BTP: Tensor) -> Tensor:
    """Return the tokens with the last wholly visible frame of each sample replaced by the dynamics' own prediction.

    In play the past consists of predictions and their errors, which a dynamics trained on true frames alone never
    learns to correct. Frame 1 stays true.
    """
    whole = ~mask_BTP.any(2)
    # the last frame of the visible prefix: visible itself, the one after it masked
    last = (whole.cumprod(1).sum(1) - 1)[:, None, None]
    frames = torch.arange(tokens_BTP.shape[1], device=tokens_BTP.device)[:, None]
    chosen = (frames == last) & (frames > 0)
    hidden = dynamics.hidden(tokens_BTP.masked_fill(chosen, dynamics.mask_id), actions_BTL)
    return torch.where(chosen, likeliest(dynamics.head, hidden, dynamics.mask_id), tokens_BTP)


@torch.no_grad()
def initialize_from_codebook(dynamics: Dynamics, codebook_KL: Tensor) -> None:
    """Set the first L channels of the token embeddings to the tokenizer's codes (0 for parked ones and the mask)."""
    codes = torch.where(codebook_KL.abs().amax(1, keepdim=True) < PARKED / 2, codebook_KL, 0.0)
    latent = min(codes.shape[1], dynamics.embed.embedding_dim)
    dynamics.embed.weight[:, :latent] = F.pad(codes, (0, 0, 0, 1))[:, :latent]


@torch.no_grad()
def scale_action_embeddings(dynamics: Dynamics, codebook_KL: Tensor, actions_AL: Tensor) -> None:
    """Bring the embeddings of latent actions to the root mean square of the token embeddings.

    Without it they start 31 times larger in the paper's networks, and hide which token they are added to.

    Args:
        dynamics: fresh.
        codebook_KL: rows of the tokenizer's codes; parked ones do not count.
        actions_AL: rows of the LAM's codes.
    """
    used = dynamics.embed.weight[:-1][codebook_KL[:, 0] < PARKED / 2]
    target = used.square().mean().sqrt()
    embedding, shifts = dynamics.embed_action, slice(-dynamics.config.stack.d_model, None)
    size = F.linear(actions_AL.to(used.dtype), embedding.weight[shifts]).square().mean().sqrt()
    embedding.weight[shifts].mul_(target / size.clamp(min=_LEAST_SIZE))
    if dynamics.config.action_injection == "prepend":
        dynamics.no_action.mul_(target / dynamics.no_action.square().mean().sqrt())


def draw_noise(
    config: DynamicsConfig, tokens_BTP: Tensor, mask_BTP: Tensor, num_codes: int, generator: torch.Generator
) -> Tensor:
    """Return the tokens with some of the visible ones replaced by random codes, as some of the past is wrong in play.

    Each sample draws its rate evenly from 0 to `token_noise`. Masked tokens stay true: they are the targets.
    """
    shape = tokens_BTP.shape
    rate = config.token_noise * torch.rand(shape[0], 1, 1, generator=generator)
    wrong = torch.rand(shape, generator=generator) < rate
    codes = torch.randint(0, num_codes, shape, generator=generator)
    device = tokens_BTP.device
    return torch.where(wrong.to(device) & ~mask_BTP, codes.to(device), tokens_BTP)


def draw_mask(config: DynamicsConfig, shape: torch.Size | tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Return which tokens (B, T, P) of a training batch are masked, bool, on the CPU.

    Each sample draws its rate evenly from `min_mask_rate` to 1; for a share of samples it is exactly 1. In another
    share the first frames (1..T-1 of them) are not masked, as in play. Frame 1 is never masked.
    """
    b, t, p = shape

    def uniform(*size: int) -> Tensor:
        return torch.rand(size, generator=generator)

    rate = config.min_mask_rate + (1 - config.min_mask_rate) * uniform(b)
    rate = torch.where(uniform(b) < config.full_mask_share, 1.0, rate)
    prefix = torch.randint(1, t, (b,), generator=generator)
    prefix = torch.where(uniform(b) < config.clean_prefix_share, prefix, 1)
    return (uniform(b, t, p) < rate[:, None, None]) & (torch.arange(t)[:, None] >= prefix[:, None, None])
