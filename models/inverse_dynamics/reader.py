"""Train an inverse-dynamics network on clips with true actions, and read actions from frames with it.

    reader = train_reader(clips, names, steps=200, seed=0)
    reader.read(video_NTHWC)                  # (N, T - 1): the number of the action between each two frames

Each step draws as many transitions of every action, so that the rare ones are learned as well as the frequent ones. The
same clips, settings and machine give the same weights.

Shapes: N videos, T frames, H W C pixels, B transitions of a step, A true actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from models.inverse_dynamics.network import InverseDynamics, shrunk
from models.runtime.compute import intra_op_threads

_BATCH, _READ_AT_ONCE = 64, 256
_RATE, _DECAY, _WARM_UP = 4e-3, 0.05, 0.15


@dataclass(frozen=True, eq=False)
class ActionClip:
    """Frames with the true actions between them."""

    source: str
    """The recording: clips of one are not independent."""
    frames_THWC: np.ndarray
    """uint8."""
    actions: np.ndarray
    """int64 (T - 1,): numbers of actions; -1 where the action is none of them, which is left out."""


@dataclass(frozen=True, eq=False)
class ActionReader:
    """A trained network, and what its numbers stand for."""

    network: InverseDynamics
    names: tuple[str, ...]
    """Of the A actions."""

    def read(self, video_NTHWC: np.ndarray) -> np.ndarray:
        """Return the actions (N, T - 1), int64, between the frames of uint8 videos."""
        count, length = video_NTHWC.shape[:2]
        small = shrunk(torch.from_numpy(video_NTHWC).flatten(0, 1)).unflatten(0, (count, length))
        pairs = torch.stack([small[:, :-1], small[:, 1:]], 2).flatten(0, 1)
        with intra_op_threads(), torch.inference_mode():
            found = [self.network(part).argmax(1) for part in pairs.split(_READ_AT_ONCE)]
        return torch.cat(found).reshape(count, length - 1).numpy()


def train_reader(clips: Sequence[ActionClip], names: Sequence[str], *, steps: int, seed: int) -> ActionReader:
    """Return a network that was trained on clips.

    Args:
        clips: at least one transition of each action; all frames of one size.
        names: of the actions.
        steps: training steps, of 64 transitions each.
        seed: of the weights and of the draws.
    """
    frames = torch.cat([shrunk(torch.from_numpy(clip.frames_THWC)) for clip in clips])
    starts = np.cumsum([0, *(len(clip.frames_THWC) for clip in clips)])
    first = np.concatenate([start + np.arange(len(clip.actions)) for start, clip in zip(starts, clips, strict=False)])
    actions = np.concatenate([clip.actions for clip in clips])
    known = actions >= 0
    first_N, action_N = torch.from_numpy(first[known]), torch.from_numpy(actions[known].astype(np.int64))
    share_N = (1 / torch.bincount(action_N, minlength=len(names)).clamp(min=1).double())[action_N]
    with intra_op_threads(), torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = InverseDynamics(len(names))
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps + 1, pct_start=_WARM_UP)
        for _ in range(steps):
            drawn = torch.multinomial(share_N, _BATCH, replacement=True)
            at = first_N[drawn]
            loss = F.cross_entropy(network(torch.stack([frames[at], frames[at + 1]], 1)), action_N[drawn])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return ActionReader(network.eval(), tuple(names))
