"""Rated clips made of numbers: no store, no pictures, and a known relation between measurements and ratings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classifier.training.examples import Examples, feature_names
from pipeline.clips.flags import FLAGS
from pipeline.clips.play import PLAY_NAMES


def made_up(ratings: Sequence[int], groups: Sequence[str], *, noise: float = 0.5, seed: int = 0) -> Examples:
    """Return examples of these ratings and sources, whose measurements follow the rating with some noise."""
    rng = np.random.default_rng(seed)
    count, width = len(ratings), len(feature_names())
    rating_N = np.array(ratings, np.int64)
    features_NF = rng.normal(0, 1, (count, width))
    # four of play, not motion: alone it tells nothing
    follow = [feature_names().index(name) for name in PLAY_NAMES[:4]]
    features_NF[:, follow] += rating_N[:, None] / max(noise, 1e-9) / 4
    return Examples(
        clip_ids=tuple(f"clip-{number:03d}" for number in range(count)),
        rating_N=rating_N,
        groups=tuple(groups),
        val_N=np.zeros(count, bool),
        features_NF=features_NF,
        flags_NF=np.zeros((count, len(FLAGS)), bool),
        weight_N=np.ones(count),
        weights="none",
        frames=None,
        embedding_ND=None,
        no_embedding="",
        unreadable={},
    )
