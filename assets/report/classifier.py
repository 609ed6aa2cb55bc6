"""The report's section on the quality classifier: which candidate was published and why, and what its scores mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from markupsafe import Markup

from assets.report.charts import columns_chart, intervals_chart, reliability_chart
from classifier.training.metrics import (
    AucMetrics,
    CalibrationMetrics,
    CandidateMetrics,
    ClassifierMetrics,
    PairedMetrics,
    auc_text,
)
from pipeline.storage.models_table import ModelRecord

FORMAT = 2
"""Of the metrics that this section reads."""


@dataclass(frozen=True)
class CandidateView:
    """One row of the table of candidates, as texts."""

    name: str
    kind: str
    """`published`, `reference`, or empty."""
    auc: str
    extremes: str
    behind: str
    """AUC of the published candidate less this one."""
    repeats: int
    cpu_seconds: float
    note: str


@dataclass(frozen=True)
class ClassifierView:
    """What the report shows of a classifier; a chart without data is None."""

    metrics: ClassifierMetrics
    name: str
    headline: str
    candidates: list[CandidateView]
    auc_chart: Markup | None
    """Only of figures on enough clips."""
    reliability_chart: Markup | None
    spread_chart: Markup | None
    rating_chart: Markup | None
    held_out: str


def classifier_view(model: ModelRecord) -> ClassifierView | None:
    """Return what the report shows of a published classifier; None of one that an older lampworks trained."""
    if model.metrics.get("format") != FORMAT:
        return None
    metrics = cast(ClassifierMetrics, model.metrics)
    calibration = metrics["calibration"]
    spread = calibration["histogram"]
    by_rating = [(f"rated {rating}", [round(mean, 2)]) for rating, mean in sorted(metrics["by_rating"].items())]
    return ClassifierView(
        metrics=metrics,
        name=spoken(metrics["published"]),
        headline=auc_text(metrics["headline"]),
        candidates=[_row(row, metrics["published"]) for row in metrics["candidates"]],
        auc_chart=_auc_chart(metrics),
        reliability_chart=_reliability(calibration),
        spread_chart=columns_chart(
            [("", column) for column in zip(spread["good"], spread["bad"], strict=True)],
            width=240,
            axis=("0", "probability 1"),
            label="good and other clips by probability",
        )
        if sum(spread["good"]) + sum(spread["bad"])
        else None,
        rating_chart=columns_chart(by_rating, label="mean probability by rating") if by_rating else None,
        held_out=auc_text(metrics["held_out"]["auc"]) if metrics["held_out"]["used"] else "",
    )


def spoken(name: str) -> str:
    """Return the name of a candidate as people read it."""
    return name.replace("_", " ")


def _row(row: CandidateMetrics, published: str) -> CandidateView:
    kind = "reference" if row["reference"] else "published" if row["name"] == published else ""
    return CandidateView(
        name=spoken(row["name"]),
        kind=kind,
        auc=figure_text(row["auc"]),
        extremes=figure_text(row["extremes"]),
        behind=_behind(row["below_published"]),
        repeats=row["repeats"],
        cpu_seconds=row["cpu_seconds"],
        note=row["note"],
    )


def figure_text(found: AucMetrics | None) -> str:
    """Return an AUC with its interval, for a table that says elsewhere on which clips; or that they are too few."""
    if found is None or found["auc"] is None:
        return "–"
    if found["few"]:
        return "too few to tell"
    interval = found["interval"]
    return f"{found['auc']:.3f}" + ("" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]")


def _behind(found: PairedMetrics | None) -> str:
    if found is None:
        return "–"
    if found["few"]:
        return "too few to tell"
    interval = found["interval"]
    return f"{found['difference']:.3f}" + ("" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]")


def _auc_chart(metrics: ClassifierMetrics) -> Markup | None:
    rows: list[tuple[str, float, float | None, float | None]] = []
    # the published one first: it has the colour of its own
    for row in sorted(metrics["candidates"], key=lambda row: row["name"] != metrics["published"]):
        found = row["auc"]
        if found is not None and found["auc"] is not None and not found["few"]:
            rows.append((spoken(row["name"]), found["auc"], *(found["interval"] or (None, None))))
    if not rows:
        return None
    ends = [end for _, *numbers in rows for end in numbers if end is not None]
    low = max(0.0, min(0.4, *ends))
    return intervals_chart(rows, low=low, high=1.0, mark=0.5, label="AUC of every candidate, with its interval")


def _reliability(calibration: CalibrationMetrics) -> Markup | None:
    if not calibration["bins"] or calibration["few"]:
        return None
    bins = [
        {"probability": one["probability"], "good": one["good"], "clips": one["clips"]} for one in calibration["bins"]
    ]
    return reliability_chart(bins, label="probability against the share of good clips")
