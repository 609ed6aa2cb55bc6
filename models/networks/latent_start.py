"""Initialization from a network's own latents: they are centred and scaled, and codes are spread among them.

A fresh encoder's latents lie close together, far from codes that are drawn at random: one code is then nearest to all
of them, and training by gradient does not leave that state. A fresh decoder's pictures are far from any frame, and the
first steps move all latents one way until the pictures are bright enough. So three things are set from real frames:

- the decoder starts at the mean patch, whatever the codes;
- the projection to latents is changed so that they have mean 0 and variance 1;
- codes start at a choice of these latents.

All else stays random. (Small networks of the `coinrun` preset, after 60 steps: one of 1024 codes and 14.8 dB without,
over 800 codes and 21 dB with all three; measured.)

`standardize` and `spread_codes` give the same bytes for the same latents on every CPU (`models.networks.exact`). The
latents themselves come from random weights and products of networks, which differ by rounding.

Shapes: B windows, T frames, P tokens of a frame, N samples, X values of a patch, L latent values, K codes, D width.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.exact import exact_mean, exact_product
from models.networks.initialization import eigenvectors, farthest_points, lloyd, principal_components
from models.networks.latent_actions import LatentActionModel, initialize_codes
from models.networks.patches import as_float, to_patches
from models.networks.quantizer import VectorQuantizer
from models.networks.tokenizer import VideoTokenizer

_MOST_SAMPLES = 30_000
_LEAST_SCALE = 1e-5
"""Of latents where all frames are the same: what varies then is rounding, which must not be amplified."""
_LLOYD_ROUNDS = 3
_DARKEST = 0.01
"""Least distance of a mean value from 0 and 1: where a sigmoid is flat, nothing is learned."""


@torch.no_grad()
def start_tokenizer(tokenizer: VideoTokenizer, video_BTHWC: Tensor) -> int | None:
    """Start a tokenizer from windows of real frames; return how many codes there are (a lattice has None).

    Args:
        tokenizer: fresh.
        video_BTHWC: windows in uint8, or float in [0, 1].
    """
    config, quantizer = tokenizer.config, tokenizer.quantizer
    patches_NX = _patches(video_BTHWC, config.patch)
    nn.init.zeros_(tokenizer.out.weight)
    tokenizer.out.bias.copy_(exact_mean(patches_NX))
    lattice = not isinstance(quantizer, VectorQuantizer)
    if lattice:
        # a lattice rounds each value by itself: values that say the same thing twice would leave most of it empty
        axes_LX, scale_L = (part.double() for part in principal_components(patches_NX, config.latent_dim)[1:])
        rows = exact_product(axes_LX / scale_L[:, None], tokenizer.embed.weight.T)
        tokenizer.pre.weight[: len(rows)] = rows.to(tokenizer.pre.weight.dtype)
    latents_NL = torch.cat([tokenizer.latents(window).flatten(0, 2).float() for window in video_BTHWC.split(1)])
    latents_NL = latents_NL[:: max(1, len(latents_NL) // _MOST_SAMPLES)]
    latents_NL = standardize(tokenizer.pre, latents_NL, decorrelate=lattice)
    if not isinstance(quantizer, VectorQuantizer):
        return None
    per_step = config.batch * config.window * tokenizer.num_tokens
    return spread_codes(quantizer, latents_NL, coverage=config.start_coverage, per_step=per_step)


@torch.no_grad()
def start_latent_actions(lam: LatentActionModel, frames: Tensor, generator: torch.Generator) -> None:
    """Start a LAM from windows of real frames; k-means of its latents initializes the codes.

    Args:
        lam: fresh.
        frames: windows (B, T, H, W, 3) in uint8, or float in [0, 1]; or their tokens (B, T, P).
        generator: of the draws of k-means, on the CPU.
    """
    nn.init.zeros_(lam.out.weight)
    nn.init.zeros_(lam.out.bias)
    if not lam.reads_tokens and lam.config.decoder_output == "sigmoid":
        mean_X = exact_mean(_patches(frames, lam.config.patch))
        lam.out.bias.copy_(torch.logit(mean_X, eps=_DARKEST))
    projected_NL = torch.cat([lam.projected(window).flatten(0, 1) for window in frames.split(1)])
    initialize_codes(lam, lam.normalized(standardize(lam.pre, projected_NL)), generator)


def _patches(video_BTHWC: Tensor, patch: int) -> Tensor:
    """Return the patches (N, X) of the first frame of each window."""
    return to_patches(as_float(video_BTHWC[:, :1]), patch).flatten(0, 2)


@torch.no_grad()
def standardize(projection: nn.Linear, latents_NL: Tensor, *, decorrelate: bool = False) -> Tensor:
    """Change the projection that makes latents so that they have mean 0 and variance 1; return them as they are then.

    Args:
        projection: the layer whose outputs are the latents, (D) to (L). Without a bias nothing is centred.
        latents_NL: its outputs for real frames.
        decorrelate: give each value variance 1, and make values uncorrelated; otherwise one factor serves for all, so
            that distances keep their proportions.
    """
    latents, weight = latents_NL.double(), projection.weight
    if projection.bias is not None:
        mean_L = exact_mean(latents)
        latents = latents - mean_L
        projection.bias.sub_(mean_L.to(weight.dtype))
    if decorrelate:
        matrix_LL = _decorrelation(exact_product(latents.T, latents) / len(latents))
        weight.copy_(exact_product(matrix_LL, weight))
        if projection.bias is not None:
            projection.bias.copy_(exact_product(projection.bias[None], matrix_LL.T)[0])
        return exact_product(latents, matrix_LL.T).to(weight.dtype)
    scale = exact_mean(latents.square()).mean().sqrt().clamp(min=_LEAST_SCALE)
    weight.copy_(weight / scale)
    if projection.bias is not None:
        projection.bias.copy_(projection.bias / scale)
    return (latents / scale).to(weight.dtype)


def _decorrelation(covariance_LL: Tensor) -> Tensor:
    """Return the matrix (L, L) that turns latents of a covariance into uncorrelated ones of variance 1."""
    values, vectors = eigenvectors(covariance_LL.cpu().numpy())
    rows = torch.from_numpy(vectors / np.maximum(np.sqrt(values), _LEAST_SCALE)[:, None])
    # directions without any variance are left out: they hold nothing that a code could tell apart
    return F.pad(rows, (0, 0, 0, len(covariance_LL) - len(rows))).to(covariance_LL.device)


@torch.no_grad()
def spread_codes(quantizer: VectorQuantizer, latents_NL: Tensor, *, coverage: float, per_step: float) -> int:
    """Start codes at latents, farthest-point first, and return how many there are; the others are parked.

    Args:
        quantizer: gets the codes.
        latents_NL: samples; by cosine their directions count.
        coverage: codes are added until none of the samples is farther than this squared, a latent dimension.
        per_step: latents that a step quantizes: as many choices are counted in advance, so that the first steps move
            codes no more than later ones (EMA).
    """
    samples = F.normalize(latents_NL, dim=-1) if quantizer.cosine else latents_NL
    tolerance = coverage if quantizer.cosine else coverage * samples.shape[1]
    rows, counts = lloyd(samples, farthest_points(samples, quantizer.num_codes, tolerance), _LLOYD_ROUNDS)
    quantizer.initialize(rows, counts * per_step / len(samples))
    return len(rows)
