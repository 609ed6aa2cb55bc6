"""Tell a loss that is far above those of the steps before, before its gradient is applied."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

from models.training.finite import LossSpikeError

_WINDOW, _LEAST = 64, 16


class SpikeWatch:
    """The last losses of one network."""

    def __init__(self, factor: float, losses: Iterable[float] = ()) -> None:
        """Watch with a factor over the median (`training.spike_factor`), given the losses before."""
        self.factor = factor
        self.losses: deque[float] = deque(losses, _WINDOW)
        """Of the last steps that were applied."""

    def check(self, loss: float, section: str) -> None:
        """Raise a LossSpikeError where a loss is a spike, else count it among those before."""
        if self.factor and len(self.losses) >= _LEAST and loss > self.factor * (middle := median(self.losses)):
            raise LossSpikeError(
                f"the loss of {section} is {loss:.4g}, more than training.spike_factor = {self.factor:g} times "
                f"{middle:.4g}, the median of the last {len(self.losses)} steps,",
                section,
            )
        self.losses.append(loss)
