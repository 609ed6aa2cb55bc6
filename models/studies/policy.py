"""A small policy: one frame to an action, learned from recordings (behaviour cloning, Genie appendix E).

The paper's policy is its ST-transformer on four frames. In the embedded platformer one picture says all that the next
one depends on, so this one sees one frame, by convolutions over patches; it learns in seconds on one core.

Shapes: N frames, H W C pixels, A actions.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.training.optimizer import Optimizer
from pipeline.config.world import OptimizerConfig

_PATCH, _WIDTH, _HIDDEN = 10, 32, 128
_BATCH = 64


class Policy(nn.Module):
    """Frames (N, H, W, 3) to the logits (N, A) of actions."""

    def __init__(self, height: int, width: int, num_actions: int) -> None:
        super().__init__()
        places = (height // _PATCH) * (width // _PATCH)
        self.net = nn.Sequential(
            nn.Conv2d(3, _WIDTH, _PATCH, stride=_PATCH),
            nn.GELU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(places * _WIDTH, _HIDDEN),
            nn.GELU(),
            nn.Linear(_HIDDEN, num_actions),
        )

    def forward(self, frames_NHWC: Tensor) -> Tensor:
        """Return logits of uint8 frames."""
        logits: Tensor = self.net(frames_NHWC.permute(0, 3, 1, 2).float() / 127.5 - 1)
        return logits

    @torch.inference_mode()
    def probabilities(self, frames_NHWC: np.ndarray) -> np.ndarray:
        """Return the probability (N, A), float64, of each action at uint8 frames."""
        device = next(self.parameters()).device
        return F.softmax(self(torch.from_numpy(frames_NHWC).to(device)), -1).double().cpu().numpy()


def clone(
    frames_NHWC: np.ndarray,
    actions_N: np.ndarray,
    num_actions: int,
    *,
    steps: int,
    seed: int,
    device: torch.device,
) -> Policy:
    """Return a policy that was trained to act as recordings do, by cross-entropy.

    Args:
        frames_NHWC: uint8 frames.
        actions_N: the action at each; int64.
        num_actions: A.
        steps: training steps of 64 frames each.
        seed: of weights and batches; the same seed draws the same frames whatever the actions are.
        device: to train on.
    """
    torch.manual_seed(seed)
    _, height, width, _ = frames_NHWC.shape
    policy = Policy(height, width, num_actions).to(device)
    settings = OptimizerConfig(
        learning_rate=2e-3, final_learning_rate=2e-5, warmup_steps=min(20, steps // 10), beta2=0.99
    )
    optimizer = Optimizer(policy, settings, steps, "the policy")
    rng = np.random.default_rng((seed, 1))
    for step in range(steps):
        drawn = rng.integers(0, len(frames_NHWC), _BATCH)
        logits = policy(torch.from_numpy(frames_NHWC[drawn]).to(device))
        loss = F.cross_entropy(logits, torch.from_numpy(actions_N[drawn]).to(device))
        optimizer.step(loss, step)
    return policy.eval()


def draw(probabilities_NA: np.ndarray, uniform_N: np.ndarray) -> np.ndarray:
    """Return one action (N,) of each row, drawn by a number from [0, 1): equal numbers and rows give equal actions."""
    ends = np.cumsum(probabilities_NA, 1)
    return (uniform_N[:, None] * ends[:, -1:] >= ends).sum(1).clip(max=probabilities_NA.shape[1] - 1)
