"""What a candidate scores: the arrays of clips without their ratings.

Dimension keys: N clips, K frames of a clip, C channels, H rows, W columns, F measurements, D numbers of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from classifier.training.arrays import Floats

Need = Literal["frames", "features", "embedding"]
"""An array that a candidate computes its scores from."""
Embeddings = NDArray[np.float32]


@dataclass(frozen=True)
class ClipInputs:
    """The arrays of N clips; one that no candidate needs may be None."""

    features_NF: Floats
    """Measurements, in the order of `feature_names()`; NaN where one is missing."""
    frames_NKCHW: Tensor | None = None
    """uint8, at the network's input size."""
    embedding_ND: Embeddings | None = None
    """Mean and spread of the frozen network's output over a clip's frames; a row of NaN where there is none."""

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.features_NF)
