"""Compare the candidates on the same out-of-fold scores of all rated clips, in repeated folds grouped by source.

    found = compare_candidates(examples, config)                   # folds by channel or video
    found = compare_candidates(examples, config, groups=games)     # folds by anything else, e.g. no game on both sides
    found.of("measurements").auc

Every candidate learns the same rows and scores the same rows. A repeat draws the folds anew. The network costs most,
so it is repeated only while it leads: where the lower bound of its first repeat is not above that of the best cheaper
candidate, it cannot be published, and the table says so.

Dimension keys: N clips, R repeats.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from threadpoolctl import threadpool_limits

from classifier.torch_threads import fixed_threads
from classifier.training.arrays import Floats, Rows
from classifier.training.auc import Sides, auc_metrics
from classifier.training.candidates.blend import BlendScorer, Spread, blended
from classifier.training.candidates.choices import BY_COST, FITTED, blend_parts, left_out
from classifier.training.candidates.network import fit_network
from classifier.training.candidates.scorer import Scorer
from classifier.training.examples import Examples
from classifier.training.fitting import device_of
from classifier.training.folds import Fold, source_folds
from classifier.training.metrics import AucMetrics
from classifier.training.reference import reference_scores
from pipeline.config import ClassifierConfig
from pipeline.config.curate import Candidate
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback

SCORED_AT_A_TIME = 256
"""Clips whose frames are copied at a time."""


@dataclass
class Compared:
    """One candidate or reference with its out-of-fold scores."""

    name: str
    reference: bool = False
    scores_RN: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    """Empty where it was left out."""
    auc: AucMetrics | None = None
    extremes: AucMetrics | None = None
    cpu_seconds: float = 0.0
    note: str = ""
    behind: bool = False
    """Whether it was not repeated, because it did not lead after one repeat: it cannot be published."""

    @property
    def lower(self) -> float | None:
        """Return the lower bound of the AUC; None where there is none."""
        return self.auc["interval"][0] if self.auc is not None and self.auc["interval"] is not None else None

    @property
    def mean_scores(self) -> Floats:
        """Return the mean of the repeats' scores (N,)."""
        return self.scores_RN.mean(0)


@dataclass(frozen=True)
class Comparison:
    """All candidates and references on the same clips."""

    examples: Examples
    sides: Sides
    folds: tuple[tuple[Fold, ...], ...]
    """Of every repeat."""
    compared: tuple[Compared, ...]
    """Candidates in the order of their cost, then references."""
    parts: tuple[Candidate, ...]
    """The two candidates that are blended; empty without a blend."""

    def of(self, name: str) -> Compared:
        """Return a candidate or reference by name."""
        return next(one for one in self.compared if one.name == name)

    @property
    def candidates(self) -> list[Compared]:
        """Return the candidates that could be compared, the cheapest first."""
        return [one for one in self.compared if not one.reference and len(one.scores_RN)]

    @property
    def references(self) -> list[Compared]:
        """Return what is shown for comparison only."""
        return [one for one in self.compared if one.reference]


def compare_candidates(
    examples: Examples,
    config: ClassifierConfig,
    *,
    groups: Sequence[str] | None = None,
    on_progress: ProgressCallback | None = None,
) -> Comparison:
    """Return the out-of-fold scores and AUCs of the configured candidates and of the references.

    Args:
        examples: rated clips.
        config: candidates, folds, repeats, seed and threads.
        groups: what no fold divides, one a clip; None: their sources.
        on_progress: progress callback.

    Raises:
        UserError: labels of too few sources for two folds, or no candidate that can be compared.
    """
    if groups is not None:
        examples = examples.grouped(groups)
    sides = Sides.of_ratings(examples.rating_N, config.good_rating)
    folds = tuple(tuple(source_folds(examples, config, repeat)) for repeat in range(config.repeats))
    asked = [name for name in BY_COST if name in config.candidates]
    compared = {name: Compared(name) for name in asked}
    for name in asked:
        if name in FITTED:
            compared[name].note = left_out(name, examples, [fold for drawn in folds for fold in drawn], config)
    there = [name for name in asked if name in FITTED and not compared[name].note]
    if not there:
        reasons = "; ".join(f"{name}: {one.note}" for name, one in compared.items() if one.note)
        raise UserError(
            "no candidate of the quality classifier can be compared on these labels "
            f"(classifier.candidates = {', '.join(config.candidates)}): {reasons or 'a blend needs two others'}"
        )
    cheap = [name for name in there if name != "network"]
    runner = _Runner(examples, config, folds, on_progress)
    wanted = [(compared[name], range(config.repeats)) for name in cheap]
    if "network" in there:
        first = (compared["network"], range(1))
        if device_of(config).type == "cpu" and config.threads <= len(folds[0]):
            # its few long fits come first, and the short ones fill the threads that these leave
            wanted.insert(0, first)
        else:
            # fits that have the GPU, or several threads each
            runner.run([first])
    runner.run(wanted)
    for name in cheap:
        _measure(compared[name], examples, sides)
    parts = blend_parts(there) if "blend" in asked else ()
    if "network" in there:
        _race(compared["network"], [compared[name] for name in cheap], runner, sides, config)
    if "blend" in compared:
        _blend(compared["blend"], [compared[name] for name in parts], examples, sides)
    references = [
        _measure(Compared(name, True, score_N[None], note=note), examples, sides)
        for name, (score_N, note) in reference_scores(examples, sides).items()
    ]
    return Comparison(examples, sides, folds, (*compared.values(), *references), parts)


