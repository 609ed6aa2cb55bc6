"""The addresses of starts: pictures of them, uploads, and the palette of sketches.

    POST /api/pictures?fit=crop|pad      the bytes of a picture -> {"name", "url", "reconstruction", "known"}
    GET /api/pictures/ID.png             the picture, fitted to the world's frames
    GET /api/pictures/ID/known.png       what the tokenizer makes of it
    GET /api/starts/NAME.png             a held-out start frame
    GET /api/palette                     ["#rrggbb", ...]

Serve them behind the guard, with `UPLOADS` as the addresses that take files: it bounds an upload's bytes, and how many
arrive at a time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from models.evaluation.pictures import png_of
from models.play.starts.decode import BadPictureError, Upload
from models.play.starts.fitting import FITS
from models.play.starts.palette import hex_colours
from models.play.starts.pictures import PICTURE
from models.play.starts.reader import MAX_BYTES, read_upload
from models.play.starts.starts import HELD_OUT, Starts

PICTURES, PALETTE = "/api/pictures", "/api/palette"
UPLOADS = {PICTURES: MAX_BYTES}
"""Addresses that take files, each with the largest file in bytes."""
MAX_A_MINUTE = 30
_AT_A_TIME = 2
_GONE = "this picture is not kept any more: send it again"

Compute = Callable[..., Awaitable[Any]]
"""Calls a function of one player in the thread that computes, when it is its turn: see `models.play.turns`."""


def start_routes(
    starts: Starts,
    compute: Compute,
    *,
    clock: Callable[[], float] = time.monotonic,
    read: Callable[[Upload], np.ndarray] = read_upload,
) -> list[Route]:
    """Return the addresses of starts.

    Args:
        starts: the starts.
        compute: calls a function, `compute(whose_turn, function, *arguments)`.
        clock: seconds.
        read: makes a frame of an upload.
    """
    found = _StartPages(starts, compute, clock, read)
    return [
        Route("/api/starts/{name}.png", found.start),
        Route(PICTURES, found.add, methods=["POST"]),
        Route(PICTURES + "/{name}/known.png", found.reconstruction),
        Route(PICTURES + "/{name}.png", found.picture),
        Route(PALETTE, found.palette),
    ]


class _StartPages:
    """The endpoints."""

    def __init__(
        self, starts: Starts, compute: Compute, clock: Callable[[], float], read: Callable[[Upload], np.ndarray]
    ) -> None:
        self._starts, self._compute, self._clock, self._read = starts, compute, clock, read
        self._sent: deque[float] = deque(maxlen=MAX_A_MINUTE)
        self._at_a_time = CapacityLimiter(_AT_A_TIME)

    async def start(self, request: Request) -> Response:
        """Return a start frame as PNG."""
        name = request.path_params["name"]
        held = self._starts.held_out(name)
        if held is None:
            return _error(
                404, f"no such start: there are {len(self._starts.names())} held-out ones, {HELD_OUT}0 is the first"
            )
        return _png(held.frame_HWC)

    async def add(self, request: Request) -> Response:
        """Keep a picture that a player sent, and say how well the tokenizer knows it."""
        how = request.query_params.get("fit", "crop")
        if how not in FITS:
            return _error(400, f"fit = {how[:40]!r}: must be one of {', '.join(FITS)}")
        wait = self._seconds_to_wait()
        if wait > 0:
            said = f"{MAX_A_MINUTE} pictures a minute are read here: try again in {wait:.0f} seconds"
            return _error(429, said, {"retry-after": f"{wait:.0f}"})
        self._sent.append(self._clock())
        fit = FITS[FITS.index(how)]
        background = (await self._compute(self._starts, self._starts.palette))[0]
        upload = Upload(await request.body(), fit, *self._starts.size, background)
        try:
            frame_HWC = await to_thread.run_sync(self._read, upload, limiter=self._at_a_time)
        except BadPictureError as exc:
            return _error(422, str(exc))
        name = await self._compute(self._starts, self._starts.add, frame_HWC, fit)
        address = f"{PICTURES}/{name.removeprefix(PICTURE)}"
        return JSONResponse(
            {
                "name": name,
                "url": f"{address}.png",
                "reconstruction": f"{address}/known.png",
                "known": self._starts.known(name).as_json(),
            }
        )

    async def picture(self, request: Request) -> Response:
        """Return a picture as it was fitted."""
        try:
            return _png(self._starts.picture(PICTURE + request.path_params["name"]).frame_HWC)
        except KeyError:
            return _error(404, _GONE)

    async def reconstruction(self, request: Request) -> Response:
        """Return what the tokenizer makes of a picture."""
        try:
            return _png(self._starts.picture(PICTURE + request.path_params["name"]).shown_HWC)
        except KeyError:
            return _error(404, _GONE)

    async def palette(self, request: Request) -> Response:
        """Return the colours to sketch in."""
        return JSONResponse(hex_colours(await self._compute(self._starts, self._starts.palette)))

    def _seconds_to_wait(self) -> float:
        if len(self._sent) < MAX_A_MINUTE:
            return 0.0
        return max(0.0, self._sent[0] + 60 - self._clock())


def _png(frame_HWC: np.ndarray) -> Response:
    return Response(png_of(frame_HWC), media_type="image/png", headers={"cache-control": "no-cache"})


def _error(status: int, said: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": said}, status, headers=headers)
