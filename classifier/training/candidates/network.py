"""The candidate `network`: a ResNet18 on single frames (Genie App. B.1); the score is the mean logit of the frames.

Dimension keys: N clips, K frames of a clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classifier.training.arrays import Floats
from classifier.training.candidates.scorer import State
from classifier.training.examples import Examples
from classifier.training.fitting import TrainingSet, logits_of, train_network
from classifier.training.inputs import ClipInputs, Need
from classifier.training.resnet import ResNet18
from pipeline.config import ClassifierConfig


@dataclass(frozen=True)
class NetworkScorer:
    """A trained network, in evaluation mode on its device."""

    network: ResNet18
    width: int

    @property
    def needs(self) -> frozenset[Need]:
        """Return that it needs frames."""
        return frozenset({"frames"})

    def scores(self, inputs: ClipInputs) -> Floats:
        """Return the mean logits (N,)."""
        assert inputs.frames_NKCHW is not None
        return logits_of(self.network, inputs.frames_NKCHW).mean(1)

    def state(self) -> State:
        """Return its width and weights."""
        weights = {name: value.cpu().contiguous() for name, value in self.network.state_dict().items()}
        return State({"width": self.width}, weights)

    @classmethod
    def of_state(
        cls, document: Mapping[str, Any], tensors: Mapping[str, Tensor], device: torch.device
    ) -> NetworkScorer:
        """Return the scorer of these numbers, on a device."""
        # without numbers of its own, which would be drawn and thrown away: a tenth of a second at 64 channels
        with torch.device("meta"):
            network = ResNet18(int(document["width"]))
        network.load_state_dict(dict(tensors), assign=True)
        return cls(network.to(device).eval(), int(document["width"]))


def fit_network(
    learning: Examples, config: ClassifierConfig, seed: int, on_step: Callable[[float], None] | None = None
) -> NetworkScorer:
    """Return a network trained on these clips."""
    if config.targets == "paper":
        learning = learning.take(np.isin(learning.rating_N, (1, 5)))
    assert learning.frames is not None
    used = TrainingSet(learning.frames, learning.rating_N, learning.groups)
    return NetworkScorer(train_network(used, config, seed=seed, on_step=on_step), config.width)


def lacking_extremes(learning: Examples, config: ClassifierConfig) -> str:
    """Return why the network cannot learn from these clips; empty where it can."""
    fives, ones = (
        {group for group, r in zip(learning.groups, learning.rating_N, strict=True) if r == rating} for rating in (5, 1)
    )
    if config.targets != "paper" or (fives and ones):
        return ""
    return (
        f"classifier.targets = paper learns clips rated 5 against clips rated 1, and a fold has fives of {len(fives)} "
        f"and ones of {len(ones)} sources to learn from; ordinal and soft learn from all ratings"
    )
