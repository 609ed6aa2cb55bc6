"""How many numbers the networks of each preset learn, beside what the paper publishes; built without memory.

for size in preset_sizes():
    print(size.preset, size.tokenizer, size.latent_actions, size.dynamics)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.registry import parameters_of
from pipeline.config import PRESETS, Config, preset
from pipeline.config.world import DYNAMICS_SIZES

_PUBLISHED: dict[str, dict[str, float]] = {
    # Genie, tables 10 and 12: the dynamics alone
    **{f"platformers-{name}": {"dynamics": 1e6 * size.parameters} for name, size in DYNAMICS_SIZES.items()},
    # section 3 and appendix C: the final model
    "platformers": {"tokenizer": 200e6, "latent_actions": 300e6, "dynamics": 10.1e9, "total": 10.7e9},
}


@dataclass(frozen=True)
class PresetSize:
    """Parameters of a preset's networks."""

    preset: str
    tokens: int
    """Of a frame."""
    tokenizer: int
    latent_actions: int
    dynamics: int
    published: dict[str, float]
    """By the paper, of `tokenizer`, `latent_actions`, `dynamics` and `total` as far as it tells."""

    @property
    def total(self) -> int:
        """Parameters of all three."""
        return self.tokenizer + self.latent_actions + self.dynamics

    @property
    def ratios(self) -> dict[str, float]:
        """Ours over the published ones."""
        return {name: getattr(self, name) / count for name, count in self.published.items()}

    def as_json(self) -> dict[str, Any]:
        """Return all figures as one JSON-able object."""
        return {**vars(self), "total": self.total, "ratios": self.ratios}


def networks_of(config: Config) -> tuple[VideoTokenizer, LatentActionModel, Dynamics]:
    """Return a configuration's networks on the meta device: shapes without memory."""
    height, width = config.clips.height, config.clips.width
    with torch.device("meta"):
        tokenizer = VideoTokenizer(config.tokenizer, height, width)
        codes, grid, context = config.tokenizer.codebook_size, tokenizer.grid, config.dynamics.context
        lam = LatentActionModel(config.latent_actions, height, width, context, num_codes=codes, grid=grid)
        dynamics = Dynamics(config.dynamics, num_codes=codes, grid=grid, action_dim=config.latent_actions.latent_dim)
    return tokenizer, lam, dynamics


def preset_sizes(names: Sequence[str] | None = None) -> list[PresetSize]:
    """Return the sizes of presets, of all by default."""
    found = []
    for name in PRESETS if names is None else names:
        tokenizer, lam, dynamics = networks_of(preset(name))
        size = PresetSize(
            preset=name,
            tokens=tokenizer.num_tokens,
            tokenizer=parameters_of(tokenizer),
            latent_actions=parameters_of(lam),
            dynamics=parameters_of(dynamics),
            published=_PUBLISHED.get(name, {}),
        )
        found.append(size)
    return found


def usual_block_ratio() -> float:
    """Return the final dynamics over its published count with the block that is mostly written.

    That is as many heads of keys and values as of queries, and a feed-forward of 4x, at the published layers and width.
    """
    config = preset("platformers")
    stack = config.dynamics.stack
    usual = dataclasses.replace(stack, kv_heads=stack.heads, ffw_multiple=4.0)
    _, _, dynamics = networks_of(
        dataclasses.replace(config, dynamics=dataclasses.replace(config.dynamics, stack=usual))
    )
    return parameters_of(dynamics) / _PUBLISHED["platformers"]["dynamics"]
