"""The latent action model (LAM): describes the change between two frames by one of a few codes (Genie section 2.1).

a_t is the change from frame t to frame t + 1, t = 1..T-1. The encoder sees both frames and chooses the code; the
decoder sees frames up to t and the code, and predicts frame t + 1, so the code carries what the past does not
determine. The LAM is a VQ-VAE of its own: no gradient of the dynamics reaches it. In play only its codebook is used.

`pooling="mean"` is the paper's: a causal encoder over all frames, a_t the spatial mean of its tokens at t + 1. A
small one then learns to encode the scene instead of the action (0.06 of 1.36 nat of the true action, measured).
`pooling="antisymmetric"` reads each pair twice, once with the frames swapped, and takes the difference: what the
frames share cancels exactly, and two equal frames give 0 (1.05 of 1.76 nat). `pooling="difference"` is the
paper's encoder with its tokens at t subtracted from those at t + 1.

`input="tokens"` is the ablation of Genie table 2: the encoder reads the tokenizer's tokens instead of pixels, and the
decoder predicts the next frame's by cross-entropy. "Frames" below are either, as the configuration says.

Shapes: B windows, T frames, H W C pixels, P tokens of a frame, X values of a patch, K codes of the tokenizer, D width,
L latent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.networks.initialization import kmeans, principal_components
from models.networks.patches import as_float, from_patches, grid_of, to_patches
from models.networks.quantizer import Quantized, make_vector_quantizer
from models.networks.transformer import STTransformer
from pipeline.config.world import LatentActionConfig, check_lam_window
from pipeline.errors import UserError

_RESIDUAL_GAIN = 0.3
_KMEANS_TRIES = 64
_HALVING = ((0.1, 10), (0.4, 3), (1.0, 1))
"""Share of the transitions on which the codes that are left are compared, and how many stay. On the demo's 1,200 this
chose bad codes in none of 1,000 draws of transitions, with 12,000 decoded frames for 31 codes; 4 on a tenth, then 1 on
0.4 of them: in 7 %, with 5,600."""
_LLOYD_ROUNDS = 15
_ALIKE = 0.05
"""Codes nearer than this share of the least distance of two codes are the same."""
_MOTION = 0.1
"""Change of a pixel, of its range, beyond the noise of a codec."""


class Prediction(NamedTuple):
    """A forward pass; `quantized` is None while the bottleneck is continuous."""

    next_frames: Tensor
    """Frames 2..T as predicted: pixels (B, T-1, H, W, 3), or logits (B, T-1, P, K) of their tokens."""
    latents_BTL: Tensor
    """Latents of the T-1 transitions before quantization."""
    quantized: Quantized | None


class LatentActionModel(nn.Module):
    """Frames (B, T, H, W, 3) to latent actions (B, T-1), and with these to frames 2..T: a VQ-VAE (section 2.1).

    Encoder of transitions, codebook of actions, decoder of the next frame.
    """

    def __init__(
        self,
        config: LatentActionConfig,
        height: int,
        width: int,
        context: int,
        *,
        num_codes: int = 0,
        grid: tuple[int, int] | None = None,
    ) -> None:
        """Build a LAM.

        Args:
            config: its sizes.
            height: of a frame, in pixels.
            width: of a frame, in pixels.
            context: most frames of a window of the dynamics.
            num_codes: K of the tokenizer whose tokens it reads; unused for pixels.
            grid: rows and columns of these tokens.

        Raises:
            UserError: windows of `context` frames cannot be cut into the LAM's, or the loss leaves out all pixels.
        """
        super().__init__()
        if 2 * config.loss_margin >= width:
            raise UserError(
                f"latent_actions.loss_margin = {config.loss_margin}: leaves nothing of frames of {width} pixels; "
                f"set it to less than {width // 2}"
            )
        self.config, self.height, self.width = config, height, width
        check_lam_window(config.window, context)
        self.frames_at_once = config.window or context
        self.pairs, self.reads_tokens = config.pooling == "antisymmetric", config.input == "tokens"
        if not self.reads_tokens:
            num_codes, grid = 0, grid_of(height, width, config.patch)
        elif grid is None or num_codes < 1:
            raise ValueError("a LAM that reads tokens needs the tokenizer's num_codes and grid")
        values = num_codes or 3 * config.patch**2

        def embedding(frames: int, d_model: int) -> nn.Module:
            return nn.Embedding(num_codes, d_model) if num_codes else nn.Linear(frames * values, d_model)

        self.embed_encoder = embedding(2 if self.pairs else 1, config.encoder.d_model)
        self.encoder = STTransformer(config.encoder, grid, self.frames_at_once)
        # without a bias, so that a latent of the swapped pair is exactly the negative
        self.pre = nn.Linear(config.encoder.d_model, config.latent_dim, bias=not self.pairs)
        self.quantizer = make_vector_quantizer(config, config.num_actions)
        self.embed_decoder = embedding(1, config.decoder.d_model)
        self.embed_action = nn.Linear(config.latent_dim, config.decoder.d_model)
        self.decoder = STTransformer(config.decoder, grid, self.frames_at_once)
        self.out = nn.Linear(config.decoder.d_model, values)
        if config.decoder_output != "sigmoid":
            nn.init.zeros_(self.out.weight)
            nn.init.zeros_(self.out.bias)

    @property
    def window(self) -> int:
        """Frames from which the encoder reads a latent action, the last two being its transition."""
        return 2 if self.pairs else self.frames_at_once

    @property
    def metric(self) -> str:
        """Name of the metric of its predictions of the next frame."""
        return "lam_accuracy" if self.reads_tokens else "lam_psnr"

    def _pieces(self, frames: Tensor, shared: int) -> Tensor:
        """Return patches or tokens of frames (B * N, T / N, P, ...), in N pieces where the LAM's window is shorter.

        Neighbouring pieces share `shared` frames: 1 for the encoder (a_t needs both of its frames), 0 for the decoder
        (a_t starts at its first).
        """
        step = self.frames_at_once - 1
        total = frames.shape[1] - shared
        if self.config.window and total > step:
            if total % step:
                raise ValueError(f"{total} latent actions are no whole number of windows of {step}")
            frames = frames.unfold(1, step + shared, step).movedim(-1, 2).flatten(0, 1)
        return frames if self.reads_tokens else to_patches(as_float(frames), self.config.patch)

    def latents(self, frames: Tensor) -> Tensor:
        """Return the latents (B, T-1, L), fp32, of the transitions of frames.

        Args:
            frames: a video (B, T, H, W, 3) in uint8, or float in [0, 1]; or its tokens (B, T, P).
        """
        return self.normalized(self.projected(frames))

    def normalized(self, latents: Tensor) -> Tensor:
        """Return projected latents (..., L) as they are quantized: normalized where configured."""
        return F.layer_norm(latents, latents.shape[-1:]) if self.config.normalize_latent else latents

    def projected(self, frames: Tensor) -> Tensor:
        """Return the latents (B, T-1, L), fp32, before any normalization."""
        pieces = self._pieces(frames, shared=1)
        if self.pairs:
            b, t = pieces.shape[:2]
            pairs = torch.cat([pieces[:, :-1], pieces[:, 1:]], -1)
            swapped = torch.cat([pieces[:, 1:], pieces[:, :-1]], -1)
            both = torch.stack([pairs, swapped]).flatten(0, 2)[:, None]
            pooled = self.encoder(self.embed_encoder(both)).mean((1, 2)).view(2, b, t - 1, -1)
            latents = self.pre(pooled[0] - pooled[1])
        else:
            hidden = self.encoder(self.embed_encoder(pieces))
            change = hidden[:, 1:] - hidden[:, :-1] if self.config.pooling == "difference" else hidden[:, 1:]
            latents = self.pre(change.mean(2))
        return latents.float().reshape(len(frames), -1, self.config.latent_dim)

    def encode(self, frames: Tensor) -> Tensor:
        """Return the latent actions (B, T-1), int64."""
        return self.quantizer.nearest(self.latents(frames))

    def decode(self, frames: Tensor, actions_BTL: Tensor) -> Tensor:
        """Return frames 2..T, (B, T-1, ...) as of `Prediction`, from frames 1..T-1 and their latents."""
        pieces = self._pieces(frames, shared=0)
        actions = self.embed_action(actions_BTL).reshape(*pieces.shape[:2], 1, -1)
        y = self.out(self.decoder(self.embed_decoder(pieces) + actions)).float()
        if not self.reads_tokens:
            y = self._pixels(pieces, y)
        return y.reshape(*frames.shape[:2], *y.shape[2:])

    def _pixels(self, patches_BTPX: Tensor, y_BTPX: Tensor) -> Tensor:
        if self.config.decoder_output == "residual":
            y_BTPX = patches_BTPX + _RESIDUAL_GAIN * y_BTPX
        elif self.config.decoder_output == "sigmoid_residual":
            y_BTPX = torch.sigmoid(torch.logit(patches_BTPX, eps=0.01) + y_BTPX)
        else:
            y_BTPX = torch.sigmoid(y_BTPX)
        return from_patches(y_BTPX, self.config.patch, self.height, self.width)

    def forward(self, frames: Tensor, continuous: bool = False, noise_BTL: Tensor | None = None) -> Prediction:
        latents = self.latents(frames)
        quantized = None if continuous else self.quantizer(latents)
        actions = latents if quantized is None else quantized.straight
        if noise_BTL is not None:
            actions = actions + noise_BTL
        return Prediction(self.decode(frames[:, :-1], actions), latents, quantized)

    def loss(
        self, frames: Tensor, continuous: bool = False, noise_BTL: Tensor | None = None
    ) -> tuple[Tensor, Prediction]:
        """Return the training loss and the forward pass behind it.

        Args:
            frames: as of `latents`.
            continuous: leaves quantization out.
            noise_BTL: is added to the latents (B, T-1, L) that the decoder gets.
        """
        result = self(frames, continuous, noise_BTL)
        loss = self.config.reconstruction_weight * self.error(result.next_frames, frames)
        return loss if result.quantized is None else loss + result.quantized.loss, result

    def error(self, next_frames: Tensor, frames: Tensor) -> Tensor:
        """Return the mean error of predictions of frames 2..T, as `decode` returns them."""
        if self.reads_tokens:
            return F.cross_entropy(next_frames.flatten(0, 2), frames[:, 1:].flatten())
        return self._pixel_error(next_frames, as_float(frames))

    def _pixel_error(self, guess_BTHWC: Tensor, frames_BTHWC: Tensor) -> Tensor:
        """Return the mean squared error of frames 2..T, weighed as configured."""
        inside = slice(self.config.loss_margin, self.width - self.config.loss_margin)
        before, truth = frames_BTHWC[:, :-1, :, inside], frames_BTHWC[:, 1:, :, inside]
        guess = guess_BTHWC[:, :, :, inside]
        if self.config.motion_weight == 1:
            return F.mse_loss(guess, truth)
        moves = (truth - before).abs().amax(-1, keepdim=True) > _MOTION
        weight = torch.where(moves, self.config.motion_weight, 1.0)
        # a mean weight of 1 in every transition: a small thing that moves alone then counts as much as a scroll
        return ((guess - truth).square() * (weight / weight.mean((2, 3, 4), keepdim=True))).mean()


@torch.no_grad()
def initialize_embeddings(lam: LatentActionModel, video_BTHWC: Tensor) -> None:
    """Initialize the patch embeddings with principal components of patches, half of the encoder's width at most."""
    patches = to_patches(as_float(video_BTHWC), lam.config.patch).flatten(0, 2)
    encoder, decoder = lam.embed_encoder, lam.embed_decoder
    assert isinstance(encoder, nn.Linear), "the configuration refuses components of tokens"
    assert isinstance(decoder, nn.Linear)
    num = min(encoder.out_features, decoder.out_features) // 2
    if lam.pairs:
        num //= 2
    components = principal_components(patches, num)
    rows, shift = components.axes_LX / components.scale_L[:, None], components.origin() / components.scale_L
    num = len(rows)
    decoder.weight[:num], decoder.bias[:num] = rows, shift
    values = rows.shape[1]
    encoder.weight[:num, :values], encoder.bias[:num] = rows, shift
    if lam.pairs:
        encoder.weight[:num, values:] = 0
        encoder.weight[num : 2 * num, :values] = 0
        encoder.weight[num : 2 * num, values:], encoder.bias[num : 2 * num] = rows, shift


