"""How a latent action enters the dynamics: added, as one more token, or by scale and shift."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Literal, get_args

from models.studies.world_arms import CONTROL, CROSS_ENTROPY, FIGURES, NEXT_FRAME, Change, WorldArms
from pipeline.config import Config

_Way = Literal["add", "prepend", "film"]


class InjectionStudy(WorldArms):
    """`dynamics.action_injection`."""

    name, version = "injection", 1
    title = "Action injection: added, prepended, or by scale and shift"
    about = (
        "The paper adds the action to every token and found that to help control; others found one more token before "
        "the frame to be better. Here the three ways in the same dynamics on the tokens of one tokenizer, led by the "
        "true actions of levels of the embedded platformer, so that no LAM decides. The dynamics has no depthwise "
        "convolution, which a prepended token does not allow."
    )
    oracle = True
    figures = (CROSS_ENTROPY, *FIGURES[1:])
    headlines = (CROSS_ENTROPY, NEXT_FRAME, CONTROL)

    def shared(self, config: Config) -> Config:
        """Return settings without the convolution."""
        stack = dataclasses.replace(config.dynamics.stack, depthwise_conv="none")
        return dataclasses.replace(config, dynamics=dataclasses.replace(config.dynamics, stack=stack))

    def arms(self) -> Mapping[str, Change]:
        """Return the ways, the paper's first."""
        return {way: partial(_injects, way) for way in get_args(_Way)}


def _injects(way: _Way, config: Config) -> Config:
    return dataclasses.replace(config, dynamics=dataclasses.replace(config.dynamics, action_injection=way))
