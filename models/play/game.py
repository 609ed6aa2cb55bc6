"""A game: a tree of frames, and the rollout that makes the next one from the current frame.

The frame t of a path depends on the start, the seed, the settings, the actions before it, and on where its rollout
began anew, and on nothing else. The same of these give the same bytes, on the same kind of machine.

Shapes: B worlds, T frames, H W C pixels, P tokens of a frame, A latent actions.
"""

from __future__ import annotations

import io
import itertools
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from models.evaluation.pictures import frame_of
from models.play.live_settings import only_sampling
from models.play.tree import ROOT, Node, Tree
from models.uncertainty.doubt import Doubt, Doubter
from models.world.session import Session
from pipeline.config.evaluation import SamplingConfig


class Rollout(Protocol):
    """A world that is rolled out frame by frame; see `models.world.session.Session`."""

    def step(self, latent_actions_B: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Take a step and return the tokens (B, P) of the next frame."""

    def pixels(self) -> torch.Tensor:
        """Return the newest frame (B, H, W, C), uint8."""


class Playable(Protocol):
    """What a world must offer to be played."""

    @property
    def model_id(self) -> str:
        """Id of the published world model."""

    @property
    def num_actions(self) -> int:
        """Number of latent actions."""

    @property
    def context(self) -> int:
        """Number of frames that the dynamics attends to at once, the new one included."""

    @property
    def decoder_window(self) -> int:
        """Number of frames that the tokenizer's decoder sees at once, the newest included."""

    def encode(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the tokens (B, T, P) of a uint8 video."""

    def decode(self, tokens_BTP: torch.Tensor) -> torch.Tensor:
        """Return the uint8 video (B, T, H, W, C) of tokens."""

    def infer_actions(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the latent actions (B, T - 1) of a uint8 video."""

    def begin(
        self, prompt_tokens_BTP: torch.Tensor, latent_actions_BA: torch.Tensor, *, sampling: SamplingConfig
    ) -> Rollout:
        """Return a rollout that continues a prompt."""


@dataclass(frozen=True)
class Made:
    """A new frame of a game."""

    node: Node
    png: bytes
    dropped: list[int]
    """Ids of older frames that are not kept any more."""
    dynamics_ms: float
    decode_ms: float
    encode_ms: float
    doubt_ms: float
    doubt: Doubt | None = None
    """How far the world guesses; None where that is not asked for."""


class Game:
    """One game. Its methods compute, so they are called on one thread at a time."""

    def __init__(
        self,
        world: Playable,
        start: str,
        tokens_1P: torch.Tensor,
        sampling: SamplingConfig,
        *,
        seed: int,
        history: int,
        doubter: Doubter | None = None,
    ) -> None:
        """Begin at a start.

        Args:
            world: the world model.
            start: name of the start.
            tokens_1P: its tokens.
            sampling: how frames are sampled.
            seed: the noise of frame t is drawn from seed + t.
            history: most frames that are kept.
            doubter: tells the doubt about each frame.
        """
        self.world, self.start, self.seed, self.sampling = world, start, seed, only_sampling(sampling)
        self._device = tokens_1P.device
        window = max(world.context, world.decoder_window)
        self.tree = Tree(tokens_1P[0].cpu().numpy(), self.sampling, window=window, history=history)
        self.current = self.tree.node(ROOT)
        self._rollout: Rollout | None = None
        self._doubter, self._doubts = doubter, dict[int, Doubt]()

    def step(self, action: int) -> Made:
        """Make the frame that an action leads to from the current frame, which it becomes.

        Raises:
            FrameGoneError: the current frame cannot be continued any more.
        """
        # at the start a rollout begins in any case
        anew = self._rollout is None and self.current.node != ROOT
        rollout = self._rollout or self._begin(self.current, self.sampling)
        noise = torch.Generator(self._device).manual_seed(_seed_of(self.seed, self.current.t))
        times = [time.perf_counter()]
        tokens = rollout.step(torch.tensor([action]), noise)[0].cpu().numpy()
        times.append(time.perf_counter())
        # every frame is decoded, in its turn: the decoder's cache depends on it
        frame = _newest(rollout)
        times.append(time.perf_counter())
        png = png_of(frame)
        times.append(time.perf_counter())
        doubt = None
        if self._doubter is not None:
            assert isinstance(rollout, Session)
            doubt = self._doubter.of(rollout, self.doubt_of(self.current.node))
        times.append(time.perf_counter())
        self._rollout = rollout
        self.current, dropped = self.tree.add(self.current, action, tokens, self.sampling, anew=anew)
        self.tree.keep_picture(self.current.node, png)
        if doubt is not None:
            self._doubts[self.current.node] = doubt
        for node in dropped:
            self._doubts.pop(node, None)
        spent = [(after - before) * 1000 for before, after in itertools.pairwise(times)]
        dynamics, decode, encode, doubting = spent
        return Made(self.current, png, dropped, dynamics, decode, encode, doubting, doubt)

    def doubt_of(self, node: int) -> Doubt | None:
        """Return the doubt about a frame; None for the start, for frames that are not kept, and where none is told."""
        return self._doubts.get(node)

    def go(self, node: int) -> Node:
        """Make a frame of the tree the current one; FrameGoneError where it is not kept, or cannot be continued."""
        found = self.tree.node(node)
        self.tree.window_of(found)
        if found is not self.current:
            self.current = found
            self.rest()
        return found

    def change(self, sampling: SamplingConfig) -> None:
        """Sample the next frames otherwise."""
        sampling = only_sampling(sampling)
        if sampling != self.sampling:
            self.sampling = sampling
            self.rest()

    def rest(self) -> None:
        """Give the caches of the rollout back; the next frame begins one anew."""
        self._rollout = None

    def png(self, node: int) -> bytes:
        """Return the picture of a frame: as it was shown, or decoded again; FrameGoneError where it is not kept."""
        found = self.tree.node(node)
        kept = self.tree.picture(node)
        if kept is not None:
            return kept
        window = self.tree.path(found, self.world.decoder_window)
        return png_of(_newest(self._continued(window, found.sampling)))

    def frame(self, node: int) -> np.ndarray:
        """Return the pixels (H, W, C) of a frame, as `png`."""
        return frame_of(self.png(node))

    def _begin(self, last: Node, sampling: SamplingConfig) -> Rollout:
        return self._continued(self.tree.window_of(last), sampling)

    def _continued(self, nodes: list[Node], sampling: SamplingConfig) -> Rollout:
        tokens = torch.from_numpy(np.stack([node.tokens_P for node in nodes]).astype(np.int64))[None]
        actions = torch.tensor([[node.action for node in nodes[1:]]], dtype=torch.int64)
        return self.world.begin(tokens, actions, sampling=sampling)


def _newest(rollout: Rollout) -> np.ndarray:
    return rollout.pixels()[0].cpu().numpy()


def _seed_of(seed: int, t: int) -> int:
    return (seed + t) % (1 << 63)


def png_of(frame_HWC: np.ndarray) -> bytes:
    """Return a frame as PNG, packed fast rather than small: it is made for every frame of every player."""
    buffer = io.BytesIO()
    Image.fromarray(frame_HWC).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
