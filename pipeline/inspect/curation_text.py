"""The classifier and the keep threshold in words: for the terminal, the report and the asset pages alike."""

from __future__ import annotations

import math

from pipeline.inspect.status_types import ClassifierStatus, ThresholdStatus


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
    lines = [f"kept from score {found.threshold:.3f} ({found.rule}): {worth(found)}"]
    if found.reached is False:
        lines.append(f"WARNING: the target precision {found.target_precision:g} is not reached")
        lines += [f"  {way}" for way in ways_out(found)]
    return lines


def worth(found: ThresholdStatus) -> str:
    """Return the estimated precision with its lower bound, and on how many clips it rests."""
    if found.precision is None:
        return "no rated clip is above it"
    bound = "" if found.bound is None else f", {found.confidence:.0%} lower bound {found.bound:.2f}"
    recall = "" if found.recall is None else f", recall {found.recall:.2f}"
    on = f"{found.rated} rated clips of {found.sources} sources"
    return f"estimated precision {found.precision:.2f}{bound}{recall} ({on})"


def ways_out(found: ThresholdStatus) -> list[str]:
    """Return what helps where the target is not reached, one sentence each."""
    ways = []
    if found.labels_needed is not None:
        above = "" if found.from_score is None else f" of clips that score {_down(found.from_score)} or more"
        ways.append(
            f"{found.labels_needed} more good labels{above} would reach it: `lampworks label` offers the clips in "
            "review"
        )
    if found.reachable is not None:
        ways.append(f"the present labels reach {_down(found.reachable)}: --set decision.target_precision=...")
    return ways


def _down(value: float) -> str:
    # rounded down: a target that is rounded up would not be reached
    return f"{math.floor(value * 100 + 1e-9) / 100:.2f}"
