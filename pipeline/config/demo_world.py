"""The demo's world model: what a small model needs to learn control in minutes on two cores.

These settings depart from the paper; `pipeline.config.world` describes each. Together they reach a delta-t PSNR of
about 4 dB, where the paper's settings at this size reach none: latent actions from antisymmetric pairs, first trained
without quantization; codes initialized from patches; a causal depthwise convolution in the dynamics (a single layer can
then move a tile); short windows; and learning rates for hundreds of steps.
"""

from __future__ import annotations

from pipeline.config.training import TrainingConfig
from pipeline.config.world import DynamicsConfig, LatentActionConfig, OptimizerConfig, StackConfig, TokenizerConfig


def _stack(layers: int, *, temporal: bool = True, conv: str = "none") -> StackConfig:
    return StackConfig(
        layers=layers, d_model=128, heads=4, head_dim=32, kv_heads=4, ffw_multiple=4.0, temporal_attention=temporal,
        temporal_positions="lag_bias", depthwise_conv=conv,  # type: ignore[arg-type]
    )  # fmt: skip


def _optimizer(peak: float, warmup_steps: int) -> OptimizerConfig:
    return OptimizerConfig(
        learning_rate=peak, final_learning_rate=0.02 * peak, warmup_steps=warmup_steps, schedule="late_linear"
    )


def demo_models() -> tuple[TokenizerConfig, LatentActionConfig, DynamicsConfig, TrainingConfig]:
    """Return the sections of the `demo` preset that describe the world model and its training."""
    tokenizer = TokenizerConfig(
        patch=10, encoder=_stack(2), decoder=_stack(3), window=5, batch=8, steps=150, optimizer=_optimizer(1e-3, 8),
        reconstruction_weight=10.0, ema_decay=0.99, restart_below=0.0, start="patches",
        min_psnr=25.0,
    )  # fmt: skip
    latent_actions = LatentActionConfig(
        patch=10, latent_dim=8, encoder=_stack(2, temporal=False, conv="frame"),
        decoder=_stack(2, temporal=False, conv="frame"), optimizer=_optimizer(2e-3, 20), pooling="antisymmetric",
        normalize_latent=True, unquantized_steps=340, joint_lr_scale=0.25, decoder_output="residual",
        reconstruction_weight=10.0, ema_decay=0.95, restart_below=0.1, pca_start=True,
    )  # fmt: skip
    dynamics = DynamicsConfig(
        stack=_stack(4, conv="causal"), context=5, batch=4, steps=720, optimizer=_optimizer(2e-3, 36),
        full_mask_share=0.3, clean_prefix_share=0.5, embedding_start="codebook",
    )  # fmt: skip
    training = TrainingConfig(checkpoint_every=100, cache_clips=64, eval_windows=48)
    return tokenizer, latent_actions, dynamics, training
