"""MaskGIT sampling: draw all tokens of a frame at once, keep some, and draw the others again (Genie App. C).

After step s of S, a share 1 - cos(pi/2 * s/S) of the frame is kept (`unmask_schedule: cosine`), or 1 - 0.02^(s/(S-1))
(`geometric`); the last step keeps all. `unmask_order` chooses
which tokens are kept: the most confident ones (MaskGIT), random ones, or the next ones in a Halton sequence, whose
points spread evenly over the frame (Besnier et al. 2025, arXiv 2503.17076). There are two temperatures:
`token_temperature` divides the logits before a token is drawn (0 takes the most probable one), and
`choice_temperature` scales the noise on the confidences; it falls to 0 over the steps.

A step is a pure function of tensors. It launches the same kernels on the same shapes each time and never waits for
the device, so it can be compiled or captured.

Shapes: B windows, T frames, P tokens of a frame, K codes, L latent of an action, S steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from models.networks.dynamics import Dynamics
from models.networks.frame_cache import FrameCache
from models.world.draw_record import DrawRecord
from pipeline.config.evaluation import SamplingConfig

_LAST_SHARE = 0.02
"""Share of a frame that the geometric schedule leaves to the last step: 3 of the demo's 144 tokens, where its character
is 4. With four steps, 0.93 to 0.97 of its rollout frames have the character whole where cosine has 0.89 to 0.93."""
_WHOLE = 1_000_000  # the schedule is stored in whole millionths, so that counts are the same on every device


def keep_counts(num_tokens: int, steps: int, schedule: str = "cosine") -> list[int]:
    """Return how many tokens are fixed after each step of a schedule; after the last step all are."""
    if schedule == "cosine":
        return [round(num_tokens * (1 - math.cos(math.pi / 2 * (step + 1) / steps))) for step in range(steps)]
    return [round(num_tokens * (1 - _LAST_SHARE ** (step / (steps - 1)))) for step in range(1, steps)] + [num_tokens]


def halton_order(rows: int, columns: int) -> list[int]:
    """Return the positions of a grid (row by row) in the order of the Halton sequence of bases 2 and 3."""
    found: dict[int, None] = {}
    index = 0
    while len(found) < rows * columns:
        index += 1
        row, column = int(_radical_inverse(index, 2) * rows), int(_radical_inverse(index, 3) * columns)
        found[row * columns + column] = None
    return list(found)


def _radical_inverse(index: int, base: int) -> float:
    """Return the digits of a whole number mirrored at the point: in base 2, 6 = 110 gives 0.011."""
    value, weight = 0.0, 1.0
    while index:
        index, digit = divmod(index, base)
        weight /= base
        value += weight * digit
    return value


@lru_cache(maxsize=16)
def _halton_priority(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Return the priority (P,) of each position; the first in the Halton order has the highest."""
    order = halton_order(*grid)
    priority = torch.empty(len(order))
    priority[torch.tensor(order)] = torch.arange(len(order), 0, -1, dtype=torch.float32)
    return priority.to(device)


@lru_cache(maxsize=16)
def _shares(steps: int, schedule: str, device: torch.device) -> Tensor:
    return torch.tensor(keep_counts(_WHOLE, steps, schedule), device=device)[:, None]


def maskgit_step(
    frame_BP: Tensor,
    fixed_BP: Tensor,
    logits_BPK: Tensor,
    keep_B: Tensor,
    priority_BP: Tensor,
    noise_BPK: Tensor | None,
    *,
    mask_id: int,
    sampling: SamplingConfig,
) -> tuple[Tensor, Tensor]:
    """Draw the tokens that are not fixed, and fix some of them.

    Args:
        frame_BP: tokens, `mask_id` where a token is not fixed.
        fixed_BP: mask of the tokens that are fixed.
        logits_BPK: logits of the frame's tokens.
        keep_B: number of tokens that are fixed afterwards, those that were fixed before included.
        priority_BP: tokens of the highest priority are fixed first. With the order `confidence` it is added to the
            log-probabilities.
        noise_BPK: Gumbel noise on the logits (on the `top_k` largest where `top_k` is set); None decodes greedily.
        mask_id: K.
        sampling: temperature, order and `top_k`.

    Returns:
        The frame, `mask_id` where a token is not fixed, and the new mask of fixed tokens.
    """
    drawn = _draw(logits_BPK, noise_BPK, sampling)
    if sampling.unmask_order == "confidence":
        priority_BP = priority_BP + logits_BPK.log_softmax(-1).gather(-1, drawn[..., None])[..., 0]
    rank = priority_BP.masked_fill(fixed_BP, float("inf")).argsort(1, descending=True).argsort(1)
    fixed = fixed_BP | (rank < keep_B[:, None])
    return torch.where(fixed_BP, frame_BP, drawn).masked_fill(~fixed, mask_id), fixed


def _draw(logits_BPK: Tensor, noise_BPK: Tensor | None, sampling: SamplingConfig) -> Tensor:
    if noise_BPK is None:
        return logits_BPK.argmax(-1)
    if not sampling.top_k:
        return (logits_BPK / sampling.token_temperature + noise_BPK).argmax(-1)
    likeliest, codes = logits_BPK.topk(noise_BPK.shape[-1], -1)
    chosen = (likeliest / sampling.token_temperature + noise_BPK).argmax(-1, keepdim=True)
    return codes.gather(-1, chosen)[..., 0]


