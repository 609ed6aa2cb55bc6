"""EfficientNet-Lite0 without its classes: pictures to 1,280 features, batch normalization folded into convolutions."""

from __future__ import annotations

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Lite0(nn.Module):
    """Features (B, 1280, h, w) of RGB pictures (B, 3, H, W) with values 0 to 255."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        """Take weights by the names of `efficientnet-lite-pytorch`; RuntimeError where they are of another network."""
        super().__init__()
        # without an image size, borders are padded as any picture needs it
        network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        network.load_state_dict(state)
        network.eval()
        _fold(network)
        del network._fc
        self.network = network

    def forward(self, pictures_BCHW: Tensor) -> Tensor:
        # as the network was trained: mean 127, standard deviation 128
        features: Tensor = self.network.extract_features((pictures_BCHW - 127.0) / 128.0)
        return features


def _fold(network: EfficientNet) -> None:
    """Fold each batch normalization into the convolution before it, which saves a tenth of the time."""
    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        if hasattr(block, "_expand_conv"):
            pairs.append((block, "_expand_conv", "_bn0"))
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    with torch.no_grad():
        for module, convolution, normalization in pairs:
            folded = fuse_conv_bn_eval(getattr(module, convolution), getattr(module, normalization))
            setattr(module, convolution, folded)
            setattr(module, normalization, nn.Identity())
