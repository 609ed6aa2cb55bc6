"""The starts of a world by name: `held_out:3` is the fourth held-out start frame.

    starts = Starts(world, start_frames(store, config, world.model_id))
    starts.names()                      # ["held_out:0", ...]
    starts.tokens("held_out:0")         # (1, P)

Shapes: P tokens of a frame, H W C pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from models.evaluation.pictures import png_of
from models.play.starts.held_out import StartFrame
from pipeline.errors import UserError

HELD_OUT = "held_out:"


class Encoder(Protocol):
    """The part of a world that starts need."""

    def encode(self, video_BTHWC: torch.Tensor) -> torch.Tensor:
        """Return the tokens (B, T, P) of a uint8 video."""


class Starts:
    """The frames that a game of one world can start from."""

    def __init__(self, world: Encoder, held_out: Sequence[StartFrame]) -> None:
        """Take the held-out start frames.

        Raises:
            UserError: there is none.
        """
        if not held_out:
            raise UserError("there is no start frame to play from: evaluate the world model first (`lampworks run`).")
        self._world = world
        self._held_out = {f"{HELD_OUT}{index}": start for index, start in enumerate(held_out)}
        self._tokens: dict[str, torch.Tensor] = {}

    def names(self) -> list[str]:
        """Return the names of all starts, the held-out ones first."""
        return list(self._held_out)

    def frame(self, name: str) -> np.ndarray:
        """Return the frame (H, W, 3), uint8, of a start; KeyError where there is none of this name."""
        return self._held_out[name].frame_HWC

    def held_out(self, name: str) -> StartFrame | None:
        """Return the held-out start of this name; None where it is no held-out one."""
        return self._held_out.get(name)

    def tokens(self, name: str) -> torch.Tensor:
        """Return the tokens (1, P) of a start; KeyError where there is none of this name.

        Each start is encoded alone, so that its tokens do not depend on which others there are.
        """
        frame = self.frame(name)
        if name not in self._tokens:
            self._tokens[name] = self._world.encode(torch.from_numpy(frame.copy())[None, None])[0]
        return self._tokens[name]

    def digest(self, name: str) -> str:
        """Return 12 hexadecimal digits that tell this start's pixels from others; KeyError as `frame`."""
        frame = np.ascontiguousarray(self.frame(name))
        return hashlib.sha256(repr(frame.shape).encode() + frame.tobytes()).hexdigest()[:12]

    def routes(self) -> list[Route]:
        """Return the addresses of the starts' pictures."""
        return [Route("/api/starts/{name}.png", self._picture)]

    async def _picture(self, request: Request) -> Response:
        try:
            frame = self.frame(request.path_params["name"])
        except KeyError:
            said = f"no such start: there are {len(self._held_out)} held-out ones, {HELD_OUT}0 is the first"
            return JSONResponse({"error": said}, 404)
        return Response(png_of(frame), media_type="image/png")
