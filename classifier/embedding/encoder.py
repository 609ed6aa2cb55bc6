"""The frozen network: stored frames of clips to the mean and the spread of its features over the frames.

Dimension keys: N clips, K frames of a clip, B pictures, H rows, W columns, C channels, D features.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from classifier.embedding.lite0 import Lite0
from classifier.embedding.stored import Vectors
from classifier.embedding.weights import Weights, encoder_id, weights_of
from pipeline.config import EmbeddingConfig
from pipeline.config.embedding import BUILT_IN
from pipeline.errors import UserError
from pipeline.usage import hold_gpus

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Encoder:
    """A frozen network with its input size; `id` says which."""

    id: str
    network: nn.Module
    config: EmbeddingConfig
    device: torch.device

    @torch.inference_mode()
    def __call__(self, frames_NKHWC: NDArray[np.uint8]) -> tuple[Vectors, Vectors]:
        """Return mean and spread (N, D) of the features of the chosen frames of N clips."""
        clips, stored = frames_NKHWC.shape[:2]
        count = min(self.config.frames, stored)
        chosen = [(2 * index + 1) * stored // (2 * count) for index in range(count)]
        pictures = torch.from_numpy(np.ascontiguousarray(frames_NKHWC[:, chosen])).flatten(0, 1)
        # rows of interleaved colours are torch's channels-last, in which convolutions are fastest: nothing is copied
        features_BD = self.features(pictures.permute(0, 3, 1, 2).to(self.device))
        features_NKD = features_BD.reshape(clips, count, -1)
        spread_ND = features_NKD.std(1, correction=0)
        return features_NKD.mean(1).cpu().numpy(), spread_ND.cpu().numpy()

    def features(self, pictures_BCHW: Tensor) -> Tensor:
        """Return features (B, D), float32, of uint8 pictures of any size."""
        size = (self.config.height, self.config.width)
        scaled = pictures_BCHW.float()
        if scaled.shape[2:] != size:
            scaled = F.interpolate(scaled, size, mode="bilinear", antialias=True)
        found: Tensor = self.network(scaled.to(_DTYPES[self.config.dtype]))
        if not isinstance(found, Tensor) or found.dim() not in (2, 4) or len(found) != len(pictures_BCHW):
            raise UserError(
                f"embedding.network = {self.config.network!r}: must return a tensor of pictures x features (or "
                "pictures x features x rows x columns) for pictures x 3 x rows x columns"
            )
        return found.float().mean((2, 3)) if found.dim() == 4 else found.float()


def load_encoder(config: EmbeddingConfig) -> Encoder:
    """Return the configured network, ready to use.

    A TorchScript module is a program: it is run as its author wrote it, on pictures (B, 3, H, W) with values 0 to 255.
    Weights alone (the installed ones, safetensors) hold numbers and run nothing.

    Raises:
        UserError: the file is missing, changed, or of another network, or the configured device is not there.
    """
    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise UserError("embedding.device = cuda: torch finds no GPU here; set it to auto or cpu")
    device = torch.device("cuda" if has_gpu and config.device != "cpu" else "cpu")
    if device.type == "cuda":
        hold_gpus()
    return _loaded(config, weights_of(config), device)


@lru_cache(maxsize=1)
def _loaded(config: EmbeddingConfig, weights: Weights, device: torch.device) -> Encoder:
    """Return the network; the batches of a process share one, which is 0.1 to 0.3 CPU-s to load."""
    try:
        network = _network(weights)
        network = network.eval().to(device, _DTYPES[config.dtype])
        for parameter in network.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    except (RuntimeError, SafetensorError, ValueError) as exc:
        if isinstance(exc, UserError):
            raise
        what = "a TorchScript module" if weights.path.suffix == ".pt" else f"weights of {BUILT_IN}"
        raise UserError(
            f"embedding.network = {config.network!r}: {weights.path} cannot be loaded as {what} "
            f"({str(exc).splitlines()[0][:200]}). Name another file, or set embedding.network = {BUILT_IN}"
        ) from exc
    return Encoder(encoder_id(config), network, config, device)


def _network(weights: Weights) -> nn.Module:
    data = weights.read()
    if weights.path.suffix == ".pt":
        with warnings.catch_warnings():
            # the format is frozen, and still the one that every release reads
            warnings.simplefilter("ignore", DeprecationWarning)
            module: nn.Module = torch.jit.load(io.BytesIO(data), map_location="cpu")
        return module
    if weights.path.suffix == ".safetensors":
        return Lite0(load(data))
    return Lite0(torch.load(io.BytesIO(data), weights_only=True, map_location="cpu"))
