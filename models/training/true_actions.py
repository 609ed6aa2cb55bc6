"""The true actions of windows, which lead the dynamics in place of latent ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.shards.loader.loader import Place

TruthActions = Callable[[str], npt.NDArray[np.int8] | npt.NDArray[np.int16] | None]
"""Returns the true actions of a clip by its id, entry k between frames k and k + 1; None where unknown."""


def true_actions(truth: TruthActions, places: Sequence[Place], transitions: int) -> Tensor:
    """Return the true actions (B, transitions), int64, of windows; all clips must have them."""
    rows = []
    for place in places:
        actions = truth(place.clip_id)
        assert actions is not None, f"clip {place.clip_id} has no true actions"
        rows.append(actions[place.start : place.start + transitions])
    return torch.from_numpy(np.stack(rows).astype(np.int64))
