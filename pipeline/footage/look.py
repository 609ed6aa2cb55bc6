"""How a decoded frame is to be shown: its pixel aspect, its orientation and its colours, as a player reads them.

Each comes from the frame where it says so, else from the container. PyAV leaves three things to us: the eight
orientations of a display matrix (`frame.rotation` knows four of them), the pixel aspect of a frame (the codec context
holds that of the newest one), and the colours of the container (a decoder replaces them by what the stream says, also
where that is "unspecified").

    looks = LookReader(stream)      # before the first packet is decoded
    for packet in container.demux(stream):
        frames = packet.decode()
        looks.note(packet, frames)
        ... looks.of(frame)
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av.sidedata.sidedata import Type

PQ, HLG = "smpte2084", "arib-std-b67"
"""The transfer functions of HDR, by their names in ffmpeg."""
UNKNOWN_HDR = "unknown-hdr"
"""Transfer of a picture whose side data describe HDR and whose transfer function is not named."""
HDR_TRANSFERS = (PQ, HLG, UNKNOWN_HDR)
"""Values of `clips.transfer` under which a picture is washed out unless it is tone-mapped."""
UNSPECIFIED = 2
YCGCO, BT709, BT2020 = 8, 1, 9
_TRANSFERS = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "linear", 9: "log100", 10: "log316",
    11: "iec61966-2-4", 12: "bt1361e", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: PQ, 17: "smpte428",
    18: HLG,
}  # fmt: skip
_DESCRIBES_HDR = {
    Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL, Type.DYNAMIC_HDR_PLUS, Type.DYNAMIC_HDR_VIVID,
    Type.DOVI_METADATA, Type.DOVI_RPU_BUFFER,
}  # fmt: skip
_DOLBY = {Type.DOVI_METADATA, Type.DOVI_RPU_BUFFER}
# matrices that libswscale refuses, by what comes nearest: constant luminance and the like differ from BT.2020 by little
_NEAREST_MATRIX = {10: BT2020, 11: BT2020, 13: BT2020, 14: BT2020, 15: BT2020, 16: YCGCO, 17: YCGCO}
_KNOWN_MATRICES = {0, 1, 2, 4, 5, 6, 7, YCGCO, BT2020}
_NOT_MAPPABLE = {14, 15}
"""ICtCp and IPT: no YUV matrix undoes them."""


@dataclass(frozen=True)
class Orientation:
    """One of eight: rows and columns exchanged first, then flipped."""

    transposed: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @property
    def mirrored(self) -> bool:
        """Tell whether text in the picture would have to be read in a mirror without it."""
        return self.transposed ^ self.flip_x ^ self.flip_y

    @property
    def turned(self) -> bool:
        """Tell whether the picture is turned as well, by 90 or 180 degrees."""
        return self.transposed or self.flip_y


@dataclass(frozen=True)
class Colours:
    """Numbers are libav's: AVColorSpace, AVColorRange, AVColorPrimaries."""

    matrix: int = UNSPECIFIED
    """One that libswscale converts, or YCGCO."""
    full_range: int = 0
    primaries: int = UNSPECIFIED
    transfer: str = "unspecified"
    """As ffmpeg names it, or UNKNOWN_HDR."""
    mappable: bool = False
    """Whether it is HDR that `pipeline.clips.tone` maps."""


@dataclass(frozen=True)
class Look:
    """How a frame is to be shown."""

    sar: Fraction = Fraction(1)
    """Width of a pixel over its height."""
    orientation: Orientation = field(default_factory=Orientation)
    colours: Colours = field(default_factory=Colours)


