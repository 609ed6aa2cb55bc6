"""Figures of other projects on CoinRun, as their papers print them, and what each of them means.

PSNR and SSIM of GenieRedux (arXiv 2409.06445 and 2504.02515) are of 10 frames that are generated from one, of episodes
of a random agent unless another test set is named; FID is on Inception features. Those of Jafar were measured by the
authors of GenieRedux. Genie itself (arXiv 2402.15391) publishes no figure on CoinRun: its 1.91 is of the Platformers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One row of somebody's table; None where it has no such figure."""

    system: str
    of: str
    """What was measured, on which data."""
    psnr: float | None = None
    ssim: float | None = None
    fid: float | None = None
    delta_psnr: float | None = None


TOKENIZERS = (
    Published("GenieRedux, tokenizer", "reconstruction, random agent", 38.25, 0.96, 18.14),
    Published("GenieRedux, tokenizer, trained-agent data", "reconstruction, diverse test set", 40.62, 0.97, 11.63),
)
"""Reconstructions of true frames."""
WORLDS = (
    Published("GenieRedux", "latent actions, random agent", 25.51, 0.77, 21.88),
    Published("GenieRedux, trained-agent data", "latent actions, diverse test set", 31.97, 0.90, 12.57),
    Published("GenieRedux-G", "true actions, random agent", 33.41, 0.92, 18.88),
    Published("GenieRedux-G", "true actions, diverse test set", 31.66, 0.90, 19.51, 0.70),
    Published("GenieRedux-G, trained-agent data", "true actions, diverse test set", 34.44, 0.92, 12.40, 1.89),
    Published("Jafar", "latent actions, measured by GenieRedux's authors", 12.66, None, 154.12),
    Published("Genie, 2.5B", "latent actions, Platformers: not CoinRun", None, None, None, 1.91),
)
"""Rollouts."""
