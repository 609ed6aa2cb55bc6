"""What the play page says about a world: the effect of each key, and how well the keys control it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.config import Config
from pipeline.model_choice import models_in_use
from pipeline.storage.store import Store


@dataclass(frozen=True)
class KeyHint:
    """The measured effect of one latent action."""

    label: str = ""
    """For example `view moves left`."""
    symbol: str = ""
    """An arrow, or another sign."""
    right: float = 0.0
    """Mean movement of the view to the right, in pixels per frame."""
    down: float = 0.0
    """Mean movement of the view downwards, in pixels per frame."""
    meant: str = ""
    """The most frequent true action behind it, with its share, e.g. `90% right`; empty where unknown."""


@dataclass(frozen=True)
class WorldHints:
    """The hints of a world's keys, and a sentence on how well they control it."""

    note: str
    keys: Mapping[int, KeyHint] = field(default_factory=dict)
    """By latent action; those without a hint are left out."""


def hints_of(store: Store, config: Config, model_id: str) -> WorldHints:
    """Return what the evaluation of a world measured; no hints where it has none."""
    evaluation = models_in_use(store, config, model_id).evaluation
    if evaluation is None:
        return WorldHints("This world has not been evaluated yet, so the effect of its keys is unknown.")
    keys = {int(action["code"]): key_hint(action) for action in evaluation.metrics["latent_actions"]}
    return WorldHints(_note(evaluation.metrics), keys)


def key_hint(action: Mapping[str, Any]) -> KeyHint:
    """Return the hint of one entry of an evaluation's `latent_actions`."""
    return KeyHint(
        label=action["label"],
        symbol=action["symbol"],
        right=action["right"],
        down=action["down"],
        meant=_most_frequent(action.get("true_actions") or {}),
    )


def _most_frequent(true_actions: Mapping[str, float]) -> str:
    name, share = max(true_actions.items(), key=lambda item: item[1], default=("", 0.0))
    return f"{share:.0%} {name}" if share >= 0.5 else ""


def _note(metrics: Mapping[str, Any]) -> str:
    control = metrics["delta_t_psnr_permuted"]
    if control["value"] is None:
        return "Whether the keys control this world is unknown: nothing moves in the held-out videos."
    measured = (
        f"{control['value']:.1f} dB [{control['low']:.1f}, {control['high']:.1f}] on {control['num_sources']} "
        "held-out videos"
    )
    if metrics["gates"]["delta_t_psnr_permuted"]["passed"]:
        return f"The keys control this world: delta-t PSNR, permuted actions, is {measured}."
    return f"The keys do not control this world well yet: delta-t PSNR, permuted actions, is {measured}."