class LookReader:
    """Reads how the frames of one stream are to be shown; made before the first packet is decoded."""

    def __init__(self, stream: Any) -> None:
        self._context = context = stream.codec_context
        coded, shown = context.sample_aspect_ratio, stream.sample_aspect_ratio
        self._sar = _positive(shown) or _positive(coded) or Fraction(1)
        # what the container says holds for all frames; what the codec says may change on the way
        self._fixed = _positive(shown) is not None and shown != coded
        self._coded = coded
        self._newest = self._older = self._sar
        self._changed_at: int | None = None
        self._changed = self._waiting = False
        self._colours = (context.color_trc, context.colorspace, context.color_primaries, context.color_range)
        self._turned = _tagged_orientation(stream.metadata)
        self._known: dict[tuple[Any, ...], Look] = {}

    def note(self, packet: Any, frames: Sequence[av.VideoFrame]) -> None:
        """Note what a packet changed; call it after each packet (None at the end), with the frames that it gave."""
        begins = packet is not None and packet.is_keyframe  # an aspect changes with a key frame alone
        if self._fixed or not (begins or self._changed):
            return
        context = self._context
        if begins and context.sample_aspect_ratio != self._coded:
            self._coded = context.sample_aspect_ratio
            self._older, self._newest = self._newest, _positive(self._coded) or Fraction(1)
            self._changed_at = packet.pts
            self._changed = self._waiting = True
        for frame in frames if self._changed else ():
            # frames that waited in the decoder are older than the packet that changed the aspect, and come first
            self._waiting &= (frame.width, frame.height) != (context.width, context.height) or (
                frame.pts is not None and self._changed_at is not None and frame.pts < self._changed_at
            )
            # an object of its own for each frame: PyAV forgets one that two frames share when the first of them goes
            frame.opaque = [self._older if self._waiting else self._newest]

    def of(self, frame: av.VideoFrame) -> Look:
        """Return how a frame is to be shown."""
        noted = frame.opaque if self._changed else None
        sar = noted[0] if noted else self._sar
        # not the side data themselves: reading them ties a frame to itself, so that its memory is not used again soon
        key = (
            sar, frame.rotation, frame.color_trc, frame.colorspace, frame.color_primaries, frame.color_range,
            frame.width, frame.height,
        )  # fmt: skip
        if key not in self._known:
            matrix = frame.side_data.get(Type.DISPLAYMATRIX)
            turned = self._turned if matrix is None else orientation_of(bytes(matrix))
            self._known[key] = Look(sar, turned, self._colours_of(frame))
        return self._known[key]

    def _colours_of(self, frame: av.VideoFrame) -> Colours:
        trc, matrix, primaries, full_range = self._colours
        transfer = _TRANSFERS.get(frame.color_trc) or _TRANSFERS.get(trc) or "unspecified"
        if transfer not in HDR_TRANSFERS and _TRANSFERS.get(trc) in HDR_TRANSFERS:
            transfer = _TRANSFERS[trc]
        kinds = {entry.type for entry in frame.side_data}
        if transfer == "unspecified" and kinds & _DESCRIBES_HDR:
            transfer = UNKNOWN_HDR
        hdr = transfer in HDR_TRANSFERS
        said = _specified(frame.colorspace, matrix)
        primaries = _specified(frame.color_primaries, primaries)
        if hdr and said == UNSPECIFIED and not kinds & _DOLBY:
            said = BT2020
        return Colours(
            matrix=_usable_matrix(said, primaries),
            full_range=frame.color_range if frame.color_range in (1, 2) else full_range if full_range in (1, 2) else 0,
            primaries=BT2020 if hdr and primaries == UNSPECIFIED else primaries,
            transfer=transfer,
            mappable=transfer in (PQ, HLG) and said not in _NOT_MAPPABLE and said != UNSPECIFIED,
        )


def orientation_of(display_matrix: bytes) -> Orientation:
    """Return the orientation nearest to a display matrix: nine 32-bit numbers, the first two rows 16.16."""
    if len(display_matrix) < 20:
        return Orientation()
    a, b, _, c, d = struct.unpack_from("=5i", display_matrix)
    # a pixel at (x, y) is shown at (a x + c y, b x + d y), y downwards
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(True, flip_x=c < 0, flip_y=b < 0)
    return Orientation(False, flip_x=a < 0, flip_y=d < 0)


def _tagged_orientation(metadata: Any) -> Orientation:
    """Return what a `rotate` tag says (degrees clockwise), which older tools wrote in place of a display matrix."""
    text = next((value for key, value in metadata.items() if key.lower() == "rotate"), "0")
    try:
        turns = round(float(text) / 90) % 4
    except (ValueError, OverflowError):
        return Orientation()
    return (
        Orientation(),
        Orientation(True, flip_x=True),
        Orientation(flip_x=True, flip_y=True),
        Orientation(True, flip_y=True),
    )[turns]


def _usable_matrix(matrix: int, primaries: int) -> int:
    if matrix == 12:  # derived from the primaries
        return BT2020 if primaries == BT2020 else BT709
    matrix = _NEAREST_MATRIX.get(matrix, matrix)
    return matrix if matrix in _KNOWN_MATRICES else UNSPECIFIED


def _specified(of_frame: int, of_container: int) -> int:
    return of_container if of_frame == UNSPECIFIED else of_frame


def _positive(sar: Fraction | None) -> Fraction | None:
    return sar if sar else None
