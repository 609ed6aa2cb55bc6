"""Which videos a name stands for: an id, a URL, a path on another machine, a file's name with or without its ending.

A name is tried as it is first, then as the end of a path, as a file's name, without the ending, and as programs change
names on upload. The first way that finds a video counts, so that a looser one never hides an exact one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote

from pipeline.outside import url_path
from pipeline.storage.store import Store

_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-(?=.)")
_NOT_KEPT = re.compile(r"[^\w.-]")
_MOST_PARTS = 32


def find_videos(store: Store, names: Collection[str]) -> dict[str, set[str]]:
    """Return name -> the ids of the videos that it stands for; none where there is no such video."""
    wanted: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        for level, key in enumerate(_readings(name)):
            wanted.setdefault(key, []).append((level, name))
    found: dict[str, tuple[int, set[str]]] = {}
    for batch in store.scan("videos", ["video_id", "native_id", "url"]):
        for row in batch.to_pylist():
            for alias in _aliases(row["video_id"], row["native_id"] or "", row["url"] or "") & wanted.keys():
                for level, name in wanted[alias]:
                    best, ids = found.get(name, (level, set()))
                    if level < best:
                        best, ids = level, set()
                    if level == best:
                        ids.add(row["video_id"])
                    found[name] = (best, ids)
    return {name: ids for name, (_, ids) in found.items()}


def _readings(name: str) -> Iterator[str]:
    """Yield the keys under which a video may be known by a name, the surest first."""
    name = _normal(name)
    yield name
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for start in range(max(0, len(parts) - _MOST_PARTS), len(parts)):
        yield "/".join(parts[start:])
    file = parts[-1] if parts else name
    for one in dict.fromkeys((file, _UPLOAD_PREFIX.sub("", file, count=1))):
        yield one
        yield _uploaded(one)
        yield _stem(one)


def _aliases(video_id: str, native_id: str, url: str) -> set[str]:
    """Return the keys of a video; those of looser readings have a character that no name has."""
    paths = [native_id, unquote(url_path(url)) if "://" in url else url]
    # a file name has an ending: the last part of a page's URL ("watch") is not a file name
    files = [name for path in paths if "." in (name := PurePosixPath(path.replace("\\", "/")).name)]
    loose = {key for name in map(_normal, files) for key in (_uploaded(name), _stem(PurePosixPath(name).stem))}
    return {_normal(alias) for alias in (video_id, native_id, url, *files) if alias} | loose


def _uploaded(file: str) -> str:
    """Return the key of a file's name as it is after an upload: spaces are underscores, odd characters are gone."""
    return "upload\0" + _NOT_KEPT.sub("", file.strip().replace(" ", "_"))


def _stem(name: str) -> str:
    return f"stem\0{name}"


def _normal(name: str) -> str:
    # file systems encode accents in different ways
    return unicodedata.normalize("NFC", name.strip())
