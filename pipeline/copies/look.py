"""How clips look: the difference hashes of eight frames each, and which clips look alike.

A clip's code says, for each sampled frame and each of 64 places, whether the picture gets brighter or darker there
(`pipeline.clips.hashes`). Two clips look alike when the codes of their frames differ, on average, in at most
`max_distance` of 64 places, and in at most 15 % of the places where either clip shows a difference. The second bound
keeps plain pictures (a flat sky over a flat floor) apart. Clips that are even plainer look like nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.copies.alignment import Bools
from pipeline.copies.landmarks import Words
from pipeline.copies.orders import CHUNK, adjacent, bit_keys
from pipeline.copies.timeline import Ints

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_RELATIVE = 0.15  # of the places where either clip shows a difference (second encodes: 0.06, unrelated: 0.19 up)
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


def look_codes(hashes: Bytes) -> Words:
    """Return the codes (N, words) of clips from their hashes (N, bytes): half of the frames, half of their mirrors.

    The first half of a code says where the picture rises, the second half where it falls: a fall is what rises in the
    mirrored picture, at the mirrored place of its row (a row is a byte).
    """
    half = hashes.shape[1] // 2
    return np.concatenate([hashes[:, :half], _REVERSED[hashes[:, half:]]], axis=1).view(np.uint64)


def mirrored_codes(codes: Words) -> Words:
    """Return the codes of the mirrored clips: what rises falls, at the mirrored place of its row (a row is a byte)."""
    half = codes.shape[1] // 2
    turned = np.concatenate([codes[:, half:], codes[:, :half]], axis=1)
    for shift, mask in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)):
        bits, by = np.uint64(mask), np.uint64(shift)
        turned = ((turned >> by) & bits) | ((turned & bits) << by)
    return turned


@dataclass(frozen=True)
class Looks:
    """The codes of all clips, and which of them look alike."""

    codes: Words
    """One a clip: (N, words). May be a file on disk."""
    frames: int
    """Frames that a code is of."""
    max_distance: int
    """Places of 64 in which codes may differ."""
    mirrored: bool
    """Whether a clip also looks like its mirror image."""

    def texture(self) -> Floats:
        """Return the places of 64 where each clip's frames show a difference, on average."""
        shown = np.empty(len(self.codes))
        for start in range(0, len(shown), CHUNK):
            shown[start : start + CHUNK] = _bits(self.codes[start : start + CHUNK])
        return shown / self.frames

    def alike(self, first: Ints, second: Ints) -> tuple[Bools, Bools]:
        """Tell which pairs look alike, and which of them do so as mirror images alone."""
        near = self._near(first, second, np.zeros(len(first), bool))
        flipped = np.zeros(len(first), bool)
        if self.mirrored:
            rest = np.flatnonzero(~near)
            flipped[rest] = self._near(first[rest], second[rest], np.ones(len(rest), bool))
        return near | flipped, flipped

    def _near(self, first: Ints, second: Ints, flipped: Bools) -> Bools:
        """Tell which pairs look alike, as they are or (`flipped`) with the second one as its mirror image."""
        near = np.zeros(len(first), bool)
        for start in range(0, len(first), CHUNK):
            part = slice(start, start + CHUNK)
            one, other = self.codes[first[part]], self.codes[second[part]]
            shown = np.maximum(1, _bits(one) + _bits(other))
            turned = flipped[part]
            other[turned] = mirrored_codes(other[turned])
            distance = _bits(one ^ other)
            # rises and falls are counted apart, so a place that changes from one to the other counts once on the mean
            near[part] = (distance <= 2 * self.frames * self.max_distance) & (distance <= _RELATIVE * shown)
        return near

    def alike_pairs(self, clips: Ints, seed: int) -> tuple[Ints, Ints, Bools]:
        """Return pairs among clips that look alike and stand close in one order; the lower number is first."""
        keys = self._keys(clips, seed)
        found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool))]
        for one, other in adjacent(keys):
            # the second half of the keys is that of the mirrored clips
            flipped = (one < len(clips)) != (other < len(clips))
            one, other = clips[one % len(clips)], clips[other % len(clips)]
            first, second = np.minimum(one, other), np.maximum(one, other)
            near = (first != second) & self._near(first, second, flipped)
            found.append((first[near], second[near], flipped[near]))
        first, second, flipped = (np.concatenate(side) for side in zip(*found, strict=True))
        return first, second, flipped

    def _keys(self, clips: Ints, seed: int) -> Words:
        """Return the keys of clips in one order, and then those of their mirror images if these count."""
        keys = np.empty((2 if self.mirrored else 1, len(clips)), np.uint64)
        for start in range(0, len(clips), CHUNK):
            part = self.codes[clips[start : start + CHUNK]]
            keys[0, start : start + CHUNK] = bit_keys(part, seed)
            if self.mirrored:
                keys[1, start : start + CHUNK] = bit_keys(mirrored_codes(part), seed)
        return keys.ravel()


def _bits(codes: Words) -> Ints:
    return np.bitwise_count(codes).sum(axis=1, dtype=np.int64)
