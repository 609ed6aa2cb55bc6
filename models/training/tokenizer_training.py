"""Phase 1: the video tokenizer learns to reconstruct windows of clips from codes (Genie section 2.2, appendix C)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.networks.latent_start import start_tokenizer
from models.networks.patches import as_float
from models.networks.quantizer import Samples, usage, usage_of
from models.networks.tokenizer import VideoTokenizer, initialize_from_patches
from models.runtime.compute import Compute
from models.runtime.cpu_parallel import CpuParallel
from models.runtime.ranks import Ranks
from models.runtime.weights import load_states
from models.training.checkpoint import step_generator
from models.training.data import Batches, ClipWindows
from models.training.held_windows import SpreadWindows
from models.training.large_network import LargeNetwork
from models.training.optimizer import Optimizer
from models.training.step_batches import StepBatches
from pipeline.config.world import TokenizerConfig

_STREAM = 1
_INITIAL_FRAMES, _INITIAL_WINDOWS = 256, 32


@torch.no_grad()
def mean_psnr(guess_BTHWC: Tensor, truth_BTHWC: Tensor) -> float:
    """Return the PSNR in dB of pixels in [0, 1], clamped, MSE floored at 1e-6: mean over frames."""
    error = (guess_BTHWC.float().clamp(0, 1) - as_float(truth_BTHWC)).square().mean((-3, -2, -1))
    return float((-10 * error.clamp(min=1e-6).log10()).mean())


def samples_of(ranks: Ranks, codes: Tensor, batch: int) -> Samples | None:
    """Return where the codes (own windows, ...) of a rank lie among those of a batch; None where there is one rank."""
    if ranks.alone:
        return None
    each = codes[0].numel()
    return Samples(ranks.lanes(batch).start * each, batch * each, ranks.sum)


class _Part(NamedTuple):
    """What a step keeps of a part of its batch."""

    codes: Tensor
    latents_BTPL: Tensor | None
    psnr: float


class TokenizerTraining:
    """A tokenizer, its optimizer and its data."""

    alone_steps = 0

    def __init__(
        self, config: TokenizerConfig, windows: ClipWindows, compute: Compute, *, seed: int, accumulate: int = 1
    ) -> None:
        """Build a fresh tokenizer for the windows' frame size; the same seed gives the same weights.

        Args:
            config: its sizes, steps and schedule.
            windows: the data.
            compute: where it trains.
            seed: of weights and noise.
            accumulate: micro-batches of a step (`training.accumulate`).
        """
        self.config, self.windows, self.compute, self.seed = config, windows, compute, seed
        self.accumulate, self.total_steps = accumulate, config.steps
        _, height, width = windows.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.tokenizer = VideoTokenizer(config, height, width).to(compute.device)
        self.optimizer = Optimizer(self.tokenizer, config.optimizer, config.steps, "tokenizer")
        self.parallel = CpuParallel(compute, config.batch)
        self._network = LargeNetwork("tokenizer", self.tokenizer, self.optimizer, compute)
        self.batches = StepBatches(windows, self._order)
        """The batches of the steps."""

    def initialize(self) -> None:
        """Initialize codes and projections from data where configured."""
        if self.config.start == "patches":
            frames = self.windows.spread(count=_INITIAL_FRAMES, window=1)
            initialize_from_patches(self.tokenizer, frames.to(self.compute.device))
        elif self.config.start == "latents":
            windows = self.windows.spread(count=_INITIAL_WINDOWS, window=self.config.window)
            start_tokenizer(self.tokenizer, windows.to(self.compute.device))
        # all have computed the same; on processors of different kinds it may differ by rounding
        self.compute.ranks.align(list(self.tokenizer.state_dict().values()))

    def _order(self, state: Mapping[str, Any] | None) -> Batches:
        return self.windows.batches(
            seed=self.seed, stream=_STREAM, batch=self.config.batch, window=self.config.window, state=state,
            window_name="tokenizer.window",
        )  # fmt: skip

    def step(self, step: int) -> dict[str, float]:
        """Take one step.

        Metrics: loss, gradient_norm, learning_rate, and psnr, codes_used and perplexity of the batch.
        """
        self._network.divide()
        video, _ = next(self.batches)
        video, batch, ranks = video.to(self.compute.device), self.config.batch, self.compute.ranks
        loss, parts = self.parallel.backward(self._network.learns, self._loss, video, self.accumulate, of=batch)
        norm = self.optimizer.apply(step, loss=loss)
        codes = torch.cat([part.codes for part in parts])
        if self.tokenizer.quantizer.needs_latents:
            latents = torch.cat([part.latents_BTPL for part in parts if part.latents_BTPL is not None])
            noise, among = step_generator(self.seed, _STREAM, step), samples_of(ranks, codes, batch)
            self.tokenizer.quantizer.update(latents, codes, noise, among)
        size = self.config.codebook_size
        used, perplexity = usage_of(ranks.sum(torch.bincount(codes.reshape(-1), minlength=size)))
        return {
            "loss": float(loss),
            "psnr": ranks.total(sum(part.psnr * len(part.codes) for part in parts)) / batch,
            "gradient_norm": norm,
            "learning_rate": self.optimizer.learning_rate,
            "codes_used": used,
            "perplexity": perplexity,
        }

    def _loss(self, video: Tensor) -> tuple[Tensor, _Part]:
        with self.compute.autocast():
            loss, result = self.tokenizer.loss(video)
        # pixels and latents of a large batch would outweigh the micro-batch that is computed
        latents = result.latents_BTPL.detach() if self.tokenizer.quantizer.needs_latents else None
        return loss, _Part(result.quantized.codes, latents, mean_psnr(result.video_BTHWC.detach(), video))

    def networks(self) -> dict[str, nn.Module]:
        """Return the tokenizer."""
        return {"tokenizer": self.tokenizer}

    def optimizers(self) -> dict[str, Optimizer]:
        """Return the optimizer."""
        return {"optimizer": self.optimizer}

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, codebook and optimizer state; of a sharded network on the first rank alone."""
        return self._network.tensors()

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load a checkpoint."""
        own = self._network.own(tensors)
        load_states({"tokenizer": self._network.state()}, {"optimizer": self.optimizer}, own)

    def finish(self) -> None:
        """Make the network whole again on the first rank, after the last step; all ranks call this."""
        size = self.windows.shape[1:]
        self.tokenizer = self._network.whole(self.tokenizer, lambda: VideoTokenizer(self.config, *size))

    def about(self) -> dict[str, Any]:
        """Return the samples that were skipped on any rank, and the position in the order of windows."""
        return self.batches.about()

    def load_about(self, about: Mapping[str, Any]) -> None:
        """Skip the samples that were skipped before, and go on in the order of windows."""
        self.batches.load_about(about)


@torch.inference_mode()
def tokenizer_metrics(
    tokenizer: VideoTokenizer, windows: SpreadWindows, compute: Compute, *, count: int
) -> dict[str, Any]:
    """Return psnr (dB), codes_used, codebook_usage (a share) and perplexity on a fixed set of windows."""
    video = windows.spread(count=count, window=tokenizer.config.window)
    psnrs, codes = [], []
    for part in video.split(8):
        pixels = part.to(compute.device)
        with compute.autocast():
            tokens = tokenizer.encode(pixels)
            psnrs += [mean_psnr(tokenizer.decode(tokens), pixels)] * len(part)
        codes.append(tokens)
    used, perplexity = usage(torch.cat(codes), tokenizer.config.codebook_size)
    return {
        "psnr": sum(psnrs) / len(psnrs),
        "codes_used": used,
        "codebook_usage": used / tokenizer.config.codebook_size,
        "perplexity": perplexity,
        "windows": len(video),
    }
