"""The training loop: steps, progress, curve, checkpoints, the check that numbers stay finite, and a clean end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.registry import Curve
from models.runtime.ranks import ALONE, Ranks
from models.runtime.weights import WeightsError
from models.training.bad_steps import BadSteps
from models.training.checkpoint import Checkpoint, Checkpoints
from models.training.finite import BadStepError, NotFiniteError, check_metrics, not_finite
from models.training.optimizer import Optimizer
from models.training.saver import FULL, SaveError, Saver, goes_on, left
from models.training.score import Score
from models.training.stop import Stop, stops_between_steps
from models.training.tracker import Tracker, tracked
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback, notify

OnStep = Callable[[int, Mapping[str, float]], None]
Advice = Callable[[BadStepError, int | None], str]
"""Returns what a person can do about a bad step, given why it is bad, and the step of the last checkpoint."""

_CURVE_POINTS = 2000


class Trainable(Protocol):
    """A training that the loop can run."""

    total_steps: int
    alone_steps: int
    """Steps before all networks learn: those of the LAM alone."""

    def initialize(self) -> None:
        """Initialize the networks before step 0; not called for a resumed run."""

    def step(self, step: int) -> dict[str, float]:
        """Take step number `step` (0-based) and return its metrics; all noise is drawn from the seed and `step`.

        Raises:
            BadStepError: a gradient is not finite, or a loss is a spike; it was not applied.
        """

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks that learn, by the names under which they are published."""

    def optimizers(self) -> dict[str, Optimizer]:
        """Return what moves them, by the names under which checkpoints hold it."""

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


class Follow(Protocol):
    """Follows the steps of a training for a person, and changes nothing that they depend on."""

    def measure(self, step: int) -> Mapping[str, float]:
        """Note a step (from 1); return what was measured after it beside its own metrics, mostly nothing."""

    def note(self) -> str:
        """Return the rate for the line of progress."""


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
    bad_steps: BadSteps | None = None,
    ranks: Ranks = ALONE,
    follow: Follow | None = None,
) -> Curve:
    """Train to the last step, from the newest good checkpoint if there is one; return the curve from step 1 on.

    The state after the last step is a checkpoint too. Where the process is asked to end, the step in progress is
    finished and its state saved; then it ends as it would have at once.

    Args:
        training: what is trained.
        checkpoints: of the run; None keeps none.
        stage: how progress and errors call it.
        checkpoint_every: steps between two checkpoints.
        on_progress: receives progress.
        on_step: receives each step (from 1) and its metrics.
        advice: says what can be changed where a step is bad.
        make_tracker: returns where the metrics go, given the steps taken before; called again where the run goes back.
        begin: where there is no checkpoint of this run yet, takes the place of `initialize`: loads the state to begin
            with, and returns its step and the curve up to it.
        bad_steps: says what becomes of a step whose numbers are bad; without it, the run ends.
        ranks: the processes that train together: the first one writes checkpoints and tells of progress. All of them
            stop after the same step, and go back together.
        follow: measures on the way; what it returns joins the metrics of the step, and the curve.

    Raises:
        UserError: all checkpoints are damaged, or belong to another training.
        BadStepError: a gradient, a metric or a weight is not finite, or a loss is a spike; the checkpoints before stay.
        SaveError: a checkpoint could not be written, as on a full disk; the checkpoints before stay.
        UserError: a step needs more memory than a GPU has left; the checkpoints before stay.
    """
    if not ranks.first:
        on_progress = on_step = make_tracker = None
    loop = _Loop(training, checkpoints, stage, checkpoint_every, on_progress, on_step, bad_steps, ranks, follow)
    first, total = loop.begin(begin), training.total_steps
    following = Progress(stage, total=total - first, unit="steps", on_progress=on_progress)
    ends_cleanly = stops_between_steps() if checkpoints is not None else nullcontext(Stop())
    with following as progress, loop.saver or nullcontext(), ends_cleanly as stop:
        step = first
        while step < total:
            with tracked(make_tracker, step) as track:
                while step < total:
                    try:
                        note = loop.take(step, track)
                        leaves = ranks.total(stop.asked) > 0
                        loop.save(step + 1, at_once=leaves)
                    except BadStepError as exc:
                        step = loop.go_back(exc, step, advice)
                        progress.done = step - first
                        break
                    except OSError as exc:
                        if exc.errno not in FULL:
                            raise
                        raise loop.full(exc) from exc
                    except torch.OutOfMemoryError as exc:
                        raise loop.out_of_memory(exc, step) from exc
                    step += 1
                    progress.advance(note=note)
                    if leaves:
                        loop.leave(stop)
        loop.finish()
        if stop.asked:
            stop.leave()
    return loop.curve


