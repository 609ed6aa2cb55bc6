"""Odd media files, made from whole ones or byte by byte: what damaged disks, old tools and hostile hands leave."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.media import run_ffmpeg

_CODINGS = {
    "mp4": ("libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
    "mkv": ("libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
    "flv": ("libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
    "webm": ("libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
    "avi": ("mpeg4",),
    "wmv": ("wmv2",),
}
# the name of the video codec, as each container writes it
_CODEC_NAMES = {"mp4": b"avc1", "mkv": b"V_MPEG4/ISO/AVC", "webm": b"V_VP9", "avi": b"FMP4", "wmv": b"WMV2"}
TITLE = b"an old title"


def small_videos(folder: Path) -> dict[str, bytes]:
    """Return eight seconds of moving picture in each container, with a title, by suffix."""
    found = {}
    for suffix, coding in _CODINGS.items():
        path = folder / f"small.{suffix}"
        picture = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=8")
        run_ffmpeg(*picture, "-metadata", f"title={TITLE.decode()}", "-c:v", *coding, str(path))
        found[suffix] = path.read_bytes()
    return found


def odd_files(whole: dict[str, bytes]) -> dict[str, bytes]:
    """Return odd files by name, made of `small_videos`; every one of them made PyAV raise a type of its own.

    Those with a title and that with a late stream play all the same.
    """
    found = {}
    for suffix, data in whole.items():
        # a tag in another encoding, as old recorders write it
        if TITLE in data:
            found[f"latin-1-title.{suffix}"] = data.replace(TITLE, b"\xe4n \xf6ld t\xeftl\xe9".ljust(len(TITLE)), 1)
    for suffix, name in _CODEC_NAMES.items():
        found[f"unknown-codec.{suffix}"] = whole[suffix].replace(name, b"Zqj7".ljust(len(name), b"x"))
    # a sound stream in its last tag, that the header does not announce
    sound = b"\x08" + struct.pack(">I", 64)[1:] + bytes(7) + b"\x2f" + bytes(63)
    found["late-stream.flv"] = whole["flv"] + sound + struct.pack(">I", 11 + 64)
    return found


# -- memory and time ----------------------------------------------------------------------------------------------


def _box(kind: bytes, *parts: bytes) -> bytes:
    return struct.pack(">I", 8 + sum(map(len, parts))) + kind + b"".join(parts)


def _full(kind: bytes, *parts: bytes) -> bytes:
    return _box(kind, bytes(4), *parts)


def _ints(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def mp4_of_samples(num_samples: int) -> bytes:
    """Return an MP4 of some 600 bytes whose tables claim so many frames of one byte, 25 a second."""
    matrix = _ints(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    size = struct.pack(">HH", 64, 48)
    avc1 = _box(b"avc1", bytes(6) + b"\0\1" + bytes(16), size, _ints(0x480000, 0x480000, 0), b"\0\1", bytes(32))
    tables = _box(
        b"stbl",
        _full(b"stsd", _ints(1), avc1),
        _full(b"stts", _ints(1, num_samples, 1)),
        _full(b"stsc", _ints(1, 1, num_samples, 1)),
        _full(b"stsz", _ints(1, num_samples)),
        _full(b"stco", _ints(1, 48)),
    )
    info = _box(b"minf", _box(b"vmhd", bytes(12)), tables)
    header = _full(b"mdhd", _ints(0, 0, 25, num_samples), b"\x55\xc4\0\0")
    media = _box(b"mdia", header, _full(b"hdlr", _ints(0), b"vide", bytes(13)), info)
    track = _ints(0, 0, 1, 0, num_samples) + bytes(16) + matrix + _ints(64 << 16, 48 << 16)
    movie = _ints(0, 0, 25, num_samples, 0x10000) + b"\1\0" + bytes(10) + matrix + bytes(24) + _ints(2)
    moov = _box(b"moov", _full(b"mvhd", movie), _box(b"trak", _box(b"tkhd", b"\0\0\0\7", track), media))
    return _box(b"ftyp", b"isom", _ints(512), b"isom") + moov + _box(b"mdat", bytes(16))


def gif_of_size(side: int) -> bytes:
    """Return a GIF of some 100 bytes whose two frames are one pixel on a screen of so many pixels a side."""
    screen = b"GIF89a" + struct.pack("<HH", side, side) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    frame = b"\x21\xf9\4\0\x0a\0\0\0" + b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0" + b"\2\2\x44\1\0"
    return screen + frame * 2 + b"\x3b"
