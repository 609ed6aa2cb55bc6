"""Follow a training for a person: its rate, and at a fixed interval what it has reached on held-out clips.

The loop calls `measure` after every step. What it returns joins the step's metrics and the curve; the rate is shown to
trackers and callbacks only, since it differs from run to run. Nothing that the next steps depend on changes. What all
of this costs is counted (`about`), and said where it is much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from models.runtime.peak import machine_peak
from models.training.data import ClipWindows
from models.training.held_windows import HeldWindows, held_count
from models.training.loop import OnStep
from models.training.pictures import FRAMES, draw_picture
from models.training.rate import Rate
from models.training.step_flops import step_size
from models.training.tokenizer_training import TokenizerTraining
from models.training.tracker import TakesPictures, Tracker
from models.training.validation import held_out_metrics
from models.training.world_training import WorldTraining
from pipeline.config.training import TrainingConfig
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.progress import notify
from pipeline.storage.run_pictures import folder_of_pictures, write_picture

_MOST_MEASURED = 1000
_MUCH, _SOME = 0.05, 3
"""Share of the time from which on a notice says so, and the measurements after which it is judged."""


class Follower:
    """Follows one run of a training."""

    def __init__(
        self,
        job: Job,
        training: TokenizerTraining | WorldTraining,
        *,
        kind: str,
        run: str,
        held: Callable[[], ClipWindows | None],
    ) -> None:
        """Begin before the first step, on the first rank alone: the others wait for it at their next step.

        Args:
            job: its store receives pictures; its configuration has `training` and `evaluation`.
            training: what is trained.
            kind: of the model.
            run: the name of the run.
            held: returns the windows of held-out clips, None where there are none; called at the first measurement.
        """
        self._job, self._training, self._kind = job, training, kind
        self._folder, self._held = folder_of_pictures(kind, run), held
        self._windows: HeldWindows | None = None
        self._album: TakesPictures | None = None
        config = job.config.training
        self._every = interval(config, training.total_steps)
        # processes on machines alike
        peak = training.compute.ranks.count * machine_peak(training.compute)
        self.rate = Rate(step_size(training), total=training.total_steps, peak=peak)
        self._began, self._spent, self._cpu, self._measured = time.perf_counter(), 0.0, 0.0, 0

    def measure(self, step: int) -> Mapping[str, float]:
        """Note a step (from 1), and return what was measured on held-out clips after it; mostly nothing."""
        with self._counted():
            self.rate.taken(step)
            if not self._every or step % self._every:
                return {}
            windows = self._held_windows()
            if windows is None:
                return {}
            began = time.perf_counter()
            found = held_out_metrics(self._training, windows, step)
            if draws(step // self._every, self._training.total_steps // self._every, self._job.config.training):
                self._draw(windows, step)
            self._spent += time.perf_counter() - began
            self._measured += 1
            self._say_much()
            return found

    def note(self) -> str:
        """Return the rate for the line of progress."""
        return self.rate.note()

    def tracked(self, tracker: Tracker | None) -> Tracker | None:
        """Return a tracker that logs the rate beside each step's metrics; it receives the pictures too."""
        self._album = _takes_pictures(tracker)
        return None if tracker is None else _WithRate(tracker, self)

    def told(self, on_step: OnStep | None) -> OnStep | None:
        """Return a callback of steps that gets the rate beside each step's metrics."""
        if on_step is None:
            return None

        def step_taken(step: int, metrics: Mapping[str, float]) -> None:
            with self._counted():
                on_step(step, {**metrics, **self.shown()})

        return step_taken

    def shown(self) -> dict[str, float]:
        """Return the rate under the names of trackers and observations."""
        return {f"rate/{name}": value for name, value in self.rate.metrics().items()}

    def about(self, cpu_s: float) -> dict[str, Any]:
        """Return the rate of the whole run, and what following it cost.

        samples_per_s, frames_per_s, utilisation (a share of the machine's measured peak), peak_gflops, and
        `followed_share`: the share of the run's CPU-seconds that measurements, pictures, trackers and callbacks took.
        """
        found = {name: float(f"{value:.4g}") for name, value in self.rate.overall().items()}
        share = {"followed_share": round(self._cpu / cpu_s, 4)} if cpu_s > 0 else {}
        return {**found, "peak_gflops": round(self.rate.peak / 1e9, 1), **share}

    @contextmanager
    def _counted(self) -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            self._cpu += time.thread_time() - began

    def _held_windows(self) -> HeldWindows | None:
        """Return the windows, which are decoded once; None where nothing can be measured, which is said once."""
        if self._windows is None:
            clips = None if self._training.compute.sharded else self._held()
            if clips is None:
                self._every = 0
                why = "no source is held out (split.val_share)"
                if self._training.compute.sharded:
                    why = "each process holds a part of the weights (training.weights)"
                notify(f"{self._kind}: {why}, so nothing is measured on the way", self._job.on_progress)
                return None
            with clips:
                self._windows = _decoded(clips, self._training, self._job)
        return self._windows

    def _draw(self, windows: HeldWindows, step: int) -> None:
        config = self._job.config
        picture = draw_picture(self._job.store, self._training, windows, step, config.evaluation)
        if picture is None:
            notify(f"{self._kind}: the held-out clips were taken down: no picture", self._job.on_progress)
            return
        data, kind, most = picture.data, picture.kind, config.training.pictures
        key = write_picture(self._job.store, self._folder, step, data, kind, picture.clip_ids, most)
        if self._album is not None:
            name = "reconstructions" if isinstance(self._training, TokenizerTraining) else "rollouts"
            self._album.picture(f"held_out/{name}", picture.data, picture.size, step, picture.clip_ids)
        notify(f"{self._kind}: step {step}, picture {key}", self._job.on_progress)

    def _say_much(self) -> None:
        share = self._spent / max(time.perf_counter() - self._began, 1e-9)
        if self._measured == _SOME and share > _MUCH:
            training = self._job.config.training
            notify(
                f"{self._kind}: measurements on the way take {share:.0%} of the time: raise training.validate_every "
                f"(now {training.validate_every}), or lower training.validation_windows (now "
                f"{training.validation_windows})",
                self._job.on_progress,
            )


