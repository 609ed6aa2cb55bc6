"""The batches of a training's steps, from where its last checkpoint was written on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from models.training.data import Batches, ClipWindows, TensorBatch

Open = Callable[[Mapping[str, Any] | None], Batches]
"""Returns the batches of an order, from its start or from where a state says."""


class StepBatches:
    """Batches that are opened at the first step, when it is known where they begin."""

    def __init__(self, windows: ClipWindows, open_batches: Open) -> None:
        """Begin at the start of the order.

        Args:
            windows: the data.
            open_batches: opens the order.
        """
        self._windows, self._open_batches = windows, open_batches
        self._open: Batches | None = None
        self._state: Mapping[str, Any] | None = None

    def __next__(self) -> TensorBatch:
        """Return the next batch; errors as of `WindowLoader`."""
        self._open = self._open or self._open_batches(self._state)
        return next(self._open)

    @property
    def wait_s(self) -> float:
        """Return the seconds in which batches were waited for."""
        return 0.0 if self._open is None else self._open.wait_s

    def about(self) -> dict[str, Any]:
        """Return the samples that were skipped on any rank, and the position in the order of windows."""
        state = self._state if self._open is None else self._open.state()
        return {"bad_samples": self._windows.bad_of_all(), "loader": state}

    def load_about(self, about: Mapping[str, Any]) -> None:
        """Skip the samples that were skipped before, and go on in the order of windows."""
        self._windows.tally.add_known(about.get("bad_samples", {}))
        if self._open is not None:
            self._open.close()
        self._open, self._state = None, about.get("loader")
