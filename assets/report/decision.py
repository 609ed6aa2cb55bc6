"""The report's section on the decision: what the keep threshold is worth, and what others and hard rules would cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from assets.report.charts import curves_chart
from pipeline.inspect.curation_text import score_text, worth
from pipeline.inspect.status_types import CuratedStatus
from pipeline.storage.store import Store

_LEAST_RATED = 20
"""Rated clips above a threshold from which on its precision is drawn: a share of fewer is noise."""


@dataclass(frozen=True)
class DecisionView:
    """What the report shows of a decision; a chart without data is None."""

    threshold: str
    """"" where no score decided."""
    worth: str
    warning: str
    quality_chart: Markup | None
    """Precision and recall by threshold, with their bands."""
    quality_names: list[str]
    hours_chart: Markup | None
    hours: float
    """Hours that the present threshold keeps, before copies and ratings."""
    costs: list[Mapping[str, Any]]
    """What each hard rule drops."""


def decision_view(store: Store, curated: CuratedStatus) -> DecisionView | None:
    """Return what the report shows of the decision as it stands; None where none recorded what it traded."""
    tradeoff: Mapping[str, Any] = store.inputs("curated").get("tradeoff") or {}
    found = curated.threshold
    if found is None and not tradeoff:
        return None
    points: list[Mapping[str, Any]] = tradeoff.get("curve") or []
    shown = [point for point in points if point["rated"] >= _LEAST_RATED]
    mark = None if found is None else found.threshold
    lines, bands = {}, {}
    for name in ("precision", "recall"):
        lines[name] = [(point["threshold"], point[name]) for point in shown if point[name] is not None]
        bands[name] = [(p["threshold"], *p[f"{name}_interval"]) for p in shown if p[f"{name}_interval"] is not None]
    here = next((point for point in points if found is not None and point["threshold"] >= found.threshold - 1e-6), None)
    return DecisionView(
        threshold="" if found is None else score_text(found.threshold),
        worth="" if found is None else worth(found),
        warning="" if found is None else found.warning,
        quality_chart=curves_chart(
            lines, bands=bands, height=220, x_label="threshold", span=(0.0, 1.0), mark=mark,
            label="precision and recall by keep threshold",
        ) if lines["precision"] else None,
        quality_names=list(lines),
        hours_chart=curves_chart(
            {"hours": [(point["threshold"], point["hours"]) for point in points]}, height=220, x_label="threshold",
            span=(0.0, max(point["hours"] for point in points) or 1.0), mark=mark, label="hours kept by keep threshold",
        ) if points else None,
        hours=here["hours"] if here else 0.0,
        costs=list(tradeoff.get("costs") or []),
    )  # fmt: skip
