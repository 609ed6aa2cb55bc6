"""Where a window of a clip may start: inside one shot, so that no window spans a scene cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Starts:
    """The frames of a clip at which a window may start, in spans that follow each other."""

    firsts: tuple[int, ...]
    """First start of each span."""
    counts: tuple[int, ...]
    """Starts of each span."""
    apart: int
    """Windows that lie side by side in the spans without sharing a frame."""
    stride: int = 1
    """Frames from one start of a span to the next."""

    @property
    def total(self) -> int:
        """Return the number of starts; 0 where no window fits."""
        return sum(self.counts)

    def __getitem__(self, number: int) -> int:
        """Return the start with a number, from 0."""
        for first, count in zip(self.firsts, self.counts, strict=True):
            if number < count:
                return first + number * self.stride
            number -= count
        raise IndexError(number)

    def draw(self, count: int, rng: np.random.Generator) -> list[int]:
        """Return `count` starts, one at random of each of as many equal parts of them.

        Starts repeat only where there are fewer than that.
        """
        edges = np.arange(count + 1) * self.total // count
        places = edges[:-1] + (rng.random(count) * np.diff(edges)).astype(np.int64)
        return [self[int(place)] for place in places]


def free_starts(num_frames: int, cuts: Sequence[int], window: int, stride: int = 1) -> Starts:
    """Return where windows of a clip may start.

    Args:
        num_frames: of the clip.
        cuts: first frame of each new shot, rising.
        window: frames of a window.
        stride: frames from one start in a shot to the next.
    """
    edges = [0, *(cut for cut in cuts if 0 < cut < num_frames), num_frames]
    spans = [(first, end) for first, end in pairwise(edges) if end - first >= window]
    return Starts(
        tuple(first for first, _ in spans),
        tuple((end - first - window) // stride + 1 for first, end in spans),
        sum((end - first) // window for first, end in spans),
        stride,
    )
