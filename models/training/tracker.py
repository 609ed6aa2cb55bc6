"""Trackers: where the metrics of a training's steps go, beside Dagster's plots and the curve of the model.

A tracker is what `wandb.init()` returns, cut down to three members: `config`, `log` and `finish`. So a run of Weights &
Biases can take the place of the event files:

    train_tokenizer(job, make_tracker=lambda run: wandb.init(id=run.run_id, resume="allow", config=dict(run.config)))

By default (`training.tracker`) the metrics go to event files, `models.training.event_files`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


class Tracker(Protocol):
    """Takes the metrics of one run."""

    @property
    def config(self) -> Any:
        """The settings of the run, as a mapping."""

    def log(self, data: dict[str, Any], step: int | None = None) -> Any:
        """Take metrics of a step (from 1)."""

    def finish(self) -> Any:
        """Write what is left; nothing is logged afterwards."""


@runtime_checkable
class TakesPictures(Protocol):
    """A tracker that shows pictures too."""

    def picture(self, name: str, data: bytes, size: tuple[int, int], step: int, clip_ids: Sequence[str]) -> None:
        """Take a PNG or JPEG of a step.

        Args:
            name: what it shows.
            data: the file.
            size: width and height.
            step: from 1.
            clip_ids: the clips that it shows, by which a takedown finds it.
        """


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is made for."""

    run_id: str
    kind: str
    """`video_tokenizer` or `world_model`."""
    config: Mapping[str, Any]
    """The settings, by section."""
    first_step: int
    """Steps that the run has taken before: the first that is logged is the next one."""
    total_steps: int = 0
    """Steps that it is to take in all; 0 where that is not known."""


MakeTracker = Callable[[TrackedRun], Tracker | None]
"""Returns a run's tracker; None tracks nothing."""


def shown_name(name: str) -> str:
    """Return the name of a metric for trackers and observations: `train/loss`; names with a folder keep it."""
    return name if "/" in name else f"train/{name}"


@contextmanager
def tracked(
    make_tracker: Callable[[int], Tracker | None] | None, first_step: int
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Yield a function that takes a step and its metrics; the tracker is finished when the block ends.

    Args:
        make_tracker: returns a tracker, given the steps taken before; None tracks nothing.
        first_step: the steps taken before.
    """
    tracker = make_tracker(first_step) if make_tracker is not None else None
    if tracker is None:
        yield lambda step, metrics: None
        return
    try:
        yield lambda step, metrics: tracker.log({shown_name(name): value for name, value in metrics.items()}, step=step)
    finally:
        tracker.finish()
