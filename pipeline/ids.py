"""Identifiers of videos and clips: stable across searches, safe as file names, shard keys and partition keys.

The alphabet is `[A-Za-z0-9_-]`: no dots, because WebDataset splits keys at the first dot, and no slashes or other
characters with a meaning in a path, because titles are not trusted.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}")
START_DIGITS = 9
CLIP_ID_PATTERN = rf"(?P<video_id>.+)-(?P<start_ms>[0-9]{{{START_DIGITS}}})-(?P<clip_spec>[0-9a-f]+)"
"""The form of a clip id, for a full match; both Python and Arrow (RE2) read it."""
GENERIC = frozenset({"generic", "html5", "html5mediaembed", "quotedhtml"})
"""yt-dlp's extractors for any page: their id is the last part of the URL, which is not unique across hosts."""


def short_hash(text: str, length: int = 12) -> str:
    """Return the first `length` hex digits of the text's sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def slug(text: str, length: int = 40) -> str:
    """Return text reduced to the id alphabet (accents folded, everything else a hyphen), at most `length` long."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_]+", "-", folded).strip("-")[:length].strip("-")


def video_id_of(extractor: str, native_id: str | None, url: str) -> str:
    """Return `<extractor>-<native id>`, or `<extractor>-<hash of the URL>` where the native id cannot be used.

    That is so where the extractor is generic (its id is the last part of the URL and was seen to collide across hosts)
    and where the native id has characters outside the alphabet.
    """
    key = slug(extractor.lower()) or "unknown"
    if native_id and key not in GENERIC and _SAFE.fullmatch(native_id):
        return f"{key}-{native_id}"
    return f"{key}-{short_hash(url, 16)}"


def file_video_id(relative_path: str, folder: str = "") -> str:
    """Return the id of a file in a folder source: a slug of its name and a hash of its relative path.

    Thus the id stays when the folder moves. `folder` is part of the hash if it is given, for a file whose relative
    path exists in another folder too.
    """
    stem = relative_path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    where = f"{folder}\0{relative_path}" if folder else relative_path
    return "-".join(part for part in ("folder", slug(stem), short_hash(where, 10)) if part)


def clip_id_of(video_id: str, start_ms: int, clip_spec: str) -> str:
    """Return `<video_id>-<start in ms, 9 digits>-<clip_spec>`."""
    return f"{video_id}-{start_ms:0{START_DIGITS}d}-{clip_spec}"


def split_clip_id(clip_id: str) -> tuple[str, int, str]:
    """Return (video_id, start_ms, clip_spec) of a clip id; ValueError if it has another form."""
    match = re.fullmatch(CLIP_ID_PATTERN, clip_id)
    if match is None:
        raise ValueError(f"clip id {clip_id!r} is not of the form <video_id>-<start_ms>-<clip_spec>")
    return match["video_id"], int(match["start_ms"]), match["clip_spec"]
