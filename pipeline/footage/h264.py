"""Tell from two H.264 packets that follow each other whether pictures between them are missing.

Every picture that others may refer to has a number, one higher than the last one's. The decoder fills a hole in these
numbers with copies and says nothing, so what it gives after that looks whole and is not.
"""

from __future__ import annotations

from dataclasses import dataclass

_HIGH_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 134, 135, 138, 139}
# the numbers are within the first bytes of a slice
_HEADER_BYTES = 24


class _Bits:
    """Bits of a NAL unit, read from the front."""

    def __init__(self, data: bytes) -> None:
        clean = data.replace(b"\0\0\3", b"\0\0")
        self._bits = "".join(f"{byte:08b}" for byte in clean)
        self._place = 0

    def unsigned(self, size: int) -> int:
        """Return the next `size` bits as a number; ValueError where they end."""
        text = self._bits[self._place : self._place + size]
        if len(text) < size:
            raise ValueError("the bits end")
        self._place += size
        return int(text, 2) if size else 0

    def golomb(self) -> int:
        """Return the next Exp-Golomb number."""
        zeros = 0
        while not self.unsigned(1):
            zeros += 1
        return (1 << zeros) - 1 + self.unsigned(zeros)


@dataclass(frozen=True)
class Numbering:
    """How a stream numbers its pictures."""

    nal_length: int
    """Bytes of the length before each NAL unit; 0 for start codes."""
    bits: int
    """Bits of a number."""
    gaps_allowed: bool
    """Whether the stream says that numbers may be left out."""
    colour_planes: bool
    """Whether slices name a colour plane."""

    @property
    def count(self) -> int:
        """How many numbers there are before they begin again."""
        return int(1 << self.bits)

    def lost_between(self, before: bytes, after: bytes) -> bool | None:
        """Tell whether pictures are missing between two packets; None where they cannot be read."""
        one, other = self._number(before), self._number(after)
        if one is None or other is None:
            return None
        if other[2] or self.gaps_allowed:
            return False
        follows = (one[0] + one[1]) % self.count
        # the second field of a picture has the number of the first
        return other[0] not in {follows, one[0]}

    def _number(self, data: bytes) -> tuple[int, bool, bool] | None:
        """Return the number of a picture, whether others may refer to it, and whether numbers begin anew."""
        for unit in _units(data, self.nal_length):
            kind = unit[0] & 31
            if kind in {1, 5}:
                bits = _Bits(unit[1:_HEADER_BYTES])
                try:
                    for _ in range(3):  # first macroblock, slice type, parameter set
                        bits.golomb()
                    if self.colour_planes:
                        bits.unsigned(2)
                    return bits.unsigned(self.bits), bool(unit[0] >> 5 & 3), kind == 5
                except ValueError:
                    return None
        return None


def numbering(extradata: bytes | None) -> Numbering | None:
    """Return how a stream numbers its pictures, from its codec's extra data; None where that does not say."""
    if not extradata or len(extradata) < 8:
        return None
    if extradata[0] == 1:  # avcC: lengths, and the parameter set after its own length
        length = int.from_bytes(extradata[6:8])
        return _parameters(extradata[8 : 8 + length], (extradata[4] & 3) + 1)
    return next((_parameters(unit, 0) for unit in _units(extradata, 0) if unit[0] & 31 == 7), None)


def _units(data: bytes, nal_length: int) -> list[bytes]:
    """Return the starts of the NAL units of a packet, up to its first slice."""
    found: list[bytes] = []
    place = 0
    while place + nal_length < len(data):
        if nal_length:
            size = int.from_bytes(data[place : place + nal_length])
            start = place + nal_length
            place = start + size
        else:
            start = data.find(b"\0\0\1", place) + 3
            if start < 3:
                break
            place = start
        if start < len(data):
            found.append(data[start : start + 4 * _HEADER_BYTES])
            if data[start] & 31 in {1, 5}:
                break
    return found


def _parameters(unit: bytes, nal_length: int) -> Numbering | None:
    bits = _Bits(unit[1:])
    try:
        profile = bits.unsigned(8)
        bits.unsigned(16)
        bits.golomb()
        planes = _high_profile(bits) if profile in _HIGH_PROFILES else False
        size = bits.golomb() + 4
        order = bits.golomb()
        if order == 0:
            bits.golomb()
        elif order == 1:
            bits.unsigned(1)
            bits.golomb(), bits.golomb()
            for _ in range(bits.golomb()):
                bits.golomb()
        bits.golomb()
        return Numbering(nal_length, size, bool(bits.unsigned(1)), planes) if size <= 16 else None
    except ValueError:
        return None


def _high_profile(bits: _Bits) -> bool:
    """Read what parameter sets of high profiles have more; return whether slices name a colour plane."""
    chroma = bits.golomb()
    planes = bool(chroma == 3 and bits.unsigned(1))
    bits.golomb(), bits.golomb()
    bits.unsigned(1)
    if bits.unsigned(1):
        for number in range(12 if chroma == 3 else 8):
            if bits.unsigned(1):
                _skip_scaling_list(bits, 16 if number < 6 else 64)
    return planes


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = 8
    for _ in range(size):
        code = bits.golomb()
        delta = (code + 1) // 2 if code % 2 else -(code // 2)
        last = (last + delta) % 256
        if not last:
            return
