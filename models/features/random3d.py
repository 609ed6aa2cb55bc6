"""A 3D-convolutional network of fixed random weights: features that nobody trained, the same on every machine.

Random convolutions tell edges, colours and motion apart, and favour no data. The weights are the bits of a Philox
generator, a counter through a fixed function (Salmon et al., 2011), scaled without a library's distributions. So their
hash is the same with any version of numpy or torch.

Shapes: B videos, T frames, H W C pixels, D features.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv3d

from models.features.net import FeatureNet, scaled
from pipeline.feature_nets import RANDOM

_ROWS, _COLUMNS = 54, 96
_KEY = 20240223
_LAYERS = (
    # outputs, inputs, kernel (frames, rows, columns), stride
    (32, 3, (3, 5, 5), (1, 2, 2)),
    (64, 32, (3, 3, 3), (1, 2, 2)),
    (96, 64, (3, 3, 3), (1, 2, 2)),
)


def random3d_features(device: torch.device) -> FeatureNet:
    """Return the network."""
    weights = [torch.from_numpy(weight).to(device) for weight in random_weights()]

    def run(video_BTHWC: Tensor) -> Tensor:
        batch, frames = video_BTHWC.shape[:2]
        small = scaled(video_BTHWC.to(device).flatten(0, 1).permute(0, 3, 1, 2), _ROWS, _COLUMNS)
        x = small.reshape(batch, frames, 3, _ROWS, _COLUMNS).transpose(1, 2) / 127.5 - 1
        found = []
        for weight, (_, _, kernel, stride) in zip(weights, _LAYERS, strict=True):
            x = conv3d(x, weight, stride=stride, padding=tuple(side // 2 for side in kernel)).relu()
            found.append(x.mean((2, 3, 4)))
        return torch.cat(found, 1)

    return FeatureNet(
        RANDOM,
        random_sha256(),
        sum(layer[0] for layer in _LAYERS),
        f"{_COLUMNS}x{_ROWS}, all frames at the clips' own rate",
        "video",
        run,
        "random weights of a fixed seed",
    )


@cache
def random_weights() -> tuple[NDArray[np.float32], ...]:
    """Return the weights of each layer (outputs, inputs, frames, rows, columns)."""
    bits = np.random.Philox(key=_KEY)
    found = []
    for outputs, inputs, kernel, _ in _LAYERS:
        shape = (outputs, inputs, *kernel)
        fan_in = int(np.prod(shape[1:]))
        # 24 bits are a float32 without rounding; uniform values of variance 2 / fan_in keep the scale behind a ReLU
        uniform = (bits.random_raw(int(np.prod(shape))) >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - 1
        found.append((uniform * np.float32(np.sqrt(6 / fan_in))).reshape(shape))
    return tuple(found)


def random_sha256() -> str:
    """Return the hash of all weights, little-endian float32."""
    return hashlib.sha256(b"".join(weight.astype("<f4").tobytes() for weight in random_weights())).hexdigest()
