"""Arms side by side: their figures with intervals, and their differences from one of them.

Shapes: R seeds, S held-out sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.evaluation.metric import Metric
from models.studies.intervals import Better, over_seeds, paired_by_seed, paired_by_source, shown, verdict
from models.studies.study import Finished, Intervals, Table

Part = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Returns the figures of a result: all of it, or those on some clips."""


class Figure(NamedTuple):
    """A figure of a run: one number, or one per held-out source."""

    key: str
    """In the result."""
    title: str
    better: Better | None = None
    """None: neither is better, as of a size."""
    digits: int = 2


class Difference(NamedTuple):
    """One arm less another in one figure."""

    arm: str
    against: str
    figure: Figure
    by_seed: Metric
    by_source: Metric | None
    """None: the figure is one number a run, as its time is, and not one per source."""
    verdict: str

    def sentence(self) -> str:
        """Return the difference in words, with both intervals."""
        value = self.by_seed["value"]
        by = "not known" if value is None else f"{value:+.{self.figure.digits}f}"
        metrics = [(self.by_seed, "seeds")] + ([] if self.by_source is None else [(self.by_source, "sources")])
        ends = ", ".join(f"{_ends(metric, self.figure.digits)} over {what}" for metric, what in metrics)
        return f"{self.figure.title}: {self.arm} less {self.against} is {by} ({ends}): {self.verdict}."


def all_of(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a result as it is."""
    return result


def by_seed(finished: Sequence[Finished], arm: str, key: str, part: Part = all_of) -> dict[int, np.ndarray]:
    """Return, per seed of an arm, the values (S,) of a figure by source; nan where there is none."""
    found = {}
    for run, result in finished:
        if run.arm == arm:
            value = part(result)[key]
            found[run.seed] = np.array(value if isinstance(value, list) else [value], np.float64)
    return found


def mean_of_arm(finished: Sequence[Finished], arm: str, key: str, part: Part = all_of) -> Metric:
    """Return the mean of a figure with its interval over seeds."""
    return over_seeds([_mean(value) for value in by_seed(finished, arm, key, part).values()])


def difference(finished: Sequence[Finished], arm: str, against: str, figure: Figure, part: Part = all_of) -> Difference:
    """Return how an arm differs from another one, paired by seed and by source."""
    one, other = (by_seed(finished, name, figure.key, part) for name in (arm, against))
    seeds = sorted(one.keys() & other.keys())
    seed = paired_by_seed(*({key: _mean(own[key]) for key in seeds} for own in (one, other)))
    if not seeds:
        return Difference(arm, against, figure, seed, seed, "no common seed")
    if not any(isinstance(part(result)[figure.key], list) for run, result in finished if run.arm == arm):
        said = verdict(seed, None, figure.better or "higher", seeds=len(seeds), sources=0)
        return Difference(arm, against, figure, seed, None, said)
    source = paired_by_source(*(np.stack([own[key] for key in seeds]) for own in (one, other)))
    said = verdict(seed, source, figure.better or "higher", seeds=len(seeds), sources=source.get("num_sources", 0))
    return Difference(arm, against, figure, seed, source, said)


def arms_table(
    finished: Sequence[Finished], arms: Sequence[str], figures: Sequence[Figure], title: str = "", part: Part = all_of
) -> Table:
    """Return a row per arm: its figures with intervals over seeds."""
    rows = [
        [arm, *(shown(mean_of_arm(finished, arm, figure.key, part), figure.digits) for figure in figures)]
        for arm in arms
    ]
    return Table(["", *(figure.title for figure in figures)], rows, title)


def differences_table(differences: Sequence[Difference], title: str = "") -> Table:
    """Return a row per difference: both intervals, and what they say."""
    rows = [
        [
            f"{each.arm} - {each.against}",
            each.figure.title,
            shown(each.by_seed, each.figure.digits),
            "-" if each.by_source is None else shown(each.by_source, each.figure.digits),
            each.verdict,
        ]
        for each in differences
    ]
    return Table(["difference", "figure", "over seeds", "over sources", ""], rows, title)


def differences_chart(differences: Sequence[Difference], title: str) -> Intervals | None:
    """Return the differences with their intervals over seeds on one axis; None where none is known."""
    rows = [
        (each.arm, value, each.by_seed.get("low"), each.by_seed.get("high"))
        for each in differences
        if (value := each.by_seed["value"]) is not None
    ]
    return Intervals(title, rows, mark=0.0) if rows else None


def shown_cpu_s(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the mean of the runs' CPU-seconds as text; without those that were stopped and went on."""
    known = [result["cpu_s"] for result in results if result["cpu_s"] is not None]
    return shown(over_seeds(known), 0) if known else "not known: stopped, and went on"


def as_json(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """Return differences for machines."""
    return [
        {
            "arm": each.arm,
            "against": each.against,
            "figure": each.figure.key,
            "by_seed": dict(each.by_seed),
            "by_source": None if each.by_source is None else dict(each.by_source),
            "verdict": each.verdict,
        }
        for each in differences
    ]


def _mean(values_S: np.ndarray) -> float:
    known = values_S[np.isfinite(values_S)]
    return float(known.mean()) if len(known) else float("nan")


def _ends(metric: Metric, digits: int) -> str:
    low, high = metric.get("low"), metric.get("high")
    return "no interval" if low is None or high is None else f"{low:+.{digits}f} to {high:+.{digits}f}"
