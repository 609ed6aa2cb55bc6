"""The starts of a world by name: `held_out:3` is the fourth held-out start frame, `picture:ID` a picture of a player.

    starts = Starts(world, start_frames(store, config, world.model_id))
    starts.names()                      # ["held_out:0", ...]
    starts.tokens("held_out:0")         # (1, P)
    name = starts.add(frame_HWC, "crop")
    starts.known(name).sentence

Methods that encode compute, so the server calls them in its one computing thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from models.evaluation.round_trips import RoundTrips, round_trips
from models.play.starts.fitting import Fit
from models.play.starts.held_out import StartFrame
from models.play.starts.known import Known, known_of
from models.play.starts.palette import Colour, palette_of
from models.play.starts.pictures import PICTURE, Picture, Pictures, frame_digest
from pipeline.errors import UserError

HELD_OUT = "held_out:"


class Tokenizes(Protocol):
    """The part of a world that starts need."""

    def encode(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the tokens (B, T, P) of a uint8 video."""

    def decode(self, tokens_BTP: torch.Tensor) -> torch.Tensor:
        """Return the uint8 video (B, T, H, W, C) of tokens."""


class Starts:
    """The frames that a game of one world can start from."""

    def __init__(
        self,
        world: Tokenizes,
        held_out: Sequence[StartFrame],
        *,
        usual: RoundTrips | None = None,
    ) -> None:
        """Take the held-out start frames.

        Args:
            world: the world model.
            held_out: at least one.
            usual: how well the tokenizer knows held-out frames; by default the start frames are measured at first use.

        Raises:
            UserError: there is no start frame.
        """
        if not held_out:
            raise UserError("there is no start frame to play from: evaluate the world model first (`lampworks run`).")
        self._world, self._usual = world, usual
        self._palette: list[Colour] = []
        self._held_out = {f"{HELD_OUT}{index}": start for index, start in enumerate(held_out)}
        self._tokens: dict[str, torch.Tensor] = {}
        self._pictures = Pictures()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the world's frames."""
        height, width = next(iter(self._held_out.values())).frame_HWC.shape[:2]
        return width, height

    def names(self) -> list[str]:
        """Return the names of the held-out starts; a picture is known to those alone who have its name."""
        return list(self._held_out)

    def frame(self, name: str) -> np.ndarray:
        """Return the frame (H, W, 3), uint8, of a start; KeyError where there is none, or none any more."""
        return self._pictures.get(name).frame_HWC if name.startswith(PICTURE) else self._held_out[name].frame_HWC

    def held_out(self, name: str) -> StartFrame | None:
        """Return the held-out start of this name; None where it is no held-out one."""
        return self._held_out.get(name)

    def tokens(self, name: str) -> torch.Tensor:
        """Return the tokens (1, P) of a start; KeyError as `frame`.

        Each start is encoded alone, so that its tokens do not depend on which others there are.
        """
        if name.startswith(PICTURE):
            return self._pictures.get(name).tokens_1P
        if name not in self._tokens:
            self._tokens[name] = self._encoded(self._held_out[name].frame_HWC)
        return self._tokens[name]

    def digest(self, name: str) -> str:
        """Return 12 hexadecimal digits that tell this start's pixels from others; KeyError as `frame`."""
        return frame_digest(self.frame(name), 12)

    def add(self, frame_HWC: np.ndarray, how: Fit) -> str:
        """Keep a picture of the world's size, uint8, and return its name; the newest 64 are kept.

        Args:
            frame_HWC: the picture.
            how: how it was fitted.
        """
        tokens_1P = self._encoded(frame_HWC)
        shown_HWC = self._decoded(tokens_1P)
        known = known_of(frame_HWC, shown_HWC, self.usual())
        return self._pictures.add(Picture(frame_HWC, how, tokens_1P, shown_HWC, known))

    def picture(self, name: str) -> Picture:
        """Return a picture that was added; KeyError where it is not kept any more."""
        return self._pictures.get(name)

    def known(self, name: str) -> Known:
        """Return how well the tokenizer knows a start; KeyError as `frame`."""
        if name.startswith(PICTURE):
            return self._pictures.get(name).known
        return known_of(self.frame(name), self._decoded(self.tokens(name)), self.usual())

    def palette(self) -> list[Colour]:
        """Return the colours to sketch in, at most 16: those of areas, then those of details, frequent ones first."""
        if not self._palette:
            self._palette = palette_of(self._held_out_frames(), self._round_trip)
        return self._palette

    def usual(self) -> RoundTrips:
        """Return how well the tokenizer knows held-out frames."""
        if self._usual is None:
            frames_NHWC = self._held_out_frames()
            self._usual = round_trips(frames_NHWC, self._round_trip(frames_NHWC))
        return self._usual

    def _held_out_frames(self) -> np.ndarray:
        return np.stack([start.frame_HWC for start in self._held_out.values()])

    def _round_trip(self, frames_NHWC: np.ndarray) -> np.ndarray:
        tokens_N1P = self._world.encode(torch.from_numpy(frames_NHWC)[:, None])
        return self._world.decode(tokens_N1P)[:, 0].cpu().numpy()

    def _encoded(self, frame_HWC: np.ndarray) -> torch.Tensor:
        return self._world.encode(torch.from_numpy(frame_HWC.copy())[None, None])[0]

    def _decoded(self, tokens_1P: torch.Tensor) -> np.ndarray:
        return self._world.decode(tokens_1P[None])[0, 0].cpu().numpy()
