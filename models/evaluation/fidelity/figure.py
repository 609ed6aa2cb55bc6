"""One figure of fidelity: a value with its interval, the network it was computed on, its counts, and its floors."""

from __future__ import annotations

from models.evaluation.metric import Metric
from models.features.net import NetFacts


class Figure(Metric, total=False):
    """A figure as it is stored in JSON; what does not apply is absent."""

    num_samples: int
    """Videos, or frames, of each set."""
    net: NetFacts
    floors: dict[str, Metric]
    """The same figure where nothing was predicted: `tokenizer` (its reconstructions against the truth) and `halves`
    (the true videos of one half of the sources against those of the other; mean of many divisions)."""
    on_halves: Metric
    """The figure of rollouts of one half of the sources against the truth of the other: what compares with `halves`."""
    limit: float
    """Of a Frechet distance: the value for very many sources, as the halves suggest."""
    standard_error: float
    """Of a kernel discrepancy."""
    note: str
    """What a reader must know."""


Figures = dict[str, Figure]
"""Figures by name, such as `FVD[transnetv2]`."""
LEAST_SOURCES = 4
"""Fewer have no halves with a spread."""


def sources_needed(min_sources: int) -> int:
    """Return how many sources a distance between sets asks for."""
    return max(LEAST_SOURCES, min_sources)


def too_few(found: int, needed: int, more: str) -> Figure:
    """Return a figure without a value, because there are too few sources.

    Args:
        found: sources that there are.
        needed: sources that the figure asks for.
        more: how there can be more, as `hold out more sources (split.val_share)`.
    """
    what = f"{found} source{'' if found == 1 else 's'}"
    return absent(f"too few to tell: {what}, and {needed} are needed; {more}", found)


def absent(reason: str, sources: int = 0) -> Figure:
    """Return a figure without a value."""
    return {"value": None, "low": None, "high": None, "num_sources": sources, "reason": reason}


def of_metric(metric: Metric) -> Figure:
    """Return a metric as a figure."""
    known: Figure = {"value": metric["value"], "low": metric.get("low"), "high": metric.get("high")}
    known["num_sources"] = metric.get("num_sources", 0)
    if "reason" in metric:
        known["reason"] = metric["reason"]
    return known
