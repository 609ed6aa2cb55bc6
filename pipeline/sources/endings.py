"""Tell by a file's ending, and where the ending has other uses by its first bytes, whether it is read as a video.

`.ts` is a transport stream and TypeScript, `.mts` the same twice, `.dat` the picture of a Video CD and nearly anything
else. A file that is text under such an ending is no video, and one under `.dat`, `.mod` or `.tod` only where MPEG's own
bytes begin it. Any other odd content stays a video here: its download fails by name, with the reason.

    is_video_name("Level 1.MKV")  # True
    is_other_content(".ts", first_bytes)  # True for TypeScript
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePath

SUFFIXES = (
    ".3g2", ".3gp", ".asf", ".avi", ".dat", ".divx", ".dv", ".f4v", ".flv", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4v",
    ".mkv", ".mod", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".ogm", ".ogv", ".qt", ".tod", ".tp",
    ".trp", ".ts", ".vob", ".webm", ".wmv",
)  # fmt: skip
HEAD_BYTES = 4096
"""How much of a file `is_other_content` needs."""

_OFTEN_TEXT = frozenset(
    {".ts", ".mts", ".m2ts", ".m2t", ".tp", ".trp", ".vob", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".dv", ".asf"}
)
_OFTEN_OTHER = frozenset({".dat", ".mod", ".tod"})
_PACKETS = (188, 192, 204)
"""Bytes from one packet of a transport stream to the next: plain, with a time stamp, with error correction."""
_SYNCS = 5
"""Sync bytes in a row, at one distance, that no other content has by chance."""
_MOST_ENDINGS = 8
_LONGEST_ENDING = 12


def ending_of(name: str) -> str:
    """Return the ending of a file name in lower case, with its dot; "" where it has none."""
    return PurePath(name).suffix.lower()


def is_video_name(name: str) -> bool:
    """Tell whether a file of this name may be a video."""
    return ending_of(name) in SUFFIXES


def is_ambiguous(ending: str) -> bool:
    """Tell whether files of this ending are often no videos, so that their first bytes decide."""
    return ending in _OFTEN_TEXT or ending in _OFTEN_OTHER


def is_other_content(ending: str, head: bytes) -> bool:
    """Tell whether a file of an ambiguous ending is something else than a video.

    Args:
        ending: of its name.
        head: its first `HEAD_BYTES` bytes, or all of them. A file without bytes is a video that its download refuses.
    """
    if ending in _OFTEN_OTHER:
        return not _is_mpeg(head)
    return ending in _OFTEN_TEXT and bool(head) and _is_text(head) and not is_transport_stream(head)


def is_transport_stream(head: bytes) -> bool:
    """Tell whether MPEG-TS packets begin somewhere in the bytes: their sync byte comes back at one distance."""
    for distance in _PACKETS:
        starts = range(min(distance, len(head) - (_SYNCS - 1) * distance))
        if any(all(head[start + index * distance] == 0x47 for index in range(_SYNCS)) for start in starts):
            return True
    return False


def _is_mpeg(head: bytes) -> bool:
    start = head.lstrip(b"\0")
    begins = (b"\x01\xba", b"\x01\xb3")  # a pack, or a sequence of pictures; zero bytes come before either
    is_cd = head[:4] == b"RIFF" and head[8:12] == b"CDXA"
    return is_cd or (head[:2] == b"\0\0" and start.startswith(begins)) or is_transport_stream(head)


def _is_text(head: bytes) -> bool:
    """Tell whether bytes are text: UTF-8 or Latin without control characters, or UTF-16 and UTF-32 with their mark."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
        return True
    controls = re.sub(rb"[\t\n\r\f\x1b\x1a]", b"", head.removeprefix(b"\xef\xbb\xbf"))
    return re.search(rb"[\x00-\x1f\x7f]", controls) is None


class Unread:
    """The files that a search does not read, counted by their ending."""

    def __init__(self) -> None:
        self.by_ending: Counter[str] = Counter()
        self.other_content: Counter[str] = Counter()
        """Files with an ending of videos that are something else, by that ending."""
        self.hidden = 0
        """Files and folders whose name begins with a dot."""

    def count(self, name: str) -> None:
        """Count a file by its name; a sidecar is read with its video and is no such file."""
        if not name.lower().endswith(".info.json"):
            self.by_ending[_shown_ending(name)] += 1

    def sentence(self) -> str:
        """Return "12 files not read: 7 .nfo, 3 .srt, ..."; "" where every file is read."""
        parts = _listed(self.by_ending)
        parts += [
            f"{count} {ending} (no video by {_its(count)} content)" for ending, count in _ordered(self.other_content)
        ]
        total = self.by_ending.total() + self.other_content.total()
        text = f"{total} {'file' if total == 1 else 'files'} not read: {', '.join(parts)}" if total else ""
        if self.hidden:
            hidden = f"{self.hidden} hidden (the name begins with a dot)"
            text = f"{text}; and {hidden}" if text else f"not read: {hidden}"
        return text


def _its(count: int) -> str:
    return "its" if count == 1 else "their"


def _shown_ending(name: str) -> str:
    ending = ending_of(name)
    if not ending:
        return "without an ending"
    return (
        ending if len(ending) <= _LONGEST_ENDING and ending.isprintable() and ending.isascii() else "with odd endings"
    )


def _listed(counted: Mapping[str, int]) -> list[str]:
    ordered = _ordered(counted)
    parts = [f"{count} {ending}" for ending, count in ordered[:_MOST_ENDINGS]]
    if rest := ordered[_MOST_ENDINGS:]:
        parts.append(f"{sum(count for _, count in rest)} with {len(rest)} other endings")
    return parts


def _ordered(counted: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