def fit_candidate(
    name: Candidate, comparison: Comparison, config: ClassifierConfig, on_progress: ProgressCallback | None = None
) -> Scorer:
    """Return a candidate that learned from all compared clips."""
    if name == "blend":
        parts: dict[str, Scorer] = {
            part: fit_candidate(part, comparison, config, on_progress) for part in comparison.parts
        }
        spreads: dict[str, Spread] = {part: Spread.of(comparison.of(part).scores_RN) for part in comparison.parts}
        return BlendScorer(parts, spreads)
    with threadpool_limits(1), fixed_threads(config.threads):
        return _fit(name, comparison.examples, config, config.seed, on_progress)


def score_rows(scorer: Scorer, examples: Examples, rows: Rows) -> Floats:
    """Return the scores of some of the clips, a part at a time."""
    parts = [rows[start : start + SCORED_AT_A_TIME] for start in range(0, len(rows), SCORED_AT_A_TIME)]
    return np.concatenate([np.zeros(0), *(scorer.scores(examples.inputs(part, scorer.needs)) for part in parts)])


@dataclass(frozen=True)
class _Runner:
    """Fits candidates in folds, in parallel, each fit on its share of the threads."""

    examples: Examples
    config: ClassifierConfig
    folds: Sequence[Sequence[Fold]]
    on_progress: ProgressCallback | None

    def run(self, wanted: Sequence[tuple[Compared, range]]) -> None:
        """Add the scores of these repeats to the candidates; fits begin in this order."""
        candidates = [one for one, _ in wanted]
        tasks = [
            (one, repeat, number)
            for one, repeats in wanted
            for repeat in repeats
            for number in range(len(self.folds[repeat]))
        ]
        if not tasks:
            return
        parallel = min(self.config.threads, len(tasks))
        if any(one.name == "network" for one in candidates) and device_of(self.config).type == "cuda":
            parallel = 1
        found = {one.name: np.zeros((len(repeats), len(self.examples))) for one, repeats in wanted}
        begins = {one.name: repeats.start for one, repeats in wanted}
        label = f"quality classifier, {' and '.join(one.name for one in candidates)}"
        with (
            # at these sizes one thread for each fit is far better than all threads for each in turn
            threadpool_limits(1),
            fixed_threads(max(1, self.config.threads // parallel)) as limit,
            Progress(label, len(tasks), "fits", on_progress=self.on_progress) as progress,
            ThreadPoolExecutor(parallel, initializer=limit) as workers,
        ):

            def work(task: tuple[Compared, int, int]) -> tuple[Floats, float]:
                one, repeat, number = task
                start, fold = time.thread_time(), self.folds[repeat][number]
                learning = self.examples.take(fold.learn)
                seed = self.config.seed + 1000 * (repeat + 1) + number
                scorer = _fit(one.name, learning, self.config, seed)
                score_N = score_rows(scorer, self.examples, fold.score)
                progress.advance()
                return score_N, time.thread_time() - start

            for (one, repeat, number), (score_N, seconds) in zip(tasks, workers.map(work, tasks), strict=True):
                found[one.name][repeat - begins[one.name], self.folds[repeat][number].score] = score_N
                one.cpu_seconds += seconds
        for one in candidates:
            added_RN = filled(found[one.name])
            one.scores_RN = np.concatenate([one.scores_RN, added_RN]) if len(one.scores_RN) else added_RN


def _fit(
    name: str, learning: Examples, config: ClassifierConfig, seed: int, on_progress: ProgressCallback | None = None
) -> Scorer:
    if name == "network" and on_progress is not None:
        with Progress("quality classifier, network", config.steps, "steps", on_progress=on_progress) as progress:
            return fit_network(learning, config, seed, lambda loss: progress.advance(note=f"loss {loss:.3f}"))
    return FITTED[name](learning, config, seed)  # type: ignore[index]


def _race(
    network: Compared, cheaper: Sequence[Compared], runner: _Runner, sides: Sides, config: ClassifierConfig
) -> None:
    """Repeat the network, whose first scores are there, where it may win."""
    groups = runner.examples.groups
    _measure(network, runner.examples, sides)
    to_beat = max(
        ((auc_metrics(one.scores_RN[:1], sides, groups)["interval"] or (-1.0,))[0] for one in cheaper), default=-1.0
    )
    if config.repeats > 1 and network.lower is not None and network.lower > to_beat:
        runner.run([(network, range(1, config.repeats))])
        _measure(network, runner.examples, sides)
    elif config.repeats > 1 and network.lower is not None:
        network.behind = True
        network.note = (
            f"not repeated: after one repeat its lower bound {network.lower:.2f} is not above {to_beat:.2f}, that of "
            "the best cheaper candidate"
        )


def _blend(blend: Compared, parts: Sequence[Compared], examples: Examples, sides: Sides) -> None:
    if not parts:
        blend.note = "it needs two other candidates, and one or none could be compared"
        return
    repeats = min(len(part.scores_RN) for part in parts)
    spreads: Mapping[str, Spread] = {part.name: Spread.of(part.scores_RN) for part in parts}
    blend.scores_RN = np.stack(
        [blended({part.name: part.scores_RN[repeat] for part in parts}, spreads) for repeat in range(repeats)]
    )
    blend.note = f"of {' and '.join(part.name for part in parts)}"
    _measure(blend, examples, sides)


def _measure(one: Compared, examples: Examples, sides: Sides) -> Compared:
    one.auc = auc_metrics(one.scores_RN, sides, examples.groups)
    one.extremes = auc_metrics(one.scores_RN, Sides.extremes(examples.rating_N), examples.groups)
    return one


def filled(score_RN: Floats) -> Floats:
    """Return scores in which a clip without one counts as the mean of all: neither good nor bad."""
    return np.where(np.isfinite(score_RN), score_RN, Spread.of(score_RN).mean)
