"""The studies that are lists of runs, by name; what each needs is imported when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from models.studies.study import Scope, Study


class Entry(NamedTuple):
    """A study that can be asked for."""

    open: Callable[[Scope], Study]
    summary: str
    """What it compares, in a line."""
    toy_cpu_minutes: float
    """CPU-minutes at size `toy` with three seeds, as measured on the machine that docs/studies.md names."""
    reads_clips: bool = False
    """Whether it reads the clips of a root; the others draw their own."""


def _scaling(scope: Scope) -> Study:
    from models.studies.scaling import ScalingStudy

    return ScalingStudy(scope)


STUDIES: dict[str, Entry] = {
    "scaling": Entry(_scaling, "Fit the loss against the size of the dynamics, and against its batch.", 25.0),
}
