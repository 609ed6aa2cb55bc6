"""The demo's world model: what a small model needs to learn control in minutes on two cores.

These settings depart from the paper; `pipeline.config.world` describes each, and docs/model.md has what was tried.
Latent actions of antisymmetric pairs learn first, alone and with noise, so that they tell what was done and not what
follows from it; then they rest. Windows of two frames: a picture of the embedded game says all that the next one
depends on, and each window is then a sample of play. Codes are initialized from patches; a causal depthwise
convolution lets a single layer of the dynamics move a tile.
"""

from __future__ import annotations

from pipeline.config.training import TrainingConfig
from pipeline.config.world import DynamicsConfig, LatentActionConfig, OptimizerConfig, StackConfig, TokenizerConfig


def _stack(
    layers: int, width: int = 128, *, ffw: float = 4.0, temporal: bool = True, conv: str = "none"
) -> StackConfig:
    return StackConfig(
        layers=layers, d_model=width, heads=4, head_dim=width // 4, kv_heads=4, ffw_multiple=ffw,
        temporal_attention=temporal, temporal_positions="lag_bias", depthwise_conv=conv,  # type: ignore[arg-type]
    )  # fmt: skip


def _optimizer(peak: float, warmup_steps: int) -> OptimizerConfig:
    return OptimizerConfig(
        learning_rate=peak, final_learning_rate=0.02 * peak, warmup_steps=warmup_steps, schedule="late_linear"
    )


def demo_models() -> tuple[TokenizerConfig, LatentActionConfig, DynamicsConfig, TrainingConfig]:
    """Return the sections of the `demo` preset that describe the world model and its training."""
    tokenizer = TokenizerConfig(
        patch=10, codebook_size=256, encoder=_stack(2), decoder=_stack(3), window=2, batch=20, steps=80,
        optimizer=_optimizer(1e-3, 8), reconstruction_weight=10.0, ema_decay=0.99, restart_below=0.0, start="patches",
        min_psnr=25.0,
    )  # fmt: skip
    latent_actions = LatentActionConfig(
        patch=10, latent_dim=8, encoder=_stack(2, temporal=False, conv="frame"),
        decoder=_stack(2, temporal=False, conv="frame"), optimizer=_optimizer(2e-3, 20), pooling="antisymmetric",
        normalize_latent=True, unquantized_steps=800, latent_noise=1.0, update_every=0, loss_margin=10,
        decoder_output="residual", reconstruction_weight=10.0, ema_decay=0.95, pca_start=True,
    )  # fmt: skip
    dynamics = DynamicsConfig(
        stack=_stack(3, 96, ffw=2.0, conv="causal"), context=2, batch=12, steps=2000, optimizer=_optimizer(3e-3, 36),
        full_mask_share=0.5, clean_prefix_share=1.0, token_noise=0.1, unseen_actions=0.4, recalled_share=0.6,
        recalled_frames=12_000, changed_weight=4.0, embedding_start="codebook",
    )  # fmt: skip
    training = TrainingConfig(
        checkpoint_every=200, cache_clips=64, cache_tokens=12_000, eval_windows=48, validate_every=40,
        validation_windows=8, pictures=4,
    )  # fmt: skip
    return tokenizer, latent_actions, dynamics, training
