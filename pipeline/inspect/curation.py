"""What was published to select clips, and which keep threshold it led to: read from `models` and `curated`.

The classifier's metrics and the threshold are stored as plain numbers; `classifier.training.metrics` and
`classifier.decision.threshold` say what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.inspect.status_types import ClassifierStatus, ThresholdStatus
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.store import Store

_FORMAT = 2
"""Of the classifier's metrics; earlier ones hold no out-of-fold comparison."""


def classifier_status(record: ModelRecord | None) -> ClassifierStatus | None:
    """Return which candidate is published and how good it is; None without a classifier of the present format."""
    if record is None or record.metrics.get("format") != _FORMAT:
        return None
    found = record.metrics["headline"]
    low, high = found["interval"] or (None, None)
    return ClassifierStatus(
        published=record.metrics["published"],
        why=record.metrics["why"],
        auc=found["auc"],
        low=low,
        high=high,
        clips=found["clips"],
        sources=found["sources"],
        few=found["few"],
    )


def threshold_status(store: Store) -> ThresholdStatus | None:
    """Return the keep threshold of the decision as it stands; None where no score decided."""
    inputs = store.inputs("curated")
    recorded: Mapping[str, Any] = inputs.get("threshold") or {}
    if "rule" not in recorded:
        return None
    low, high = recorded["interval"] or (None, None)
    return ThresholdStatus(
        rule=recorded["rule"],
        threshold=recorded["threshold"],
        target_precision=recorded["target_precision"],
        reached=recorded["reached"],
        precision=recorded["precision"],
        expected=recorded["expected"],
        low=low,
        high=high,
        bound=recorded["bound"],
        confidence=recorded["confidence"],
        recall=recorded["recall"],
        rated=recorded["kept"],
        sources=recorded["kept_sources"],
        warning=inputs.get("warning", ""),
    )
