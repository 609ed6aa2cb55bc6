"""Model sizes of the benchmark: two that compare implementations, and every preset of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.config import PRESETS, preset
from pipeline.config.world import DynamicsConfig, LatentActionConfig, StackConfig, TokenizerConfig
from pipeline.errors import UserError


@dataclass(frozen=True)
class SpeedPreset:
    """Sizes of the networks, and of what is measured."""

    height: int
    width: int
    tokenizer: TokenizerConfig
    latent_actions: LatentActionConfig
    dynamics: DynamicsConfig
    batch: int
    prompt: int
    """Frames of the prompt of a rollout."""
    frames: int
    """Frames that are generated after it."""
    steps: int
    """MaskGIT steps per frame."""


def compared(
    height: int, width: int, *, d: int, head_dim: int, blocks: tuple[int, int, int], lam_patch: int, steps: int
) -> SpeedPreset:
    """Return a preset with the same width in all networks: full attention, 4x feed-forward, QK-norm, rotary positions.

    `blocks` are the layers of the tokenizer's encoder, of its decoder, and of the dynamics. Both halves of the latent
    action model have as many layers as the tokenizer's encoder.
    """

    def stack(layers: int, **more: Any) -> StackConfig:
        return StackConfig(
            layers=layers, d_model=d, heads=8, head_dim=head_dim, kv_heads=8, ffw_multiple=4, qk_norm=True, **more
        )

    encoder, decoder, dynamics = blocks
    return SpeedPreset(
        height=height,
        width=width,
        tokenizer=TokenizerConfig(encoder=stack(encoder), decoder=stack(decoder)),
        latent_actions=LatentActionConfig(patch=lam_patch, encoder=stack(encoder), decoder=stack(encoder)),
        dynamics=DynamicsConfig(stack=stack(dynamics)),
        batch=1,
        prompt=14,
        frames=2,
        steps=steps,
    )


COMPARED = {
    "cc-small": compared(64, 64, d=256, head_dim=32, blocks=(2, 2, 4), lam_patch=4, steps=8),
    "cc-90p": compared(90, 160, d=512, head_dim=64, blocks=(4, 8, 8), lam_patch=16, steps=25),
}


def speed_preset(name: str) -> SpeedPreset:
    """Return the sizes of one of `COMPARED`, or of a preset of the configuration with a batch of 1.

    Raises:
        UserError: the name is neither.
    """
    if name in COMPARED:
        return COMPARED[name]
    if name not in PRESETS:
        raise UserError(f"{name!r} is unknown: choose one of {', '.join([*COMPARED, *sorted(PRESETS)])}")
    config = preset(name)
    return SpeedPreset(
        height=config.clips.height,
        width=config.clips.width,
        tokenizer=config.tokenizer,
        latent_actions=config.latent_actions,
        dynamics=config.dynamics,
        batch=1,
        prompt=max(1, config.dynamics.context - 2),
        frames=2,
        steps=config.play.maskgit_steps,
    )
