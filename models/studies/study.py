"""What a study is: a list of runs, and a report that is computed from their results.

    class Colours(Study):
        name, version, title, about = "colours", 1, "Do colours help?", "Two arms."
        def runs(self): return [Run("grey", seed, {"steps": 10}) for seed in range(3)]
        def run(self, run, say): return {"psnr": 20.0 + run.seed}
        def report(self, finished): return Report(sentences=[...], tables=[...], charts=[...])

`models.studies.runner` makes the runs, and `models.studies.catalogue` names the studies of this kind.
This module needs no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pipeline.job import Job
from pipeline.progress import ProgressCallback

Size = Literal["tiny", "toy", "full"]
"""`tiny`: seconds, to see that a study works; `toy`: minutes on two cores; `full`: what a GPU is for."""


@dataclass(frozen=True)
class Scope:
    """What a study is made on, and how large."""

    folder: Path
    """Gets the results of the runs, and the states of trainings until the study is complete."""
    job: Job | None = None
    """Of the root whose clips are read; None where a study draws its own."""
    size: Size = "toy"
    seeds: int = 3
    """Seeds of each arm: 0, 1, .."""
    steps: int | None = None
    """Most steps of each network; None: those of the size."""
    threads: int | None = None
    """Of each training; None: one at the small sizes, as several studies run beside each other, else as configured."""


@dataclass(frozen=True)
class Run:
    """One training or measurement of a study."""

    arm: str
    """What is compared with the other arms."""
    seed: int
    settings: Mapping[str, Any]
    """Everything else that the result depends on, as JSON-able values; dataclasses of settings may be among them."""


class Finished(NamedTuple):
    """A run with its result."""

    run: Run
    result: dict[str, Any]
    """As JSON has it: what `Study.run` returned, and `machine`, `date` and `cpu_s` of it.

    `cpu_s` is None where the run was stopped and went on.
    """


@dataclass(frozen=True)
class Table:
    """A table of a report."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""


@dataclass(frozen=True)
class Curves:
    """Lines over one pair of axes."""

    title: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    """Name -> points (x, y), in order of x."""
    bands: Mapping[str, Sequence[tuple[float, float, float]]] = field(default_factory=dict)
    """Name of a line -> (x, low, high)."""
    x_label: str = ""
    log_x: bool = False


@dataclass(frozen=True)
class Intervals:
    """A dot with its interval per row, on a common axis."""

    title: str
    rows: Sequence[tuple[str, float, float | None, float | None]]
    """Name, value, low, high."""
    mark: float | None = None
    """A value to mark: that of no difference, say."""


@dataclass(frozen=True)
class Report:
    """What a study has found."""

    sentences: Sequence[str]
    """The answer in words, each a paragraph; the first one is the answer itself."""
    tables: Sequence[Table] = ()
    charts: Sequence[Curves | Intervals] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    """The same as JSON-able values, for machines."""


class Study(ABC):
    """One question, the runs that answer it, and the answer."""

    name: str
    """As in `lampworks study NAME`."""
    version: int
    """Raised where the code changes what a run gives: results of another version are not read."""
    title: str
    """The question, as a heading."""
    about: str
    """What is trained, compared and measured, in Markdown."""

    def data(self) -> str:
        """Return the version of the data that the runs read, as a short text; runs of other data are others."""
        return ""

    @abstractmethod
    def runs(self) -> list[Run]:
        """Return all runs, in the order in which they are made.

        Raises:
            UserError: the data do not allow the study.
        """

    @abstractmethod
    def run(self, run: Run, say: ProgressCallback) -> dict[str, Any]:
        """Make one run and return its result as JSON-able values, without names of videos; `say` takes progress."""

    def prepare(self, run: Run, say: ProgressCallback) -> None:  # noqa: B027
        """Make what a run shares with others, where it is not there yet: its time is not that of any run."""

    def end(self) -> None:  # noqa: B027
        """Delete what runs have shared: all of them are there."""

    @abstractmethod
    def report(self, finished: Sequence[Finished]) -> Report:
        """Return what the results of all runs say."""
