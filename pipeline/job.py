"""The arguments that every stage of the pipeline takes: store, configuration, home and progress callback.

cut_batch(BatchJob(store, config, home, batch="2026w47-0001"))
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config import Config
from pipeline.progress import ProgressCallback
from pipeline.storage.home import Home
from pipeline.storage.store import Store


@dataclass(frozen=True)
class Job:
    """A stage's work on a whole store."""

    store: Store
    config: Config
    home: Home
    """Local state: rate limits, journals, temporary files."""
    on_progress: ProgressCallback | None = None
    """Called with the lines that the terminal shows; None: progress is not reported."""

    def of_batch(self, batch: str) -> BatchJob:
        """Return the same work limited to one batch."""
        return BatchJob(self.store, self.config, self.home, self.on_progress, batch)


@dataclass(frozen=True)
class BatchJob(Job):
    """A stage's work on one batch of videos."""

    batch: str = ""
    """Partition key, e.g. `2026w47-0001`."""

    def __post_init__(self) -> None:
        if not self.batch:
            raise ValueError("a BatchJob needs the batch's name")
