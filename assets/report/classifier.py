"""The report's section on the quality classifier: AUC beside baselines, and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from assets.report.charts import columns_chart, intervals_chart, reliability_chart
from pipeline.storage.models_table import ModelRecord


@dataclass(frozen=True)
class ClassifierView:
    """What the report shows of a classifier; a chart without data is None."""

    train: int
    held_out: int
    """Rated clips that it was trained on, and those of other sources that it was measured on."""
    against_flag: str
    against_baseline: str
    all_ratings: tuple[float, float] | None
    """AUC with the middle ratings included, of the network and of the best baseline."""
    auc_chart: Markup | None
    clips: int
    sources: int
    """Held-out clips and sources of the AUC."""
    reliability_chart: Markup | None
    spread_chart: Markup | None
    calibration_error: float | None


def classifier_view(model: ModelRecord) -> ClassifierView:
    """Return what the report shows of a published classifier."""
    metrics = model.metrics
    held_out = metrics.get("held_out") or {}
    side = held_out.get("five_vs_one") or {}
    rows = _auc_rows(side)
    low = min(0.4, *(value for _, value, *_ in rows)) if rows else 0.4
    calibration = held_out.get("calibration") or {}
    spread = calibration.get("histogram") or {"good": [], "bad": []}
    calibrated = bool(calibration.get("bins")) and sum(spread["good"]) + sum(spread["bad"]) > 0
    columns = [("", column) for column in zip(spread["good"], spread["bad"], strict=True)]
    labels = metrics.get("labels") or {}
    auc, baseline, flag = (
        (metrics.get(name) or {}).get("value") for name in ("auc", "baseline_auc", "single_flag_auc")
    )
    return ClassifierView(
        train=labels.get("train", 0),
        held_out=labels.get("held_out", 0),
        against_flag=_against(auc, flag),
        against_baseline=_against(auc, baseline),
        all_ratings=_all_ratings(held_out.get("all_ratings") or {}),
        auc_chart=intervals_chart(rows, low=low, high=1.0, mark=0.5) if rows else None,
        clips=(side.get("network") or {}).get("clips", 0),
        sources=(side.get("network") or {}).get("sources", 0),
        reliability_chart=reliability_chart(calibration["bins"]) if calibrated else None,
        spread_chart=columns_chart(columns, width=240, axis=("0", "probability 1")) if calibrated else None,
        calibration_error=calibration.get("expected_error"),
    )


def _auc_rows(side: Mapping[str, Any]) -> list[tuple[str, float, float | None, float | None]]:
    """Return (name, AUC, low, high) of the network and of everything that it is compared with."""
    single = side.get("single") or {}
    named = [("ResNet", side.get("network"))]
    named += [(f"baseline: {name.replace('_', ' ')}", found) for name, found in (side.get("baselines") or {}).items()]
    for kind, text in (("best_measurement", "best measurement"), ("best_flag", "best flag")):
        if single.get(kind):
            named.append((f"{text}: {single[kind]['name']}", single[kind]))
    return [
        (name, found["auc"], *(found.get("interval") or (None, None)))
        for name, found in named
        if found and found.get("auc") is not None
    ]


def _all_ratings(side: Mapping[str, Any]) -> tuple[float, float] | None:
    network = (side.get("network") or {}).get("auc")
    others = [found["auc"] for found in (side.get("baselines") or {}).values() if found.get("auc") is not None]
    return (network, max(others)) if network is not None and others else None


def _against(auc: float | None, other: float | None) -> str:
    if auc is None or other is None:
        return "cannot be compared with"
    if auc == other:
        return "is level with"
    return "beats" if auc > other else "does not beat"
