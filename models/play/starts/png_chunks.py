"""Take everything out of a PNG that is no picture: texts, times, animations, and profiles that unpack to much.

Pillow refuses a PNG whose text unpacks to more than a megabyte. The picture is sound all the same, and its texts are
not wanted. Chunks that decide what the picture looks like stay.
"""

from __future__ import annotations

import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"sRGB", b"eXIf", b"gAMA", b"cHRM"})
_MOST_PROFILE, _MOST_EXIF = 4 << 20, 1 << 16


def without_texts(data: bytes) -> bytes:
    """Return a PNG with the chunks alone that decide what its picture looks like; other bytes are returned as given.

    An animation becomes its default picture. A chunk that is cut short stays as it is: the decoder says so.
    """
    if not data.startswith(_SIGNATURE):
        return data
    parts, at = [_SIGNATURE], len(_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        chunk = data[at : at + 12 + length]
        if kind in _KEPT and not _is_too_much(kind, chunk[8:-4]):
            parts.append(chunk)
        at += 12 + length
        if kind == b"IEND":
            break
    return b"".join(parts)


def _is_too_much(kind: bytes, body: bytes) -> bool:
    if kind == b"eXIf":
        return len(body) > _MOST_EXIF
    if kind != b"iCCP":
        return False
    _, _, packed = body.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], _MOST_PROFILE)
    except zlib.error:
        return True
    return not unpacker.eof or len(profile) >= _MOST_PROFILE
