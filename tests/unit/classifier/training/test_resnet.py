"""The network is torchvision's ResNet18 by name and number, at every width."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from classifier.training.examples import clip_frames
from classifier.training.fitting import augment, logits_of, train_network
from classifier.training.resnet import ResNet18, num_parameters

# torchvision 0.2x, models/resnet.py: the keys of resnet18().state_dict()
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def torchvision_keys() -> list[str]:
    keys = ["conv1.weight", *(f"bn1.{name}" for name in _NORM)]
    for stage in range(1, 5):
        for block in range(2):
            at = f"layer{stage}.{block}"
            for number in (1, 2):
                keys += [f"{at}.conv{number}.weight", *(f"{at}.bn{number}.{name}" for name in _NORM)]
            if stage > 1 and block == 0:
                keys += [f"{at}.downsample.0.weight", *(f"{at}.downsample.1.{name}" for name in _NORM)]
    return [*keys, "fc.weight", "fc.bias"]


def test_at_full_width_it_has_the_papers_eleven_million_parameters():
    assert num_parameters(ResNet18(64)) == 11_177_025
    assert num_parameters(ResNet18(64, num_outputs=1000)) == 11_689_512


def test_its_weights_bear_torchvisions_names():
    assert list(ResNet18(8).state_dict()) == torchvision_keys()
    shapes = {name: tuple(value.shape) for name, value in ResNet18(64).state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer4.0.downsample.0.weight"] == (512, 256, 1, 1)


def test_one_logit_a_frame_at_every_input_size():
    model = ResNet18(8).eval()
    for height, width in ((90, 160), (45, 80), (30, 53)):
        assert model(torch.rand(3, 3, height, width)).shape == (3,)


def test_a_clips_logits_do_not_depend_on_its_neighbours():
    torch.manual_seed(0)
    model = ResNet18(8).eval()
    frames = torch.randint(0, 256, (5, 4, 3, 45, 80), dtype=torch.uint8)
    together = logits_of(model, frames)
    alone = np.concatenate([logits_of(model, frames[i : i + 1]) for i in range(5)])
    assert (together == alone).all()
    assert together.shape == (5, 4)


def test_frames_are_chosen_evenly_and_averaged_down(config):
    frames = np.zeros((8, 90, 160, 3), np.uint8)
    frames[:] = (np.arange(8) * 10)[:, None, None, None]
    frames[:, ::2] += 4
    small = clip_frames(frames, config.classifier)
    assert small.shape == (4, 3, 45, 80)
    assert [int(picture.unique()) for picture in small] == [12, 32, 52, 72]
    assert clip_frames(frames, replace(config.classifier, input_height=90, frames_per_clip=8)).shape == (8, 3, 90, 160)


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
    good = np.array([True, True, False, False])
    small = replace(config.classifier, steps=2)
    model = train_network(frames, good, ["a", "b", "c", "d"], small, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    again = train_network(frames, good, ["a", "b", "c", "d"], small, seed=1)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
