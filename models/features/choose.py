"""The feature networks that settings name, ready to use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from models.features.lite0 import lite0_differences, lite0_features
from models.features.net import FeatureNet
from models.features.random3d import random3d_features
from models.features.torchscript import torchscript_features
from models.features.transnet import transnet_features
from pipeline.feature_nets import LITE0, OWN, RANDOM, TRANSNET, missing_because


@dataclass(frozen=True)
class MissingNet:
    """A network that was asked for and cannot be used here."""

    name: str
    reason: str
    """Why, and what to do."""
    kind: Literal["video", "frames"] = "video"
    """As `FeatureNet.kind`."""


def choose_nets(
    names: Sequence[str],
    video_shape: tuple[int, int, int],
    device: torch.device,
    own: Callable[[], FeatureNet] | None = None,
) -> list[FeatureNet | MissingNet]:
    """Return networks by their names, in this order; `efficientnet-lite0` is two: of frames, and of their differences.

    Args:
        names: as in `evaluation.feature_nets`.
        video_shape: frames, height and width of the videos that they will see.
        device: where they run.
        own: makes the network `own`; None where there is no tokenizer at hand.

    Raises:
        UserError: weights or a file cannot be used.
    """
    found: list[FeatureNet | MissingNet] = []
    for name in names:
        if reason := missing_because(name):
            found.append(MissingNet(name, reason))
        elif name == TRANSNET:
            found.append(transnet_features(device))
        elif name == LITE0:
            found += [lite0_features(device), lite0_differences(device)]
        elif name == RANDOM:
            found.append(random3d_features(device))
        elif name == OWN:
            found.append(own() if own else MissingNet(OWN, "there is no tokenizer of these videos here"))
        else:
            found.append(torchscript_features(name, video_shape, device))
    return found
