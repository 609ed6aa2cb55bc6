"""Metrics of the LAM in every training step: usage and entropy of its codes, quality of its predictions."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from models.metrics import entropy_within
from models.networks.quantizer import usage
from models.training.tokenizer_training import mean_psnr


def code_metrics(codes_BT: Tensor, num_codes: int) -> dict[str, float]:
    """Return metrics of how the latent actions of a batch are distributed.

    lam_codes_used, lam_perplexity; lam_entropy_in_clip and lam_entropy_at_time, the mean entropies (nat) of the codes
    within a window and at one time across windows: 0 means that the code only encodes the scene, or only the time.
    """
    used, perplexity = usage(codes_BT, num_codes)
    codes = codes_BT.cpu().numpy()
    clips, times = (index.reshape(-1) for index in np.indices(codes.shape))
    return {
        "lam_codes_used": used,
        "lam_perplexity": perplexity,
        "lam_entropy_in_clip": entropy_within(codes.reshape(-1), clips, num_codes),
        "lam_entropy_at_time": entropy_within(codes.reshape(-1), times, num_codes),
    }


def lam_quality(guess: Tensor, truth: Tensor) -> float:
    """Return the PSNR (dB) of frames, or the share of correct tokens; predictions may be logits."""
    if truth.dim() == 5:
        return mean_psnr(guess, truth)
    tokens = guess if guess.dim() == truth.dim() else guess.argmax(-1)
    return float((tokens == truth).float().mean())
