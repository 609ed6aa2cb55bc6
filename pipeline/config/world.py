"""Configuration of the world model: tokenizer, latent action model, dynamics, training, evaluation, play.

Defaults are the paper's (Genie tables in the appendices); `pipeline.config.demo` names every setting that the
small model needs instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict

_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """The video tokenizer."""

    __pydantic_config__ = _FORBID


@dataclass(frozen=True, kw_only=True)
class LatentActionConfig:
    """The latent action model."""

    __pydantic_config__ = _FORBID


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig:
    """The MaskGIT dynamics model."""

    __pydantic_config__ = _FORBID


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What all training runs share."""

    __pydantic_config__ = _FORBID

    seed: int = 0
    """Same seed, same weights on the same machine."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How the world model is measured."""

    __pydantic_config__ = _FORBID


@dataclass(frozen=True, kw_only=True)
class PlayConfig:
    """How the world is played."""

    __pydantic_config__ = _FORBID


def coinrun_models() -> dict[str, Any]:
    """Return the sections of the `coinrun` preset (Genie App. F)."""
    return {}
