"""Configuration of an optimizer: its rule, the learning rate over the steps of a training, and gradient clipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat

from pipeline.config.section import Section
from pipeline.errors import UserError

Decay = Annotated[float, Field(ge=0, lt=1)]
"""Of a running mean: the share of it that a step keeps."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Section, name="optimizer"):
    """AdamW or Muon, and the schedule of the learning rate."""

    learning_rate: PositiveFloat = 3e-5
    """Peak, after the warm-up."""
    final_learning_rate: NonNegativeFloat = 3e-6
    """At the last step; `flat` has none."""
    warmup_steps: NonNegativeInt = 5000
    """Steps of linear warm-up."""
    schedule: Literal["cosine", "late_linear", "flat", "wsd"] = "cosine"
    """After the warm-up: `cosine` falls to the final rate by half a cosine; `flat` stays at the peak; `wsd`
    (warm-up, stable, decay) stays there until the last `decay_share` of the steps and then falls in a line, so that a
    run can be given more steps before its decay begins; `late_linear` is `wsd` that falls over half of the steps."""
    decay_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    """`wsd`: share of the steps in which the rate falls."""
    algorithm: Literal["adamw", "muon"] = "adamw"
    """`muon` moves the matrices inside the blocks (queries, keys, values, outputs, feed-forward) along their
    orthogonalized momentum, and AdamW all other weights. It keeps one moment of a matrix instead of two."""
    muon_lr_scale: PositiveFloat = 1.0
    """`muon`: factor on the learning rate of its matrices. At 1 a step changes their weights by 0.2 times the rate
    (root mean square), which is about what AdamW does, so that a rate found for AdamW can be kept."""
    muon_momentum: Decay = 0.95
    """`muon`: decay of the momentum, with Nesterov's look ahead."""
    beta1: Decay = 0.9
    """AdamW."""
    beta2: Decay = 0.9
    """AdamW."""
    weight_decay: NonNegativeFloat = 1e-4
    """AdamW and Muon, on the weights of products and convolutions; norms, biases, positions, codes and embeddings keep
    their size (the paper is silent)."""
    clip_norm: PositiveFloat = 1.0
    """Gradients are scaled down to this norm (the paper is silent)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for field, only, present in (
            ("decay_share", "schedule = 'wsd'", self.schedule == "wsd"),
            ("muon_lr_scale", "algorithm = 'muon'", self.algorithm == "muon"),
            ("muon_momentum", "algorithm = 'muon'", self.algorithm == "muon"),
        ):
            default: Any = type(self).__dataclass_fields__[field].default
            if not present and getattr(self, field) != default:
                raise UserError(
                    f"optimizer.{field} = {getattr(self, field):g} acts only with optimizer.{only}: set that, or "
                    f"{field} = {default:g}"
                )
