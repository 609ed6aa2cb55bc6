"""The network is torchvision's ResNet18 by name and number, at every width."""

from __future__ import annotations

import torch

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


def test_its_weights_have_torchvisions_names():
    assert list(ResNet18(8).state_dict()) == torchvision_keys()
    shapes = {name: tuple(value.shape) for name, value in ResNet18(64).state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer4.0.downsample.0.weight"] == (512, 256, 1, 1)


def test_one_logit_a_frame_at_every_input_size():
    model = ResNet18(8).eval()
    for height, width in ((90, 160), (45, 80), (30, 53)):
        assert model(torch.rand(3, 3, height, width)).shape == (3,)
