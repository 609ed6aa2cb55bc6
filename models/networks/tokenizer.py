"""The video tokenizer: an ST-ViViT VQ-VAE (Genie section 2.1, appendix C).

Frames become patches, a causal ST-transformer reads them, each position's latent becomes the nearest of K codes; a
second transformer turns codes back to pixels. The token of frame t depends on frames up to t of its window only: by
ST-attention (`st_vivit`), by attention over all tokens so far (`c_vivit`), or on frame t alone (`vit`): Genie table 3.

Shapes: B windows, T frames, H W C pixels, P tokens of a frame, X values of a patch, D width, L latent, K codes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.exact import exact_product
from models.networks.frame_cache import FrameCache
from models.networks.initialization import farthest_points, lloyd, principal_components
from models.networks.patches import as_float, from_patches, grid_of, to_patches
from models.networks.quantizer import Quantized, VectorQuantizer, make_quantizer
from models.networks.transformer import STTransformer
from pipeline.config.world import TokenizerConfig
from pipeline.training_size.parameters import stack_of

_MOST_SAMPLES = 30_000
_LEAST_SCALE = 1e-5
"""Of latents where all patches are the same."""


class Reconstruction(NamedTuple):
    """A forward pass."""

    video_BTHWC: Tensor
    """Pixels, not clamped."""
    latents_BTPL: Tensor
    quantized: Quantized


class VideoTokenizer(nn.Module):
    """Video (B, T, H, W, 3) to tokens (B, T, P) and back: a VQ-VAE of two ST-transformers (section 2.1, appendix C)."""

    def __init__(self, config: TokenizerConfig, height: int, width: int) -> None:
        """Build a tokenizer for frames of one size (any size: each frame is padded to whole patches)."""
        super().__init__()
        self.config, self.height, self.width = config, height, width
        self.grid = grid_of(height, width, config.patch)
        values, latent = 3 * config.patch**2, config.latent_dim
        self.embed = nn.Linear(values, config.encoder.d_model)
        self.encoder = STTransformer(stack_of(config, "encoder"), self.grid, config.window)
        self.pre = nn.Linear(config.encoder.d_model, latent)
        self.quantizer = make_quantizer(config)
        self.post = nn.Linear(latent, config.decoder.d_model)
        self.decoder = STTransformer(stack_of(config, "decoder"), self.grid, config.window)
        self.out = nn.Linear(config.decoder.d_model, values)

    @property
    def num_tokens(self) -> int:
        """Tokens of a frame."""
        return self.grid[0] * self.grid[1]

    def latents(self, video_BTHWC: Tensor) -> Tensor:
        """Return the latents (B, T, P, L) before quantization of a video in uint8, or float in [0, 1]."""
        patches = to_patches(as_float(video_BTHWC), self.config.patch)
        return self.pre(self.encoder(self.embed(patches)))

    def encode(self, video_BTHWC: Tensor) -> Tensor:
        """Return the tokens (B, T, P), int64."""
        return self.quantizer.nearest(self.latents(video_BTHWC))

    def decode_latents(self, latents_BTPL: Tensor, cache: FrameCache | None = None) -> Tensor:
        """Return the pixels (B, T, H, W, 3), fp32, of quantized latents (see `decode`)."""
        return self.pixels(self.decoder(self.post(latents_BTPL), cache, keep=cache is not None))

    def pixels(self, x_BTPD: Tensor) -> Tensor:
        """Return the pixels (B, T, H, W, 3), fp32, of the decoder's residual stream."""
        patches = self.out(x_BTPD)
        # bf16 is no precision for pixels; fp64 stays
        patches = patches.to(torch.promote_types(patches.dtype, torch.float32))
        return from_patches(patches, self.config.patch, self.height, self.width)

    def decode(self, tokens_BTP: Tensor, cache: FrameCache | None = None) -> Tensor:
        """Return the pixels (B, T, H, W, 3), fp32 in [0, 1], of tokens.

        With a cache, these are the frames after those that it holds, and it holds them too afterwards: a frame that
        follows others is decoded alone, to the same pixels.
        """
        return self.decode_latents(self.quantizer.lookup(tokens_BTP), cache).clamp(0, 1)

    def forward(self, video_BTHWC: Tensor) -> Reconstruction:
        latents = self.latents(video_BTHWC)
        quantized = self.quantizer(latents)
        return Reconstruction(self.decode_latents(quantized.straight), latents, quantized)

    def loss(self, video_BTHWC: Tensor) -> tuple[Tensor, Reconstruction]:
        """Return the training loss and the forward pass behind it."""
        result = self(video_BTHWC)
        error = F.mse_loss(result.video_BTHWC, as_float(video_BTHWC))
        return self.config.reconstruction_weight * error + result.quantized.loss, result


@torch.no_grad()
def initialize_from_patches(tokenizer: VideoTokenizer, video_BTHWC: Tensor) -> int:
    """Set a tokenizer's latents to principal components of patches, and its codes; return how many codes are used.

    The first L channels of both networks carry the components from the patch to the code and back. Fresh blocks add
    nothing, so the tokenizer is PCA with vector quantization, which training refines.
    """
    config, quantizer = tokenizer.config, tokenizer.quantizer
    assert isinstance(quantizer, VectorQuantizer), "the configuration refuses a lattice that is initialized from data"
    patches = to_patches(as_float(video_BTHWC), config.patch).flatten(0, 2)
    patches = patches[:: max(1, len(patches) // _MOST_SAMPLES)]
    latent = config.latent_dim
    components = principal_components(patches, latent)
    axes, used = components.axes_LX, len(components.axes_LX)
    # one scale for all: a squared distance of latents is then one of pixels, and no code is spent on faint detail
    variance = exact_product(components.scale_L[None], components.scale_L[:, None]) / latent
    scale = variance[0, 0].clamp(min=_LEAST_SCALE**2).sqrt()
    tokenizer.embed.weight[:used] = axes / scale
    tokenizer.embed.bias[:used] = components.origin() / scale
    for linear in (tokenizer.pre, tokenizer.post):
        nn.init.zeros_(linear.bias)
        linear.weight.copy_(torch.eye(*linear.weight.shape))
    tokenizer.out.weight.zero_()
    tokenizer.out.weight[:, :used] = axes.T * scale
    tokenizer.out.bias.copy_(components.mean_X)
    for stack in (tokenizer.encoder, tokenizer.decoder):
        stack.positions[:, :latent] = 0
    latents = F.pad(components.project(patches) / scale, (0, latent - used))
    rows = farthest_points(latents, config.codebook_size, config.start_coverage * latent)
    rows, counts = lloyd(latents, rows, rounds=3)
    # as many latents a step as a batch holds, so that the first steps move the rows no more than later ones
    step = config.batch * config.window * tokenizer.num_tokens
    quantizer.initialize(rows, counts * step / len(latents))
    return len(rows)
