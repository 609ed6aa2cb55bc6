"""How often codes that have nothing to do with the actions pass at p = 0.05, by how chance is drawn (docs/model.md).

    python -m tests.chance_rates        # about 16 CPU-seconds

Shapes: S clips, L transitions, K values, D draws.
"""

from __future__ import annotations

import numpy as np

from models.metrics import mutual_information

CLIPS, LENGTH, VALUES = 8, 159, 4
SETS, DRAWS, FREE_DRAWS = 1000, 199, 39
LEFT_OUT = (0.0, 0.1, 0.25)
"""Shares of the clip around offset 0 that are left out."""


def sticky(rng: np.random.Generator, stays: float, num_values: int = VALUES) -> np.ndarray:
    """Return chains (S, L) that keep their value from one transition to the next with a probability, else draw anew."""
    new, begins = rng.integers(0, num_values, (CLIPS, LENGTH)), rng.random((CLIPS, LENGTH)) >= stays
    begins[:, 0] = True
    last = np.maximum.accumulate(np.where(begins, np.arange(LENGTH), 0), 1)
    return np.take_along_axis(new, last, 1)


def tables(codes_SL: np.ndarray, actions_SL: np.ndarray) -> np.ndarray:
    """Return how often each code goes with each action when the codes are turned by each offset, (S, L, K, K)."""
    codes, actions = (np.fft.rfft(np.eye(VALUES)[each], axis=1) for each in (codes_SL, actions_SL))
    together = np.conj(codes)[:, :, :, None] * actions[:, :, None, :]
    return np.rint(np.fft.irfft(together, n=LENGTH, axis=1))


def rates(stays: float, seed: int = 0) -> list[float]:
    """Return the share of unrelated data sets with p <= 0.05: for each of `LEFT_OUT`, and of single transitions."""
    rng = np.random.default_rng(seed)
    passed = np.zeros(len(LEFT_OUT) + 1)
    for _ in range(SETS):
        codes, actions = sticky(rng, stays), sticky(rng, stays)
        by_offset = tables(codes, actions)
        found = mutual_information(by_offset[:, 0].sum(0)) - 1e-9
        for place, share in enumerate(LEFT_OUT):
            least = round(share * LENGTH)
            offsets = rng.integers(least, LENGTH - least + bool(least), (DRAWS, CLIPS)) % LENGTH
            left = mutual_information(by_offset[np.arange(CLIPS), offsets].sum(1))
            passed[place] += (1 + (left >= found).sum()) / (1 + DRAWS) <= 0.05
        mixed = np.stack([rng.permuted(codes, axis=1) * VALUES + actions for _ in range(FREE_DRAWS)])
        counts = np.stack([np.bincount(each.ravel(), minlength=VALUES**2) for each in mixed])
        left = mutual_information(counts.reshape(FREE_DRAWS, VALUES, VALUES))
        passed[-1] += (1 + (left >= found).sum()) / (1 + FREE_DRAWS) <= 0.05
    return [float(share) for share in passed / SETS]


if __name__ == "__main__":
    for stays in (0.8, 0.9, 0.95, 0.97):
        run = 1 / ((1 - stays) * (1 - 1 / VALUES))
        print(f"mean run {run:4.1f}: " + "  ".join(f"{share:.2f}" for share in rates(stays)))
