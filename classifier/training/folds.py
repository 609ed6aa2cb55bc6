"""Train the published network and one network per fold, side by side, so that every rated clip gets a fair score.

Folds never divide a source. A clip of the training sources is scored by the network of the fold that did not see its
source (out of fold); a clip of the held-out sources is scored by the published network.

Dimension keys: N clips, K frames of a clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from classifier.training.arrays import Floats, Rows
from classifier.training.baseline import BASELINES, baseline_scores
from classifier.training.examples import Examples
from classifier.training.fitting import TrainingSet, device_of, fixed_threads, logits_of, train_network
from classifier.training.resnet import ResNet18
from pipeline.config import ClassifierConfig
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback


class Fold(NamedTuple):
    """Rows of the training examples on either side of one fold."""

    learn: Rows
    score: Rows


@dataclass(frozen=True)
class ScoredExamples:
    """Rated clips with scores by models that never saw their source."""

    examples: Examples
    logits_NK: Floats
    """Frame logits of the network."""
    baselines: Mapping[str, Floats]
    """Scores (N,) of every baseline."""


@dataclass(frozen=True)
class Fitted:
    """A trained network with all that is needed to measure it."""

    network: ResNet18
    losses: Sequence[float]
    """Loss of every step of `network`."""
    num_folds: int
    out_of_fold: ScoredExamples
    """Clips of the training sources, scored by networks of the folds."""
    held_out: ScoredExamples
    """Clips of the held-out sources, scored by `network`."""


def source_folds(train: Examples, config: ClassifierConfig) -> list[Fold]:
    """Return folds that divide no source and always leave both fives and ones to learn from.

    Raises:
        UserError: the labels come from too few sources for two folds.
    """
    five_sources, one_sources = (
        {group for group, rated in zip(train.groups, train.rating_N, strict=True) if rated == rating}
        for rating in (5, 1)
    )
    good_N = train.rating_N >= config.good_rating
    for count in range(min(config.folds, len(five_sources), len(one_sources)), 1, -1):
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=config.seed)
        parts = splitter.split(np.zeros(len(good_N)), good_N, np.array(train.groups, dtype=object).astype(str))
        folds = [Fold(learn, score) for learn, score in parts]
        if all({1, 5} <= set(train.rating_N[fold.learn].tolist()) for fold in folds):
            return folds
    raise UserError(
        f"labels come from too few sources: fives from {len(five_sources)} and ones from {len(one_sources)} sources "
        "that are not held out, at least 2 of each are needed, so that no clip is scored by a network that saw its "
        "source. Rate clips of other videos: `lampworks label --root ROOT` offers them in turn."
    )


def fit(
    train: Examples, held: Examples, config: ClassifierConfig, on_progress: ProgressCallback | None = None
) -> Fitted:
    """Train on the fives and ones of the training sources, and score all rated clips.

    The published network and those of the folds are trained in parallel, each on its share of the threads. At these
    sizes one thread for each is far better than all threads for each in turn (a seventh of the processor time on a
    busy machine).
    """
    folds = source_folds(train, config)
    tasks = [(train, held), *((_rows(train, fold.learn), _rows(train, fold.score)) for fold in folds)]
    parallel = 1 if device_of(config).type == "cuda" else min(config.threads, len(tasks))
    losses: list[list[float]] = [[] for _ in tasks]
    with (
        fixed_threads(max(1, config.threads // parallel)) as limit,
        Progress("quality classifier", config.steps * len(tasks), "steps", on_progress=on_progress) as progress,
        ThreadPoolExecutor(parallel, initializer=limit) as workers,
    ):

        def train_and_score(number: int) -> tuple[ResNet18, Floats]:
            def on_step(loss: float) -> None:
                losses[number].append(loss)
                progress.advance(note=f"loss {loss:.3f}")

            learning, scored = tasks[number]
            network = train_network(_extremes(learning), config, seed=config.seed + number, on_step=on_step)
            return network, logits_of(network, scored.frames_NKCHW)

        (network, held_logits_NK), *of_folds = workers.map(train_and_score, range(len(tasks)))
    logits_NK = np.zeros(train.frames_NKCHW.shape[:2])
    baselines = {name: np.zeros(len(train.clip_ids)) for name in BASELINES}
    for fold, (learning, scored), (_, fold_logits_NK) in zip(folds, tasks[1:], of_folds, strict=True):
        logits_NK[fold.score] = fold_logits_NK
        for name, score_N in baseline_scores(learning, scored).items():
            baselines[name][fold.score] = score_N
    return Fitted(
        network=network,
        losses=losses[0],
        num_folds=len(folds),
        out_of_fold=ScoredExamples(train, logits_NK, baselines),
        held_out=ScoredExamples(held, held_logits_NK, baseline_scores(train, held)),
    )


def _extremes(examples: Examples) -> TrainingSet:
    extremes = examples.take(examples.extreme)
    return TrainingSet(extremes.frames_NKCHW, extremes.rating_N == 5, extremes.groups)


def _rows(examples: Examples, rows: Rows) -> Examples:
    mask_N = np.zeros(len(examples.clip_ids), bool)
    mask_N[rows] = True
    return examples.take(mask_N)
