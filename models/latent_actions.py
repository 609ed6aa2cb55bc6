"""The latent action model: names what changes between two frames by one of a few codes (Genie section 2.1).

a_t is the change from frame t to frame t + 1, t = 1..T-1. The encoder sees both frames and chooses the code; the
decoder sees frames up to t and the code and must draw frame t + 1, so the code carries what the past does not tell.
It is a VQ-VAE of its own: no gradient of the dynamics reaches it. In play only its codebook is used.

`pooling="mean"` is the paper's: a causal encoder over all frames, a_t the spatial mean of its tokens at t + 1. A
small one then learns to name the scene instead of the action (0.06 of 1.36 nat of the true action, measured).
`pooling="antisymmetric"` reads each pair twice, once with the frames swapped, and keeps the difference: what the
frames share cancels exactly, a pair that stands still gives 0 (1.05 of 1.76 nat).

Shapes: B windows, T frames, H W C pixels, P tokens of a frame, X values of a patch, D width, L latent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.patches import as_float, from_patches, grid_of, to_patches
from models.quantizer import Quantized, VectorQuantizer
from models.starts import kmeans, principal_components
from models.transformer import STTransformer
from pipeline.config.world import LatentActionConfig

_RESIDUAL_GAIN = 0.3
_LLOYD_ROUNDS = 15


class Prediction(NamedTuple):
    """A forward pass; `quantized` is None while the bottleneck is continuous."""

    video_BTHWC: Tensor
    """Frames 2..T as predicted, (B, T-1, H, W, 3)."""
    latents_BTL: Tensor
    """Latents of the T-1 transitions before quantization."""
    quantized: Quantized | None


class LatentActionModel(nn.Module):
    """Encoder of transitions, codebook of actions, decoder of the next frame."""

    def __init__(self, config: LatentActionConfig, height: int, width: int, context: int) -> None:
        """Build a LAM for frames of one size and windows of at most `context` frames."""
        super().__init__()
        self.config, self.height, self.width = config, height, width
        grid, values = grid_of(height, width, config.patch), 3 * config.patch**2
        self.pairs = config.pooling == "antisymmetric"
        self.embed_encoder = nn.Linear(2 * values if self.pairs else values, config.encoder.d_model)
        self.encoder = STTransformer(config.encoder, grid, context)
        # without a bias, so that a latent of the swapped pair is exactly the negative
        self.pre = nn.Linear(config.encoder.d_model, config.latent_dim, bias=not self.pairs)
        self.quantizer = VectorQuantizer(
            config.num_actions,
            config.latent_dim,
            commitment=config.commitment,
            ema_decay=config.ema_decay,
            restart_below=config.restart_below,
        )
        self.embed_decoder = nn.Linear(values, config.decoder.d_model)
        self.embed_action = nn.Linear(config.latent_dim, config.decoder.d_model)
        self.decoder = STTransformer(config.decoder, grid, context)
        self.out = nn.Linear(config.decoder.d_model, values)
        if config.decoder_output != "sigmoid":
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    def latents(self, video_BTHWC: Tensor) -> Tensor:
        """Return the latents (B, T-1, L) of the transitions of a video in uint8, or float in [0, 1]."""
        patches = to_patches(as_float(video_BTHWC), self.config.patch)
        if self.pairs:
            b, t = patches.shape[:2]
            pairs = torch.cat([patches[:, :-1], patches[:, 1:]], -1)
            swapped = torch.cat([patches[:, 1:], patches[:, :-1]], -1)
            both = torch.stack([pairs, swapped]).flatten(0, 2)[:, None]
            pooled = self.encoder(self.embed_encoder(both)).mean((1, 2)).view(2, b, t - 1, -1)
            latents = self.pre(pooled[0] - pooled[1])
        else:
            latents = self.pre(self.encoder(self.embed_encoder(patches))[:, 1:].mean(2))
        latents = latents.float()
        return F.layer_norm(latents, latents.shape[-1:]) if self.config.normalize_latent else latents

    def encode(self, video_BTHWC: Tensor) -> Tensor:
        """Return the latent actions (B, T-1), int64."""
        return self.quantizer.nearest(self.latents(video_BTHWC))

    def decode(self, video_BTHWC: Tensor, actions_BTL: Tensor) -> Tensor:
        """Return frames 2..T, (B, T-1, H, W, 3), from frames 1..T-1 and the latents of the transitions."""
        patches = to_patches(as_float(video_BTHWC), self.config.patch)
        x = self.embed_decoder(patches) + self.embed_action(actions_BTL)[:, :, None]
        y = self.out(self.decoder(x)).float()
        if self.config.decoder_output == "residual":
            y = patches + _RESIDUAL_GAIN * y
        elif self.config.decoder_output == "sigmoid_residual":
            y = torch.sigmoid(torch.logit(patches, eps=0.01) + y)
        else:
            y = torch.sigmoid(y)
        return from_patches(y, self.config.patch, self.height, self.width)

    def forward(self, video_BTHWC: Tensor, continuous: bool = False) -> Prediction:
        latents = self.latents(video_BTHWC)
        quantized = None if continuous else self.quantizer(latents)
        actions = latents if quantized is None else quantized.straight
        return Prediction(self.decode(video_BTHWC[:, :-1], actions), latents, quantized)

    def loss(self, video_BTHWC: Tensor, continuous: bool = False) -> tuple[Tensor, Prediction]:
        """Return the training loss and the forward pass behind it; `continuous` leaves quantization out."""
        result = self(video_BTHWC, continuous)
        loss = self.config.reconstruction_weight * F.mse_loss(result.video_BTHWC, as_float(video_BTHWC)[:, 1:])
        return loss if result.quantized is None else loss + result.quantized.loss, result


@torch.no_grad()
def start_embeddings(lam: LatentActionModel, video_BTHWC: Tensor) -> None:
    """Start the patch embeddings at principal components of patches, half of the encoder's width at most."""
    patches = to_patches(as_float(video_BTHWC), lam.config.patch).flatten(0, 2)
    num = min(lam.embed_encoder.out_features, lam.embed_decoder.out_features) // 2
    if lam.pairs:
        num //= 2
    mean, axes, scale = principal_components(patches, num)
    rows, shift = axes / scale[:, None], -(axes @ mean) / scale
    num = len(rows)
    lam.embed_decoder.weight[:num], lam.embed_decoder.bias[:num] = rows, shift
    values = rows.shape[1]
    lam.embed_encoder.weight[:num, :values], lam.embed_encoder.bias[:num] = rows, shift
    if lam.pairs:
        lam.embed_encoder.weight[:num, values:] = 0
        lam.embed_encoder.weight[num : 2 * num, :values] = 0
        lam.embed_encoder.weight[num : 2 * num, values:], lam.embed_encoder.bias[num : 2 * num] = rows, shift


@torch.no_grad()
def start_codes(lam: LatentActionModel, latents_NL: Tensor, generator: torch.Generator) -> Tensor:
    """Start the codes at k-means of latents of a trained continuous bottleneck; return how many each has."""
    rows, counts = kmeans(latents_NL, lam.config.num_actions, _LLOYD_ROUNDS, generator)
    # counts as of one batch of a step, not of all samples: the first updates weigh like later ones
    lam.quantizer.start(rows, counts / counts.sum() * lam.config.num_actions)
    return counts
