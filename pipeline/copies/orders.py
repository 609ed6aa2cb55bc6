"""Candidates by sorting: in each of several orders, clips that may be copies stand next to each other.

Every item has a code of many bits. An order sorts the items by a key that is drawn from a code by its own random
numbers, and compares each with the next few: the cost grows as the number of items, whatever they look like. A copy
that is not next to its original in one order is so in another.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.copies.landmarks import BITS, Words
from pipeline.copies.timeline import Ints

NEIGHBOURS = 6
"""Successors that each item is compared with in an order."""
CHUNK = 1 << 17
"""Items at a time."""
_KEY_BITS = 64
_KEY_BYTES = 8


def adjacent(keys: Words, neighbours: int = NEIGHBOURS) -> Iterator[tuple[Ints, Ints]]:
    """Yield pairs of items whose keys stand close, a chunk at a time; equal keys stay in the items' order."""
    order = np.argsort(keys, kind="stable")
    for start in range(0, len(order), CHUNK):
        for step in range(1, neighbours + 1):
            second = order[start + step : start + step + CHUNK]
            yield order[start : start + len(second)], second


def bit_keys(codes: Words, seed: int) -> Words:
    """Return one 64-bit word per code (N, words), made of bits that the seed draws: like codes share most of them."""
    bits = np.random.default_rng(seed).permutation(codes.shape[1] * 64)[:_KEY_BITS]
    keys = np.empty(len(codes), np.uint64)
    for start in range(0, len(codes), CHUNK):
        part = np.asarray(codes[start : start + CHUNK])
        key = np.zeros(len(part), np.uint64)
        for bit in bits:
            key = (key << np.uint64(1)) | ((part[:, bit // 64] >> np.uint64(bit % 64)) & np.uint64(1))
        keys[start : start + CHUNK] = key
    return keys


def min_hash_keys(codes: Words, seed: int) -> Words:
    """Return one 64-bit word per landmark code: in eight orders of the bits, the first bit that is set.

    Two codes share a byte of it with the probability of their likeness, also where few bits are set.
    """
    random = np.random.default_rng(seed)
    ranks = np.stack([random.permutation(BITS) for _ in range(_KEY_BYTES)]).astype(np.uint8)
    # the lowest rank of the bits of a byte of the code, for each of its values
    of_byte = np.full((_KEY_BYTES, BITS // 8, 256), 255, np.uint8)
    values = np.arange(256)
    for bit in range(BITS):
        shown = (values >> (7 - bit % 8)) & 1 == 1
        place = of_byte[:, bit // 8]
        place[:, shown] = np.minimum(place[:, shown], ranks[:, bit, None])
    keys = np.empty(len(codes), np.uint64)
    for start in range(0, len(codes), CHUNK):
        data = np.ascontiguousarray(codes[start : start + CHUNK]).view(np.uint8)
        key = np.zeros(len(data), np.uint64)
        for hashed in range(_KEY_BYTES):
            lowest = np.full(len(data), 255, np.uint8)
            for byte in range(BITS // 8):
                np.minimum(lowest, of_byte[hashed, byte][data[:, byte]], out=lowest)
            key = (key << np.uint64(8)) | lowest
        keys[start : start + CHUNK] = key
    return keys
