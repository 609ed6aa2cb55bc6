"""ResNet18 on single frames, with torchvision's parameter names but without torchvision.

Genie App. B.1 filters its pool with an "11M ResNet18": at width 64 with one logit this is 11,177,025 parameters.
Narrow widths train in seconds on a laptop.

Dimension keys: B frames, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2015, figure 2)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or channels_in != channels_out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        shortcut = x_BCHW if self.downsample is None else self.downsample(x_BCHW)
        x_BCHW = F.relu(self.bn1(self.conv1(x_BCHW)))
        return F.relu(self.bn2(self.conv2(x_BCHW)) + shortcut)


class ResNet18(nn.Module):
    """Four stages of two blocks, at `width`, 2, 4 and 8 times `width` channels, and one logit per frame."""

    def __init__(self, width: int = 64, num_outputs: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, 1)
        self.layer2 = _stage(width, 2 * width, 2)
        self.layer3 = _stage(2 * width, 4 * width, 2)
        self.layer4 = _stage(4 * width, 8 * width, 2)
        self.fc = nn.Linear(8 * width, num_outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, frames_BCHW: Tensor) -> Tensor:
        """Return logits (B,) of frames in [0, 1], or (B, num_outputs) for more than one output."""
        x = F.relu(self.bn1(self.conv1(frames_BCHW * 2 - 1)))
        x = F.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        out = self.fc(x.mean((2, 3)))
        return out.squeeze(1) if out.shape[1] == 1 else out


def _stage(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(channels_in, channels_out, stride), BasicBlock(channels_out, channels_out, 1))


def num_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.inference_mode()
def frame_logits(model: ResNet18, frames_BCHW: Tensor) -> Tensor:
    """Return the logits (B,) of uint8 frames as float32 on the CPU, computed on the model's device."""
    device = next(model.parameters()).device
    return model(frames_BCHW.to(device).float() / 255).float().cpu()
