"""Tokens as bytes: as many bits each as the codebook needs, the highest bit first, or 16 bits little-endian.

A window begins at a whole byte, so that it can be read alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.errors import UserError

Tokens = npt.NDArray[np.uint16]
MOST_BITS = 16


def bits_of(codes: int) -> int:
    """Return the bits that a token of a codebook needs; UserError where that is more than 16."""
    bits = max(1, (codes - 1).bit_length())
    if bits > MOST_BITS:
        raise UserError(f"tokenizer.codebook_size = {codes}: token shards hold up to {2**MOST_BITS} codes")
    return bits


def packed_size(count: int, bits: int) -> int:
    """Return the bytes of so many tokens."""
    return -(-count * bits // 8)


def pack(tokens: npt.NDArray[np.integer], bits: int) -> bytes:
    """Return the bytes of tokens of any shape, in their order; ValueError where one does not fit."""
    if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) < 2**bits:
        raise ValueError(f"tokens from {tokens.min()} to {tokens.max()} do not fit into {bits} bits")
    flat = tokens.astype("<u2").ravel()
    if bits == MOST_BITS:
        return flat.tobytes()
    each = (flat[:, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint16)) & 1
    return np.packbits(each.astype(np.uint8)).tobytes()


def unpack(data: bytes, count: int, bits: int) -> Tokens:
    """Return so many tokens, uint16 (count,); ValueError where the bytes are too few or too many."""
    if len(data) != packed_size(count, bits):
        raise ValueError(f"{len(data)} bytes are not {count} tokens of {bits} bits")
    if bits == MOST_BITS:
        return np.frombuffer(data, "<u2").astype(np.uint16)
    each = np.unpackbits(np.frombuffer(data, np.uint8), count=count * bits).reshape(count, bits)
    tokens = np.zeros(count, np.uint16)
    for column in range(bits):
        tokens <<= 1
        tokens |= each[:, column]
    return tokens
