"""Usage and entropy of latent action codes, for every training step's figures."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from models.metrics import entropy_within
from models.networks.quantizer import usage


def code_figures(codes_BT: Tensor, num_codes: int) -> dict[str, float]:
    """Return how a batch of latent actions is spread.

    lam_codes_used, lam_perplexity; lam_entropy_in_clip and lam_entropy_at_time, the mean entropies (nat) of the codes
    of one window and of one place in the windows: 0 says that the code is the scene's name, or counts the frames.
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
