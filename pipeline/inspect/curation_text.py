"""The classifier and the keep threshold in words: for the terminal, the report and the asset pages alike."""

from __future__ import annotations

import math
import textwrap

from pipeline.inspect.status_types import ClassifierStatus, ThresholdStatus

_WIDTH = 106


def classifier_text(classifier: ClassifierStatus) -> str:
    """Return the published candidate with the figure that counts: out of fold, with its interval."""
    name, on = classifier.published.replace("_", " "), f"{classifier.clips} clips of {classifier.sources} sources"
    if classifier.auc is None or classifier.few:
        return f"{name}, too few labels to tell how good ({on})"
    interval = "" if classifier.low is None else f" [{classifier.low:.2f}, {classifier.high:.2f}]"
    return f"{name}, out-of-fold AUC {classifier.auc:.2f}{interval} ({on})"


def threshold_lines(found: ThresholdStatus | None) -> list[str]:
    """Return what the keep threshold is worth, and what would help where it does not reach its target."""
    if found is None:
        return []
    lines = textwrap.wrap(f"kept from score {score_text(found.threshold)} ({found.rule}): {worth(found)}", _WIDTH)
    if found.warning:
        lines += textwrap.wrap(f"WARNING: {found.warning}", _WIDTH)
    return lines


def score_text(score: float) -> str:
    """Return a score as the reasons of the clips show it: rounded down, so that what is named as the least is kept."""
    return f"{math.floor(score * 1000 + 1e-9) / 1000:.3f}"


def worth(found: ThresholdStatus) -> str:
    """Return the estimated precision with its lower bound and its interval, and on how many clips they rest."""
    if found.precision is None:
        return "no rated clip is above it"
    parts = [f"estimated precision {found.precision:.2f}"]
    if found.bound is not None:
        parts.append(f"{found.confidence:.0%} lower bound {found.bound:.2f}")
    if found.expected is not None and found.low is not None:
        parts.append(f"on other sources {found.expected:.2f} [{found.low:.2f}, {found.high:.2f}]")
    if found.recall is not None:
        parts.append(f"recall {found.recall:.2f}")
    return ", ".join(parts) + f" ({found.rated} rated clips of {found.sources} sources)"
