"""The training loop: steps, progress, curve, checkpoints, and the check that numbers stay finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from models.registry import Curve
from models.runtime.ranks import ALONE, Ranks
from models.runtime.weights import WeightsError
from models.training.checkpoint import Checkpoint, Checkpoints
from models.training.finite import NotFiniteError, check_metrics, check_tensors
from models.training.tracker import Tracker, tracked
from pipeline.progress import Progress, ProgressCallback, notify

OnStep = Callable[[int, Mapping[str, float]], None]
Advice = Callable[[str, int | None], str]
"""Returns what a person can do about numbers that are not finite, from the section of the configuration whose network
it is (empty where unknown), and the step of the last checkpoint."""

_CURVE_POINTS = 2000


class Trainable(Protocol):
    """A training that the loop can run."""

    total_steps: int

    def initialize(self) -> None:
        """Initialize the networks before step 0; not called for a resumed run."""

    def step(self, step: int) -> dict[str, float]:
        """Take step number `step` (0-based) and return its metrics; all noise is drawn from the seed and `step`.

        Raises:
            NotFiniteError: a gradient is not finite; it was not applied.
        """

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks that learn, by the names under which they are published."""

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that the next step depends on."""

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load what `tensors` returned; WeightsError where it does not fit."""

    def finish(self) -> None:
        """Make the networks whole after the last step, where they are divided among processes."""

    def about(self) -> dict[str, Any]:
        """Return what a checkpoint tells beside the tensors, as JSON-able values."""

    def load_about(self, about: Mapping[str, Any]) -> None:
        """Load what `about` returned."""


def run(
    training: Trainable,
    checkpoints: Checkpoints | None,
    *,
    stage: str,
    checkpoint_every: int,
    on_progress: ProgressCallback | None = None,
    on_step: OnStep | None = None,
    advice: Advice | None = None,
    make_tracker: Callable[[int], Tracker | None] | None = None,
    begin: Callable[[], tuple[int, Curve]] | None = None,
    ranks: Ranks = ALONE,
) -> Curve:
    """Train to the last step, from the newest good checkpoint if there is one; return the curve from step 1 on.

    The state after the last step is a checkpoint too.

    Args:
        training: what is trained.
        checkpoints: of the run; None keeps none.
        stage: how progress and errors call it.
        checkpoint_every: steps between two checkpoints.
        on_progress: receives progress.
        on_step: receives each step (from 1) and its metrics.
        advice: says what can be changed where a number is not finite.
        make_tracker: returns where the metrics go, given the steps taken before this run of the loop.
        begin: where there is no checkpoint of this run yet, takes the place of `initialize`: loads the state to begin
            with, and returns its step and the curve up to it.
        ranks: the processes that train together: the first one writes checkpoints and tells of progress.

    Raises:
        UserError: all checkpoints are damaged, or belong to another training.
        NotFiniteError: a gradient, a metric or a weight is not finite; the checkpoints before stay.
    """
    if not ranks.first:
        on_progress = on_step = make_tracker = None
    saved = _latest(checkpoints, ranks, on_progress) if checkpoints is not None else None
    curve: Curve = []
    first, total = 0, training.total_steps
    if saved is not None:
        assert checkpoints is not None
        first, curve = saved.step, _resume(training, checkpoints, saved, stage, on_progress)
    elif begin is not None:
        first, curve = begin()
    else:
        training.initialize()
    keep_every = -(-total // _CURVE_POINTS)
    good = None if saved is None else saved.step
    following = Progress(stage, total=total - first, unit="steps", on_progress=on_progress)
    with tracked(make_tracker if first < total else None, first) as track, following as progress:
        for step in range(first, total):
            try:
                metrics = training.step(step)
                check_metrics(metrics)
                if (step + 1) % keep_every == 0 or step + 1 == total:
                    curve.append({"step": step + 1, **{name: float(f"{v:.6g}") for name, v in metrics.items()}})
                track(step + 1, metrics)
                if on_step is not None:
                    on_step(step + 1, metrics)
                if step + 1 == total:
                    check_tensors(training.tensors())
                if checkpoints is not None and ((step + 1) % checkpoint_every == 0 or step + 1 == total):
                    tensors, about = training.tensors(), training.about()  # of all ranks
                    if ranks.first:
                        checkpoints.save(step + 1, tensors, {**about, "curve": curve})
                    good = step + 1
            except NotFiniteError as exc:
                what = f"{stage}: {exc} at step {step + 1} of {total}. {_left(good)}"
                raise NotFiniteError(f"{what} {advice(exc.section, good)}" if advice else what, exc.section) from exc
            progress.advance(note=", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    return curve


def _latest(checkpoints: Checkpoints, ranks: Ranks, on_progress: ProgressCallback | None) -> Checkpoint | None:
    """Return the newest good checkpoint: the one that the first rank finds, on all."""
    saved = checkpoints.latest(on_progress) if ranks.first else None
    step = ranks.share(None if saved is None else saved.step)
    return saved if ranks.first or step is None else checkpoints.read(step)


def _resume(
    training: Trainable, checkpoints: Checkpoints, saved: Checkpoint, stage: str, on_progress: ProgressCallback | None
) -> Curve:
    """Load a checkpoint into a training, say so, and return its curve."""
    try:
        training.load(saved.tensors)
        training.load_about(saved.about)
        curve: Curve = saved.about["curve"]
    except (WeightsError, KeyError) as exc:
        raise checkpoints.unfit(saved.step, exc) from exc
    notify(f"{stage}: resumed at step {saved.step} of {training.total_steps}, from {checkpoints.folder}", on_progress)
    return curve


def _left(good: int | None) -> str:
    return "No checkpoint was written yet." if good is None else f"The checkpoint of step {good} is good and stays."
