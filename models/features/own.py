"""A world's own tokenizer as a network of features: what its encoder makes of frames, before quantization.

It was trained on this data, so it knows what matters in it. It also favours what it can say itself: reconstructions
and rollouts of the same tokenizer lie nearer to the truth by it than by a foreign network. So its name holds the
model's id, and figures of two models are never on the same network unless they share the tokenizer.

Shapes: B videos, T frames, H W C pixels, P positions, L latent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.features.net import FeatureNet, weights_sha256
from models.networks.tokenizer import VideoTokenizer
from pipeline.feature_nets import OWN


def own_features(tokenizer: VideoTokenizer, model_id: str, device: torch.device) -> FeatureNet:
    """Return a published tokenizer as a network of features of videos of its own size."""
    network = tokenizer.to(device).eval()
    window = network.config.window

    def run(video_BTHWC: Tensor) -> Tensor:
        parts = [network.latents(part) for part in video_BTHWC.to(device).split(window, 1)]
        latents_BTPL = torch.cat(parts, 1)
        change = latents_BTPL[:, 1:] - latents_BTPL[:, :-1]
        # what is shown, how varied it is over the frame and time, and how much it changes
        return torch.cat([latents_BTPL.mean((1, 2)), latents_BTPL.std((1, 2)), change.abs().mean((1, 2))], 1)

    return FeatureNet(
        f"{OWN}-{model_id}",
        weights_sha256(network.state_dict()),
        3 * network.config.latent_dim,
        f"{network.width}x{network.height}, all frames in windows of {window}",
        "video",
        run,
        "the world's own tokenizer: it favours itself",
    )
