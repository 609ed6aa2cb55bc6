"""Training follows its seed, and a clip's logits depend on nothing but the clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from classifier.training.fitting import TrainingSet, augment, logits_of, train_network
from classifier.training.frames import ClipFrames
from classifier.training.resnet import ResNet18


def test_a_clips_logits_do_not_depend_on_its_neighbours():
    torch.manual_seed(0)
    model = ResNet18(8).eval()
    frames = torch.randint(0, 256, (5, 4, 3, 45, 80), dtype=torch.uint8)
    together = logits_of(model, frames)
    alone = np.concatenate([logits_of(model, frames[i : i + 1]) for i in range(5)])
    assert (together == alone).all()
    assert together.shape == (5, 4)


def test_augmentation_keeps_size_and_range_and_follows_its_seed():
    frames = torch.rand(6, 3, 45, 80)
    one, two = (augment(frames, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert one.shape == frames.shape
    assert 0 <= one.min() <= one.max() <= 1
    assert not torch.equal(one, frames)


def test_training_leaves_the_global_generator_alone_and_follows_its_seed(config):
    frames = torch.randint(0, 256, (4, 4, 3, 45, 80), dtype=torch.uint8)
    before = torch.random.get_rng_state()
    learning = TrainingSet(ClipFrames(frames, np.arange(4)), np.array([5, 5, 1, 1]), ["a", "b", "c", "d"])
    small = replace(config.classifier, steps=2)
    model = train_network(learning, small, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    again = train_network(learning, small, seed=1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
