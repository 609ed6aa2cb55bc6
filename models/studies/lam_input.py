"""A LAM that reads pixels against one that reads the tokenizer's codes: table 2 of Genie."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Literal

from models.studies.arms import Figure
from models.studies.world_arms import CONTROL, FIGURES, NEXT_FRAME, Change, WorldArms
from pipeline.config import Config

_INFORMATION = Figure("mutual_information", "codes on true actions, nat", "higher")


class LamInputStudy(WorldArms):
    """Pixels against tokens."""

    name, version = "lam-input", 1
    title = "Latent actions from pixels or from tokens"
    about = (
        "Table 2 of the paper in small: the same LAM on pixels and on the tokenizer's codes, each with the same "
        "dynamics on the tokens of one tokenizer, on levels of the embedded platformer. The paper's delta-t PSNR is "
        "1.91 on pixels and 1.33 on tokens (Platformers), its FVD 40.1 and 38.8. Both arms have what a LAM on tokens "
        "can have: differences of frames as the latent, and the next frame itself as the output. `antisymmetric` is "
        "the demo's LAM, on pixels with all that helps it."
    )
    figures = (*FIGURES, _INFORMATION)
    headlines = (CONTROL, NEXT_FRAME)

    def arms(self) -> Mapping[str, Change]:
        """Return both inputs, and the demo's own LAM."""
        return {"pixels": partial(_reads, "pixels"), "tokens": partial(_reads, "tokens"), "antisymmetric": _as_it_is}


def _reads(source: Literal["pixels", "tokens"], config: Config) -> Config:
    lam = dataclasses.replace(
        config.latent_actions, input=source, pooling="difference", decoder_output="sigmoid", pca_start=False,
        loss_margin=0, motion_weight=1.0,
    )  # fmt: skip
    return dataclasses.replace(config, latent_actions=lam)


def _as_it_is(config: Config) -> Config:
    return config