@torch.no_grad()
def draw_tokens(
    logits_of: Callable[[Tensor], Tensor],
    frame_BP: Tensor,
    known_BP: Tensor,
    *,
    grid: tuple[int, int],
    num_codes: int,
    sampling: SamplingConfig,
    generator: torch.Generator | None = None,
    record: DrawRecord | None = None,
) -> Tensor:
    """Sample the tokens (B, P) of a frame in `maskgit_steps` steps.

    Args:
        logits_of: returns the logits (B, P, K) of a frame's tokens, which are `num_codes` where masked.
        frame_BP: tokens; only the known ones are read.
        known_BP: mask of the tokens that are given; they are returned unchanged.
        grid: rows and columns of tokens.
        num_codes: K, which is also the id of the mask token.
        sampling: how tokens are sampled.
        generator: random generator of the noise, on the device of the tokens.
        record: gets the logits of each step, where it is given; the tokens do not depend on it.
    """
    steps, device = sampling.maskgit_steps, frame_BP.device
    known_B, total = known_BP.sum(1), frame_BP.shape[1]
    # the share of the schedule counts unknown tokens only, rounded up
    keep_SB = known_B + ((total - known_B) * _shares(steps, sampling.unmask_schedule, device) + _WHOLE - 1) // _WHOLE
    likeliest = min(sampling.top_k or num_codes, num_codes)
    order = _fixed_priority(frame_BP, grid, sampling, generator)
    frame, fixed = frame_BP.masked_fill(~known_BP, num_codes), known_BP
    for step in range(steps):
        logits = logits_of(frame)
        noise, priority = None, order
        if sampling.token_temperature:
            noise = _gumbel((*frame_BP.shape, likeliest), device, generator)
            if sampling.unmask_order == "confidence" and sampling.choice_temperature:
                choice = sampling.choice_temperature * (1 - (step + 1) / steps)
                priority = choice * _gumbel(frame_BP.shape, device, generator)
        before = fixed
        frame, fixed = maskgit_step(
            frame, fixed, logits, keep_SB[step], priority, noise, mask_id=num_codes, sampling=sampling
        )
        if record is not None:
            record.add_step(logits, fixed & ~before)
    return frame


def _fixed_priority(
    frame_BP: Tensor, grid: tuple[int, int], sampling: SamplingConfig, generator: torch.Generator | None
) -> Tensor:
    """Return the part of the priorities (B, P) that is the same at every step."""
    if sampling.unmask_order == "halton":
        return _halton_priority(grid, frame_BP.device).expand(frame_BP.shape)
    if sampling.unmask_order == "random":
        return torch.rand(frame_BP.shape, generator=generator, device=frame_BP.device)
    return torch.zeros(frame_BP.shape, device=frame_BP.device)


@torch.no_grad()
def sample_frame(
    dynamics: Dynamics,
    tokens_BTP: Tensor,
    actions_BTL: Tensor,
    *,
    sampling: SamplingConfig,
    known_BP: Tensor | None = None,
    generator: torch.Generator | None = None,
    cache: FrameCache | None = None,
    recompute: bool = False,
    record: DrawRecord | None = None,
) -> Tensor:
    """Sample the tokens (B, P) of the last frame of a window.

    The frames before it are the same at every step. They are computed once, and each step computes one frame.

    Args:
        dynamics: the dynamics model.
        tokens_BTP: the window without the frames in the cache; only known tokens of its last frame are read.
        actions_BTL: codebook rows of the latent actions that lead to these frames; the first frame of a window has
            none.
        sampling: how tokens are sampled.
        known_BP: mask of the tokens of the last frame that are given; none by default.
        generator: random generator of the noise, on the device of the tokens.
        cache: holds the first frames of the window, and afterwards all but its last; empty by default.
        recompute: recompute the whole window at every step instead. The result is the same; the benchmark compares
            the two.
        record: as of `draw_tokens`.
    """
    past, frame = tokens_BTP[:, :-1], tokens_BTP[:, -1]
    # a single step computes nothing twice
    if recompute or (sampling.maskgit_steps == 1 and cache is None):

        def logits_of(frame_BP: Tensor) -> Tensor:
            window = torch.cat([past, frame_BP[:, None]], 1)
            # contiguous: torch splits the product of a strided batch, and copies the weights for each part
            return dynamics.head(dynamics.hidden(window, actions_BTL)[:, -1].contiguous()).float()

    else:
        held = FrameCache(dynamics.config.context) if cache is None else cache
        if past.shape[1]:
            dynamics.hidden(past, actions_BTL[:, :-1], held, keep=True)

        def logits_of(frame_BP: Tensor) -> Tensor:
            return dynamics.head(dynamics.hidden(frame_BP[:, None], actions_BTL[:, -1:], held)[:, -1]).float()

    return draw_tokens(
        logits_of,
        frame,
        torch.zeros_like(frame, dtype=torch.bool) if known_BP is None else known_BP,
        grid=dynamics.grid,
        num_codes=dynamics.mask_id,
        sampling=sampling,
        generator=generator,
        record=record,
    )


def _gumbel(shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
    uniform = torch.rand(shape, generator=generator, device=device).clamp(1e-20, 1 - 1e-7)
    return -(-uniform.log()).log()
