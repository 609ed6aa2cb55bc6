"""Find films that were appended to an MP4 or QuickTime file byte by byte: players, and libav, show the first alone.

Fragments are another matter: libav reads those of all parts.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import PermanentError
from pipeline.footage.stream import video_stream
from pipeline.media import open_media, reading_media

_MOST_BOXES, _MOST_FILMS = 10_000, 100
_CLASS = "invalid_media"


def appended_s(path: Path) -> float:
    """Return the seconds of picture of the films behind the first one, as their own indexes name them."""
    return sum(_seconds(path, start) for start in _starts(path))


def _starts(path: Path) -> list[int]:
    """Return where further films begin: at a box of their type, or at an index where they have none."""
    size, place = path.stat().st_size, 0
    films: list[int] = []
    indexes, begins = 0, 0
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES):
            file.seek(place)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4]), header[4:8]
            if kind == b"moof":
                return []
            if kind == b"ftyp":
                begins = place
            if kind == b"moov":
                indexes += 1
                if indexes > 1:
                    films.append(max(begins, films[-1] + 1 if films else 1))
            if length == 1:  # the real length follows
                length = int.from_bytes(header[8:16])
            place += length
            if length < 8 or place >= size:
                break
    return films[:_MOST_FILMS]


def _seconds(path: Path, start: int) -> float:
    try:
        with reading_media(_CLASS), open_media(path, start) as container:
            stream = video_stream(container, _CLASS)
            return float((stream.duration or 0) * stream.time_base)
    except PermanentError:
        return 0.0