class _Loop:
    """The state of one run of the loop."""

    def __init__(
        self,
        training: Trainable,
        checkpoints: Checkpoints | None,
        stage: str,
        checkpoint_every: int,
        on_progress: ProgressCallback | None,
        on_step: OnStep | None,
        bad_steps: BadSteps | None,
        ranks: Ranks,
        follow: Follow | None,
    ) -> None:
        self.training, self.checkpoints, self.stage, self.every = training, checkpoints, stage, checkpoint_every
        self.on_progress, self.on_step, self.bad_steps, self.ranks = on_progress, on_step, bad_steps, ranks
        self.follow = follow
        self.total = training.total_steps
        self.curve: Curve = []
        self.saver: Saver | None = None
        self._first = 0
        self._scores = Score(checkpoints.policy.best_by if checkpoints is not None else "loss")
        self._keep_every = -(-self.total // _CURVE_POINTS)
        self._begun: Checkpoint | None = None
        """What the run goes back to before its first checkpoint, where it may go back."""

    def begin(self, begin: Callable[[], tuple[int, Curve]] | None) -> int:
        """Load or make the state to begin with, and return the steps taken before."""
        saved, first = self._latest(), 0
        if saved is not None:
            first = saved.step
            self._load(saved)
            if self.bad_steps is not None:
                self.bad_steps.load(saved.about)
            where = self.checkpoints.folder if self.checkpoints is not None else ""
            notify(f"{self.stage}: resumed at step {first} of {self.total}, from {where}", self.on_progress)
        elif begin is not None:
            first, self.curve = begin()
        else:
            self.training.initialize()
        if self.checkpoints is not None and self.ranks.first:
            self.saver = Saver(self.checkpoints, None if saved is None else saved.step, stage=self.stage)
        # of a divided network, one process alone would hold all of it
        if saved is None and self.bad_steps is not None and self.bad_steps.rolls_back and self.ranks.alone:
            tensors = {name: tensor.detach().clone() for name, tensor in self.training.tensors().items()}
            self._begun = Checkpoint(first, tensors, self._about(is_due=True))
        self._first = first
        return first

    def take(self, step: int, track: OnStep) -> str:
        """Take a step (0-based), record it, and return a note of its metrics, or that it was skipped.

        Raises:
            BadStepError: its numbers are bad, and it cannot be skipped.
        """
        if self.saver is not None:
            self.saver.check()
        try:
            metrics = self.training.step(step)
            check_metrics(metrics)
        except BadStepError as exc:
            if self.bad_steps is None or not self.bad_steps.skips(exc, step + 1):
                raise
            notify(f"{self.stage}: {self.bad_steps.sentence(step)}", self.on_progress)
            return "skipped"
        if step in (self._first, self.training.alone_steps) and self.checkpoints is not None:
            tensors = self.training.tensors()  # of all ranks; moments are there after a step
            if self.saver is not None:
                self.saver.prepare(tensors)
        measured = self.follow.measure(step + 1) if self.follow is not None else {}
        metrics = {**metrics, **measured}
        self._scores.add(metrics)
        if measured or (step + 1) % self._keep_every == 0 or step + 1 == self.total:
            self.curve.append({"step": step + 1, **{name: float(f"{v:.6g}") for name, v in metrics.items()}})
        track(step + 1, metrics)
        if self.on_step is not None:
            self.on_step(step + 1, metrics)
        return _note(metrics, self.follow)

    def save(self, step: int, *, at_once: bool) -> None:
        """Save the state after `step` steps, where it is time for that, it is the last one, or `at_once`."""
        is_due = step % self.every == 0
        if step != self.total and (self.checkpoints is None or not (is_due or at_once)):
            return
        tensors, about = self.training.tensors(), self._about(is_due)  # of all ranks
        # the first rank may be the only one that has them all
        if found := self.ranks.share(not_finite(tensors) if self.ranks.first else None):
            raise NotFiniteError(found, applied=True)
        if self.checkpoints is not None and self.checkpoints.policy.best and step > self.training.alone_steps:
            self._scores.check()
        if self.saver is not None:
            self.saver.save(step, tensors, about)
        if self.checkpoints is not None:
            self._begun = None
        if is_due:
            self._scores.begin()

    def go_back(self, error: BadStepError, step: int, advice: Advice | None) -> int:
        """Return the step (0-based) at which the run goes on after a bad one, with the state loaded.

        Raises:
            BadStepError: the run ends here; it says what is left of it, and what can be changed.
        """
        good = self.ranks.share(self._good())
        back = good is not None or self._begun is not None
        if not back or self.bad_steps is None or not self.bad_steps.goes_back(error, step + 1):
            what = f"{self.stage}: {error} at step {step + 1} of {self.total}. {left(good)}"
            text = f"{what} {advice(error, good)}" if advice else what
            raise type(error)(text, error.section, applied=error.applied) from error
        found = self._latest() or self._begun
        assert found is not None, "a run that may go back has a state to go back to"
        self._load(found)
        self.bad_steps.go_back(found.about)
        notify(f"{self.stage}: {self.bad_steps.sentence(found.step)}", self.on_progress)
        return found.step

    def full(self, error: OSError) -> SaveError:
        """Return the error of a step in which something else than a checkpoint met a full disk."""
        good = self._good()
        return SaveError(f"{self.stage}: {error}. {left(good)} Free space, and start again: {goes_on(good)}.")

    def out_of_memory(self, error: torch.OutOfMemoryError, step: int) -> UserError:
        """Return the error of a step (0-based) for which the GPU had no memory left."""
        good = self._good()
        stays, on = left(good), goes_on(good)
        if not self.ranks.first:
            # the others may still be in the step, so they cannot be asked
            stays, on = "Checkpoints stay.", "it goes on from the newest one, where there is one"
        # torch's own text goes on with advice on its allocator
        why = str(error).partition(". ")[0]
        return UserError(
            f"{self.stage}: step {step + 1} needs more memory than is left. {why}. {stays} Raise "
            "training.accumulate (a step in more and smaller parts) or set training.activation_checkpointing: 'on', "
            f"which train the same model, or end what else holds the GPU's memory. Then start again: {on}."
        )

    def leave(self, stop: Stop) -> None:
        """Wait for the last save, say so, and end as the signal says."""
        self.finish()
        # torchrun ends the others as soon as one has left
        good = self.ranks.share(self._good())
        where = f"after step {good} of {self.total}, whose state is saved"
        text = f"{self.stage}: stopped by {stop.name} {where}; started again, {goes_on(good)}"
        notify(text, self.on_progress)
        stop.leave()

    def finish(self) -> None:
        """Wait for the last save."""
        if self.saver is not None:
            self.saver.wait()

    def _about(self, is_due: bool) -> dict[str, Any]:
        more = {} if self.bad_steps is None else self.bad_steps.about()
        return {**self.training.about(), "curve": list(self.curve), **self._scores.about(is_due), **more}

    def _latest(self) -> Checkpoint | None:
        """Return the newest good checkpoint: the one that the first rank finds, on all."""
        if self.checkpoints is None:
            return None
        saved = self.checkpoints.latest(self.on_progress) if self.ranks.first else None
        step = self.ranks.share(None if saved is None else saved.step)
        return saved if self.ranks.first or step is None else self.checkpoints.read(step)

    def _load(self, saved: Checkpoint) -> None:
        try:
            self.training.load(saved.tensors)
            self.training.load_about(saved.about)
            self.curve = list(saved.about["curve"])
        except (WeightsError, KeyError) as exc:
            assert self.checkpoints is not None
            raise self.checkpoints.unfit(saved.step, exc) from exc
        self._scores.load(saved.about)

    def _good(self) -> int | None:
        """Return the step of the newest checkpoint, once nothing is being written."""
        if self.saver is None:
            return None
        self.saver.join()
        return self.saver.good


def _note(metrics: Mapping[str, float], follow: Follow | None) -> str:
    """Return the rate and the metrics of a step for the line of progress."""
    rate = follow.note() if follow is not None else ""
    return ", ".join([rate] * bool(rate) + [f"{name} {value:.4g}" for name, value in metrics.items()])
