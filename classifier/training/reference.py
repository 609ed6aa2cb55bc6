"""What every candidate is compared with: motion alone, and the flag that does best. Neither is ever published.

Dimension keys: N clips.
"""

from __future__ import annotations

import numpy as np

from classifier.training.arrays import Floats
from classifier.training.auc import Sides, auc
from classifier.training.examples import Examples, feature_names
from pipeline.clips.flags import FLAGS

MOTION, BEST_FLAG = "motion_alone", "best_flag"


def reference_scores(examples: Examples, sides: Sides) -> dict[str, tuple[Floats, str]]:
    """Return the scores (N,) of the references by name, with a note.

    Nothing is learned. `best_flag` is the one that does best on these very clips, which favours it; a clip without a
    measurement of motion counts as the median.
    """
    motion_N = examples.features_NF[:, feature_names().index("motion")]
    known_N = np.isfinite(motion_N)
    scores: dict[str, tuple[Floats, str]] = {}
    if known_N.any():
        scores[MOTION] = np.where(known_N, motion_N, np.median(motion_N[known_N])), ""
    used_N = sides.good_N | sides.bad_N
    found = {
        name: auc(-examples.flags_NF[used_N, place].astype(float), sides.good_N[used_N])
        for place, name in enumerate(FLAGS)
    }
    known = {name: value for name, value in found.items() if np.isfinite(value)}
    if known:
        best = max(known, key=lambda name: (known[name], name))
        scores[BEST_FLAG] = -examples.flags_NF[:, FLAGS.index(best)].astype(float), best
    return scores
