"""How well the tokenizer knows a picture: its round trip beside those of held-out frames.

The picture is encoded to tokens and decoded again. PSNR says how near the result is, and held-out frames say which
PSNR is usual. A patch is far from anything that the tokenizer can draw where its error is larger than that of 99 % of
the patches of held-out frames.

Shapes: N frames, H W C pixels, P patches.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.evaluation.round_trips import RoundTrips, patch_errors
from models.metrics import psnr

_WELL, _NOT_AT_ALL = 0.05, 0.30
"""Shares of patches that are far: up to the first a picture is known well, from the second on it is not known."""


@dataclass(frozen=True)
class Known:
    """How well a tokenizer knows a picture."""

    psnr: float
    """Of the round trip, in dB."""
    percentile: float
    """Per cent of held-out frames whose PSNR is lower."""
    far_share: float
    """Share of patches that are far from anything the tokenizer can draw."""
    sentence: str

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def known_of(truth_HWC: np.ndarray, shown_HWC: np.ndarray, usual: RoundTrips) -> Known:
    """Return how well a picture is known that came back from the tokenizer as `shown_HWC`."""
    value = float(psnr(truth_HWC, shown_HWC))
    far = float((patch_errors(truth_HWC[None], shown_HWC[None]) > usual.far_error).mean())
    percentile = 100 * float(np.mean(np.asarray(usual.psnr_quantiles) < value))
    return Known(value, percentile, far, _sentence(value, percentile, far, usual))


def _sentence(value: float, percentile: float, far: float, usual: RoundTrips) -> str:
    lowest, highest = usual.psnr_quantiles[0], usual.psnr_quantiles[-1]
    beside = f"{value:.0f} dB, where held-out frames have {lowest:.0f} to {highest:.0f}"
    if percentile >= 1:
        beside = f"{value:.0f} dB, better than {percentile:.0f} % of held-out frames"
    strange = f"{far:.0%} of its patches are far from anything that it can draw".replace("%", " %")
    if far <= _WELL and value >= lowest:
        return f"The tokenizer knows this picture well: {beside}."
    if far < _NOT_AT_ALL:
        return f"The tokenizer knows this picture in part: {beside}; {strange}."
    return (
        f"The tokenizer does not know this picture: {beside}; {strange}. The game starts from what it can draw of it."
    )