@torch.no_grad()
def initialize_codes(
    lam: LatentActionModel,
    latents_NL: Tensor,
    generator: torch.Generator,
    error: Callable[[float], float] | None = None,
) -> Tensor:
    """Initialize the codes by k-means of latents (their directions, by cosine); return how many latents each has.

    Args:
        lam: gets the codes.
        latents_NL: latents of many transitions.
        generator: of the first centres.
        error: returns the error of the decoder with the present codes, on a share of some transitions. With it, k-means
            is tried 64 times, and of the codes that differ those of the least error stay: the nearest centres are not
            those that tell the decoder most, and in a single try two actions share a code now and then while a third
            has two (measured). The fewer codes are left, the more transitions compare them (successive halving).
    """
    samples = F.normalize(latents_NL, dim=-1) if lam.config.cosine else latents_NL

    def try_codes(rows: Tensor, counts: Tensor) -> None:
        # counts as of one batch of a step, not of all samples: the first updates weigh like later ones
        lam.quantizer.initialize(rows, counts / counts.sum() * lam.config.num_actions)

    def one_try() -> tuple[Tensor, Tensor]:
        return kmeans(samples, lam.config.num_actions, _LLOYD_ROUNDS, generator)

    def wrong(found: tuple[Tensor, Tensor], share: float) -> float:
        assert error is not None
        try_codes(*found)
        return error(share)

    best = one_try()
    if error is not None:
        # most tries end at the same codes in another order, and the decoder's error costs more than a try
        distinct = [best]
        for _ in range(_KMEANS_TRIES - 1):
            found = one_try()
            if not any(_alike(found[0], rows) for rows, _ in distinct):
                distinct.append(found)
        for share, kept in _HALVING:
            distinct = sorted(distinct, key=lambda found: wrong(found, share))[:kept]
        best = distinct[0]
    try_codes(*best)
    return best[1]


def _alike(rows_AL: Tensor, others_AL: Tensor) -> bool:
    """Tell whether each row is nearly one of the others, by the distances between the others."""
    apart = torch.cdist(others_AL, others_AL)
    apart.fill_diagonal_(torch.inf)
    return bool((torch.cdist(rows_AL, others_AL).amin(1) <= _ALIKE * apart.amin()).all())
