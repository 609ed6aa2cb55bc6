"""A linear probe: how well a linear classifier tells the true action from the latent one, on recordings it never saw.

Two are fitted: on the code alone, and on the latent vector before it became a code, which shows what the codebook
loses. Each is a ridge regression on indicators of the true actions, in which every action weighs as much as any other;
the largest output is the answer. Sources are divided into at most five folds, and each is answered by a probe that was
fitted on the others.

Shapes: N transitions, F features, A true actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.evaluation.accuracy import (
    ENDS,
    LEAST_SOURCES,
    LEAST_TRANSITIONS,
    accuracy_metrics,
    frequent_actions,
)
from models.evaluation.chance import TOO_FEW
from models.evaluation.metric import Metrics, unknown
from pipeline.config import EvaluationConfig

CODES, VECTORS = "action_probe_codes", "action_probe_vectors"
_MOST_FOLDS = 5
_RIDGE = 1e-3


def measure_probe(
    name: str,
    features: Sequence[np.ndarray],
    actions: Sequence[np.ndarray | None],
    sources: Sequence[str],
    num_actions: int,
    config: EvaluationConfig,
) -> Metrics:
    """Return the balanced accuracy of a probe under a name, with its interval and its chance level.

    Args:
        name: of the metric.
        features: per clip (N, F).
        actions: per clip the true actions, int (N,), None where they are unknown.
        sources: of each clip.
        num_actions: A.
        config: bootstrap draws, shuffles and seed.
    """
    known = [place for place, own in enumerate(actions) if own is not None]
    own = [np.asarray(actions[place]) for place in known]
    of = [sources[place] for place in known]
    frequent = frequent_actions(own, of, num_actions)
    if frequent.sum() < 2:
        few = (
            f"{TOO_FEW}: {int(frequent.sum())} true actions have {LEAST_TRANSITIONS} transitions in {LEAST_SOURCES} "
            "held-out sources, and 2 are needed"
        )
        return {name + end: unknown(few) for end in ENDS}
    kept = [np.where(frequent[each], each, -1) for each in own]
    read = cross_read([features[place] for place in known], kept, of, num_actions)
    return accuracy_metrics(name, kept, read, of, num_actions, config)


def cross_read(
    features: Sequence[np.ndarray], actions: Sequence[np.ndarray], sources: Sequence[str], num_actions: int
) -> list[np.ndarray]:
    """Return the answers (N,) for each clip of a probe that was fitted on other sources; -1 where there is none."""
    names = sorted(set(sources))
    folds = min(_MOST_FOLDS, len(names))
    read = [np.full(len(own), -1) for own in actions]
    for fold in range(folds if folds > 1 else 0):
        held_out = set(names[fold::folds])
        inside = [place for place, source in enumerate(sources) if source not in held_out]
        probe = _Probe(
            np.concatenate([features[place] for place in inside]),
            np.concatenate([actions[place] for place in inside]),
            num_actions,
        )
        for place, source in enumerate(sources):
            if source in held_out:
                read[place] = probe.answers(features[place])
    return read


def one_hot(codes: np.ndarray, num_codes: int) -> np.ndarray:
    """Return codes (N,) as indicators (N, K)."""
    return np.eye(num_codes)[codes]


class _Probe:
    def __init__(self, features_NF: np.ndarray, actions_N: np.ndarray, num_actions: int) -> None:
        known = actions_N >= 0
        x, actions = features_NF[known].astype(np.float64), actions_N[known]
        counts = np.bincount(actions, minlength=num_actions)
        weight = 1 / counts[actions]
        self._mean = x.mean(0)
        self._spread = np.where(x.std(0) > 1e-9, x.std(0), 1.0)
        x = self._scaled(x)
        weighted = x * weight[:, None]
        gram = weighted.T @ x + _RIDGE * weight.sum() * np.eye(x.shape[1])
        self._weights = np.linalg.solve(gram, weighted.T @ np.eye(num_actions)[actions])
        self._seen = counts > 0

    def answers(self, features_NF: np.ndarray) -> np.ndarray:
        outputs = self._scaled(features_NF.astype(np.float64)) @ self._weights
        return np.where(self._seen, outputs, -np.inf).argmax(1)

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([(x - self._mean) / self._spread, np.ones((len(x), 1))], 1)
