"""Parameter counts of the networks of each preset, next to the published ones; the networks use no memory.

for size in preset_sizes():
    print(size.preset, size.tokenizer, size.latent_actions, size.dynamics)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from models.networks.dynamics import Dynamics
from models.networks.latent_actions import LatentActionModel
from models.networks.tokenizer import VideoTokenizer
from models.registry import parameters_of
from pipeline.config import PRESETS, Config, preset
from pipeline.config.world import DYNAMICS_SIZES, DynamicsConfig, LatentActionConfig, TokenizerConfig

_PUBLISHED: dict[str, dict[str, float]] = {
    # Genie, tables 10 and 12: the dynamics alone
    **{f"platformers-{name}": {"dynamics": 1e6 * size.parameters} for name, size in DYNAMICS_SIZES.items()},
    # section 3 and appendix C: the final model
    "platformers": {"tokenizer": 200e6, "latent_actions": 300e6, "dynamics": 10.1e9, "total": 10.7e9},
    # section 3: the model of the robots
    "robotics": {"total": 2.5e9},
}


@dataclass(frozen=True)
class PresetSize:
    """Parameters of a preset's networks."""

    preset: str
    tokens: int
    """Tokens per frame."""
    tokenizer: int
    latent_actions: int
    dynamics: int
    published: dict[str, float]
    """Counts that the paper publishes, of `tokenizer`, `latent_actions`, `dynamics` or `total`."""

    @property
    def total(self) -> int:
        """Parameters of all three networks."""
        return self.tokenizer + self.latent_actions + self.dynamics

    @property
    def ratios(self) -> dict[str, float]:
        """Our counts divided by the published ones."""
        return {name: getattr(self, name) / count for name, count in self.published.items()}

    def as_json(self) -> dict[str, Any]:
        """Return all counts as one JSON-able object."""
        return {**vars(self), "total": self.total, "ratios": self.ratios}


class _Shapes(TorchFunctionMode):
    """Draws nothing: a tensor on the meta device has no values, and finding that out takes half of the time."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


def networks_of(config: Config) -> tuple[VideoTokenizer, LatentActionModel, Dynamics]:
    """Return the networks of a configuration on the meta device, which have shapes but no memory."""
    height, width = config.clips.height, config.clips.width
    codes, context = config.tokenizer.codebook_size, config.dynamics.context
    tokenizer = _tokenizer(config.tokenizer, height, width)
    return (
        tokenizer,
        _latent_actions(config.latent_actions, height, width, context, codes, tokenizer.grid),
        _dynamics(config.dynamics, codes, tokenizer.grid, config.latent_actions.latent_dim),
    )


def _tokenizer(config: TokenizerConfig, height: int, width: int) -> VideoTokenizer:
    with torch.device("meta"), _Shapes():
        return VideoTokenizer(config, height, width)


def _latent_actions(
    config: LatentActionConfig, height: int, width: int, context: int, codes: int, grid: tuple[int, int]
) -> LatentActionModel:
    with torch.device("meta"), _Shapes():
        return LatentActionModel(config, height, width, context, num_codes=codes, grid=grid)


def _dynamics(config: DynamicsConfig, codes: int, grid: tuple[int, int], action_dim: int) -> Dynamics:
    with torch.device("meta"), _Shapes():
        return Dynamics(config, num_codes=codes, grid=grid, action_dim=action_dim)


@cache
def _tokenizer_size(config: TokenizerConfig, height: int, width: int) -> tuple[int, tuple[int, int]]:
    """Return the parameters and the grid: presets share tokenizers and latent actions, which are counted once."""
    tokenizer = _tokenizer(config, height, width)
    return parameters_of(tokenizer), tokenizer.grid


@cache
def _latent_actions_size(
    config: LatentActionConfig, height: int, width: int, context: int, codes: int, grid: tuple[int, int]
) -> int:
    return parameters_of(_latent_actions(config, height, width, context, codes, grid))


@cache
def _dynamics_size(config: DynamicsConfig, codes: int, grid: tuple[int, int], action_dim: int) -> int:
    return parameters_of(_dynamics(config, codes, grid, action_dim))


def preset_sizes(names: Sequence[str] | None = None) -> list[PresetSize]:
    """Return the sizes of the named presets; of all by default."""
    found = []
    for name in PRESETS if names is None else names:
        config = preset(name)
        height, width = config.clips.height, config.clips.width
        codes, lam, dynamics = config.tokenizer.codebook_size, config.latent_actions, config.dynamics
        tokenizer, grid = _tokenizer_size(config.tokenizer, height, width)
        size = PresetSize(
            preset=name,
            tokens=grid[0] * grid[1],
            tokenizer=tokenizer,
            latent_actions=_latent_actions_size(lam, height, width, dynamics.context, codes, grid),
            dynamics=_dynamics_size(dynamics, codes, grid, lam.latent_dim),
            published=_PUBLISHED.get(name, {}),
        )
        found.append(size)
    return found


def usual_block_ratio() -> float:
    """Return the parameters of the largest dynamics with the usual block, divided by the published count.

    The usual block has as many heads of keys and values as of queries, and a feed-forward of 4x the width. Layers and
    width are the published ones.
    """
    config = preset("platformers")
    stack = config.dynamics.stack
    usual = dataclasses.replace(stack, kv_heads=stack.heads, ffw_multiple=4.0)
    _, _, dynamics = networks_of(
        dataclasses.replace(config, dynamics=dataclasses.replace(config.dynamics, stack=usual))
    )
    return parameters_of(dynamics) / _PUBLISHED["platformers"]["dynamics"]
