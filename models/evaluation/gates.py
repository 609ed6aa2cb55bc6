"""Thresholds that a world's metrics must reach."""

from __future__ import annotations

from typing import Literal, NamedTuple, NotRequired, TypedDict

from models.evaluation.character import PLACES
from models.evaluation.metric import Metric, Metrics
from pipeline.config import EvaluationConfig


class Threshold(NamedTuple):
    """The least value of a metric, or of the lower end of its interval."""

    end: Literal["value", "low"]
    least: float


class Gate(TypedDict):
    """The outcome of one gate, as it is stored in JSON."""

    passed: bool | None
    """None where the metric is unknown."""
    value: float | None
    threshold: float
    reason: NotRequired[str]
    """Why the metric is unknown, where it is."""


# Gates have the names of their metrics. PSNR above k-means has none: k-means of patches, fitted from farthest points,
# is within a decibel of what a small tokenizer reaches.
GATES: dict[str, Threshold] = {
    "psnr_above_mean_frame": Threshold("value", 3.0),
    "psnr_above_first_frame": Threshold("value", 3.0),
    "psnr_above_previous_frame": Threshold("value", 0.0),
    "psnr_moving_above_mean_frame": Threshold("value", 3.0),
    "psnr_moving_above_first_frame": Threshold("value", 3.0),
    "delta_t_psnr_permuted": Threshold("low", 1.0),
    "psnr_t1_above_copy": Threshold("value", 1.0),
    "latent_action_mutual_information": Threshold("value", 1.3),
    "latent_action_mutual_information_ratio": Threshold("value", 10.0),
    "steady_actions": Threshold("value", 2),
    "distinct_actions": Threshold("value", 5),
    "doubt_rank_correlation": Threshold("value", 0.6),
    # what a player sees: the character lasts, and stands where its keys put it
    "character_kept_t8": Threshold("value", 0.95),
    "character_kept_t30": Threshold("value", 0.9),
    **{f"character_place_{name}": Threshold("value", 0.9) for name in PLACES},
    # a character that ignores its keys is within a tile of its place, and on its tile in few frames
    **{f"character_exact_{name}": Threshold("value", 0.8) for name in PLACES},
}
# how many things a player can do is known of the embedded game alone: another world may have fewer
_OF_THE_GAME = {"distinct_actions", "latent_action_mutual_information"}


def check_gates(metrics: Metrics, num_sources: int, config: EvaluationConfig) -> dict[str, Gate]:
    """Return the outcome of every gate; `enough_sources` compares the number of held-out sources with the settings."""
    gates: dict[str, Gate] = {
        "enough_sources": {
            "passed": num_sources >= config.min_sources,
            "value": num_sources,
            "threshold": config.min_sources,
        }
    }
    about: Metric = metrics.get("latent_action_mutual_information", {"value": None})
    is_game = metrics.get("latent_action_direction_information", about)["value"] is not None
    for name, (end, least) in GATES.items():
        judged = name in metrics and (is_game or name not in _OF_THE_GAME)
        value = metrics[name].get(end) if judged else None
        gates[name] = {"passed": None if value is None else bool(value >= least), "value": value, "threshold": least}
        if value is None and judged and (reason := metrics[name].get("reason")):
            gates[name]["reason"] = reason
    return gates