class _WithRate:
    """A tracker that logs the rate beside the metrics of each step."""

    def __init__(self, tracker: Tracker, follower: Follower) -> None:
        self._tracker, self._follower = tracker, follower

    @property
    def config(self) -> Any:
        """The settings of the run."""
        return self._tracker.config

    def log(self, data: dict[str, Any], step: int | None = None) -> None:
        """Log metrics of a step, and the rate."""
        with self._follower._counted():
            self._tracker.log({**data, **self._follower.shown()}, step=step)

    def finish(self) -> None:
        """Write what is left."""
        self._tracker.finish()


def _takes_pictures(tracker: object) -> TakesPictures | None:
    return tracker if isinstance(tracker, TakesPictures) else None


def interval(config: TrainingConfig, total: int) -> int:
    """Return the steps between two measurements of a training of `total` steps; 0 for none."""
    return config.validate_every and max(config.validate_every, -(-total // _MOST_MEASURED))


def draws(number: int, count: int, config: TrainingConfig) -> bool:
    """Return whether measurement `number` (from 1) of `count` draws a picture: `training.pictures` of them do."""
    return number * config.pictures // max(count, 1) > (number - 1) * config.pictures // max(count, 1)


def _decoded(clips: ClipWindows, training: TokenizerTraining | WorldTraining, job: Job) -> HeldWindows:
    asked, setting = job.config.training.validation_windows, "training.validation_windows"

    def of(window: int, decoded: int) -> HeldWindows:
        count = held_count(clips, asked=asked, window=window, setting=setting, on_progress=job.on_progress)
        try:
            return HeldWindows(clips, count=count, window=decoded)
        except UserError:
            if decoded == window:
                raise
            return HeldWindows(clips, count=count, window=window)

    if isinstance(training, TokenizerTraining):
        return of(training.config.window, training.config.window)
    needed = training.config.context
    # rollouts are longer than a short context
    return of(needed, max(needed, min(FRAMES + 1, clips.shape[0])))
