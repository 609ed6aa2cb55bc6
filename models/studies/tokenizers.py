"""Tokenizers of three architectures and equal size, and the worlds that are trained on them: table 3 of Genie."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import get_args

from models.bench.tokenizers import Architecture, at_equal_size
from models.studies.world_arms import Change, WorldArms
from pipeline.config import Config
from pipeline.config.stack import StackConfig

_FRAMES = 4


class TokenizerStudy(WorldArms):
    """ST-ViViT against ViT and C-ViViT."""

    name, version = "tokenizers", 1
    title = "Tokenizers: ViT, C-ViViT and ST-ViViT, and the worlds trained on them"
    about = (
        "Table 3 of the paper in small: three tokenizers of equal size (a wider feed-forward makes up for the second "
        "attention), steps and windows, each with the same LAM and dynamics trained on its tokens, on levels of the "
        "embedded platformer. The paper names FVD and delta-t PSNR: 114.5 and 1.39 for ViT, 272.7 and 1.37 for "
        "C-ViViT, 81.4 and 1.66 for ST-ViViT. Losses of different tokens cannot be compared, so pixels are."
    )
    own_tokenizer = True

    def shared(self, config: Config) -> Config:
        """Return settings with windows in which time counts, and codes that begin at latents."""
        tokenizer = config.tokenizer
        return dataclasses.replace(
            config,
            tokenizer=dataclasses.replace(
                tokenizer,
                window=_FRAMES,
                batch=max(1, tokenizer.batch // 2),
                steps=2 * tokenizer.steps,
                # patches begin with what all three would learn
                start="latents",
                encoder=_rotary(tokenizer.encoder),
                decoder=_rotary(tokenizer.decoder),
            ),
            dynamics=dataclasses.replace(config.dynamics, context=_FRAMES, batch=max(1, config.dynamics.batch // 2)),
        )

    def arms(self) -> Mapping[str, Change]:
        """Return the architectures, the paper's own first."""
        return {name: partial(_with, name) for name in get_args(Architecture)}


def _with(name: Architecture, config: Config) -> Config:
    return dataclasses.replace(config, tokenizer=at_equal_size(config.tokenizer, name))


def _rotary(stack: StackConfig) -> StackConfig:
    return dataclasses.replace(stack, temporal_positions="rotary")
