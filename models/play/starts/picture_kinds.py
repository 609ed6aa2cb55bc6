"""Say what the bytes of an upload are, where they are no picture that can be read; each answer is one sentence.

The name and the declared type of an upload are never looked at: bytes alone count.
"""

from __future__ import annotations

READ = "PNG, JPEG, WebP, GIF, BMP, AVIF and TIFF are read"
_HEIC = (
    "this is a HEIC photo, which is not read here: export it as JPEG (an iPhone takes JPEG photos under Settings, "
    "Camera, Formats, Most Compatible)"
)
_VIDEO = "this is a video, not a picture: send one frame of it as PNG"
_ARCHIVE = "this is an archive or an office document, not a picture: unpack it and send the picture in it"
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_TEXT_BYTES = 4096

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", _ARCHIVE),
    (b"PK\x05\x06", _ARCHIVE),
    (b"\x1f\x8b", _ARCHIVE),
    (b"7z\xbc\xaf\x27\x1c", _ARCHIVE),
    (b"Rar!", _ARCHIVE),
    (b"BZh", _ARCHIVE),
    (b"\xfd7zXZ", _ARCHIVE),
    (b"%PDF", "this is a PDF, not a picture: save the page as PNG"),
    (b"%!PS", "this is PostScript, not a picture: save it as PNG"),
    (b"\x1aE\xdf\xa3", _VIDEO),
    (b"OggS", _VIDEO),
    (b"8BPS", "this is a Photoshop document: save it as PNG"),
    (b"\xff\x0a", "this is JPEG XL, which is not read here: save it as PNG"),
    (b"\x00\x00\x00\x0cJXL ", "this is JPEG XL, which is not read here: save it as PNG"),
    (b"\x00\x00\x00\x0cjP  ", "this is JPEG 2000, which is not read here: save it as PNG"),
    (b"\xff\x4f\xff\x51", "this is JPEG 2000, which is not read here: save it as PNG"),
    (b"\x00\x00\x01\x00", "this is an icon file: save it as PNG"),
)
_PICTURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)


def damaged(data: bytes) -> str:
    """Return the sentence for a picture that cannot be decoded."""
    return (
        f"this {picture_kind(data) or 'picture'} is damaged or cut short: send the whole file, or save it anew as PNG"
    )


def picture_kind(data: bytes) -> str:
    """Return the name of the format that the first bytes announce, of those that are read; "" for others."""
    for start, name in _PICTURES:
        if data.startswith(start):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return "AVIF" if _brands(data) & set(_AVIF_BRANDS) else ""


def why_no_picture(data: bytes) -> str:
    """Return a sentence on what bytes are that are no picture of a known format, and what to send instead."""
    if not data:
        return "the upload is empty: choose a picture file"
    for start, sentence in _STARTS:
        if data.startswith(start):
            return sentence
    brands = _brands(data)
    if brands & set(_HEIF_BRANDS):
        return _HEIC
    if brands or data[:4] == b"RIFF":
        return _VIDEO
    head = data[:_TEXT_BYTES]
    if head.startswith((b"\xfe\xff", b"\xff\xfe")):
        head = head.replace(b"\x00", b"")
    head = head.lstrip(b"\xef\xbb\xbf\xfe\xff \t\r\n").lower()
    if head.startswith(b"<"):
        if b"<svg" in head:
            return "this is an SVG drawing, which is not read here: save it as PNG"
        if b"<html" in head or b"<!doctype html" in head or b"<head" in head or b"<body" in head:
            return "this is a web page, not a picture: save the picture itself, not the page that shows it"
    return f"these bytes are no picture: {READ}"


def _brands(data: bytes) -> set[bytes]:
    """Return the brands of an ISO media file (HEIC, AVIF, MP4); empty for other bytes."""
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4]), len(data), 256)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))}
