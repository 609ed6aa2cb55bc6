"""What a person should know where no threshold reaches the target: what is kept instead, and which labels would do."""

from __future__ import annotations

from classifier.decision.estimates import DEPTH
from classifier.decision.threshold import KeepThreshold, LabelsNeeded
from pipeline.config import DecisionConfig
from pipeline.inspect.curation_text import score_text


def advice(found: KeepThreshold, config: DecisionConfig) -> str:
    """Return the warning of a decision, "" where its target is reached or it has none.

    Args:
        found: the threshold.
        config: the rule.
    """
    if found["reached"] is not False:
        return ""
    sure = f" at {config.confidence:.0%} confidence" if config.confidence else ""
    sentences = [
        f"no keep threshold reaches decision.target_precision = {config.target_precision:g}{sure}: {_why(found)}"
    ]
    sentences.append(_kept_instead(found, config))
    if found["needed"] is not None and (found["needed"]["reachable"] or 0) < config.target_precision:
        sentences.append(_labels(found["needed"], found, config))
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def precision_text(found: KeepThreshold) -> str:
    """Return the estimated precision of the kept clips with what it rests on: clips, sources, interval, bound."""
    if found["precision"] is None:
        return "no rated clip is that good: the precision is not known"
    text = (
        f"{found['precision']:.2f} of the kept are good, estimated on {found['kept']} rated clips of "
        f"{found['kept_sources']} sources"
    )
    if found["kept"] < DEPTH:
        text += f" (fewer than {DEPTH}: too few to tell)"
    if found["interval"] is not None:
        low, high = found["interval"]
        text += f"; on other sources {found['expected']:.2f}, 95 % interval {low:.2f} to {high:.2f}"
    if found["bound"] is not None:
        text += f", lower bound {found['bound']:.2f} ({found['confidence']:.0%})"
    return text


def _why(found: KeepThreshold) -> str:
    if found["clips"] < DEPTH:
        return f"{found['clips']} clips are rated, and a threshold needs {DEPTH} above it"
    best = found["needed"]["reachable"] if found["needed"] else None
    if best is None:
        return "the best is not known"
    if best >= found["target_precision"]:
        return "it is reached among the rated clips, and no clip that may be kept scores as high as these"
    return f"the best, {DEPTH} or more rated clips deep, is {score_text(best)}"


def _kept_instead(found: KeepThreshold, config: DecisionConfig) -> str:
    if found["rule"] == "keep rate":
        which = f"the best-scored {config.fallback_keep_rate:.1%} of the clips (decision.fallback_keep_rate)"
    else:
        which = f"the clips from score {score_text(found['threshold'])} on (decision.fallback)"
    return f"Kept instead are {which}: {precision_text(found)}"


def _labels(needed: LabelsNeeded, found: KeepThreshold, config: DecisionConfig) -> str:
    from_score = score_text(needed["from_score"])
    text = (
        f"{needed['labels']} more label{'s' if needed['labels'] > 1 else ''} would do, if all of them are good and the "
        f"scores stay as they are: rate clips of score {from_score} or more with `lampworks label`"
    )
    if config.middle == "review" and needed["from_score"] < found["threshold"]:
        text += ", those in review first"
    if needed["left"] < needed["labels"]:
        text += f"; {needed['left']} such clips are left, so add videos"
    reachable = needed["reachable"]
    if reachable is not None and reachable > 0:
        text += f". Or set decision.target_precision = {score_text(reachable)}"
    return text
