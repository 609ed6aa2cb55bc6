"""Usage and entropy of latent action codes, for the metrics of every training step."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from models.metrics import entropy_within
from models.networks.quantizer import usage


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
