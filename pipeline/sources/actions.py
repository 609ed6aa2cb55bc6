"""Find the true actions that lie beside a recording: JSONL or Parquet, one row a frame (`pipeline.actions.sidecar`).

For `demo/ep1.mp4` these are looked for: `demo/ep1.actions.jsonl` and `.actions.parquet`, else `demo/ep1.jsonl` and
`.parquet`; each also in `demo/actions/` and in `actions/` (beside the folder of the video, within the source's own
folder). Two of them are a contradiction, and none is taken. `download.actions` keeps them or drops them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.actions.columns import BadSidecarError
from pipeline.actions.sidecar import read_sidecar
from pipeline.regular_file import read_regular, too_large
from pipeline.sources.folder_fetch import is_remote, path_of
from pipeline.storage.store import Store

ENDINGS = (".jsonl", ".parquet")
LEFT_OUT = "actions are left out: "
"""How the message of a download begins whose actions cannot be used."""
# what is read of it, as objects, must fit into a worker (`engine.memory_mb`)
_LARGEST = 64 << 20
_FOLDER = "actions"


class FoundActions(NamedTuple):
    """The sidecar of a video."""

    data: bytes | None = None
    """None where there is none, or it is left out."""
    ending: str = ".jsonl"
    """Of its name."""
    why_not: str = ""
    """Why it is left out, and the fix; "" where it is not."""


def raw_actions(raw_path: str) -> tuple[str, ...]:
    """Return the blob keys that the actions of a raw file may have, given the key of that file."""
    return tuple(f"{raw_path.rpartition('.')[0]}.actions{ending}" for ending in ENDINGS)


def actions_beside(url: str, root: str, options: Mapping[str, str]) -> FoundActions:
    """Return the actions beside a video.

    Args:
        url: of the video.
        root: folder or prefix of the source; nothing outside of it is read.
        options: of its object store.
    """
    for places in _places(url, root):
        found = []
        for place in places:
            try:
                data = _read(place, options)
            except (OSError, EOFError) as error:
                return FoundActions(why_not=f"{place}: {getattr(error, 'strerror', None) or error}")
            if data is not None:
                found.append((place, data))
        if len(found) > 1:
            both = " and ".join(place for place, _ in found[:2])
            return FoundActions(why_not=f"{both} are both there: leave one of them")
        for place, data in found:
            try:
                read_sidecar(place, data)
            except BadSidecarError as error:
                return FoundActions(why_not=f"{place}: {error}")
            return FoundActions(data, f".{place.rpartition('.')[2]}")
    return FoundActions()


def lie_beside(url: str, root: str, names: Collection[str] | None = None) -> bool:
    """Tell whether a file that may hold the actions of a video is there, whatever is in it.

    Args:
        url: of the video.
        root: folder or prefix of the source.
        names: all objects of the prefix, as URLs; None: the files are looked for.
    """
    video = url if is_remote(url) else str(path_of(url))
    if not video.startswith(f"{root.rstrip('/')}/"):
        return False
    places = (place for kind in _places(url, root) for place in kind)
    return any(Path(place).is_file() if names is None else place in names for place in places)


def _places(url: str, root: str) -> Iterator[list[str]]:
    """Yield the places of each kind of name, the clearer one first."""
    video = url if is_remote(url) else str(path_of(url))
    folder, _, name = video.rpartition("/")
    folders = [folder, f"{folder}/{_FOLDER}"]
    if folder != root.rstrip("/"):
        folders.append(f"{folder.rpartition('/')[0]}/{_FOLDER}")
    for mark in (".actions", ""):
        yield [f"{each}/{name.rpartition('.')[0]}{mark}{ending}" for each in folders for ending in ENDINGS]


def _read(place: str, options: Mapping[str, str]) -> bytes | None:
    """Return a file or object; None where there is none."""
    try:
        if not is_remote(place):
            return read_regular(Path(place), _LARGEST)
        parent, _, name = place.rpartition("/")
        store = Store(parent, options)
        if not store.exists(name):
            return None
        if (size := store.size(name)) > _LARGEST:
            raise too_large(size, _LARGEST)
        return store.read_blob(name)
    except FileNotFoundError:
        return None


def without_video(sidecars: Iterable[str], videos: Collection[str]) -> list[str]:
    """Return the sidecars that belong to no video, sorted; all names are relative to the folder of the source.

    Args:
        sidecars: names for which `is_sidecar` holds.
        videos: names of the videos.
    """
    stems = {name.rpartition(".")[0] for name in videos}
    # of `a/b/ep1`, also `a/ep1`: a folder `actions` lies beside the folder of the video
    beside = {f"{_parent(_parent(stem))}{stem.rpartition('/')[2]}" for stem in stems if "/" in stem}
    lone = []
    for sidecar in sidecars:
        stem = sidecar.rpartition(".")[0].removesuffix(".actions")
        above = f"{_parent(_parent(stem))}{stem.rpartition('/')[2]}" if _is_in_folder(stem) else None
        if stem not in stems and (above is None or (above not in stems and above not in beside)):
            lone.append(sidecar)
    return sorted(lone)


def is_sidecar(name: str) -> bool:
    """Tell whether a file's name, relative to its source, says that it holds actions."""
    stem, dot, ending = name.rpartition(".")
    return f"{dot}{ending}" in ENDINGS and (stem.endswith(".actions") or _is_in_folder(stem))


def _is_in_folder(stem: str) -> bool:
    return _parent(stem).rstrip("/").rpartition("/")[2] == _FOLDER


def _parent(path: str) -> str:
    """Return the folder of a path with its slash; "" at the top."""
    head, slash, _ = path.rstrip("/").rpartition("/")
    return f"{head}{slash}"
