"""Find the true actions that lie beside a recording: one JSON object a line, as demonstrations are recorded.

For `demo/ep1.mp4` these names are tried, in this order: `demo/ep1.actions.jsonl`, `demo/ep1.jsonl`,
`demo/actions/ep1.jsonl` and `actions/ep1.jsonl` (beside the folder of the video, within the source's own folder). They
are truth to compare latent actions with, and no training reads them: `download.actions` keeps them aside or drops them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.outside import parse_json
from pipeline.regular_file import read_regular, too_large
from pipeline.sources.folder_fetch import is_remote, path_of
from pipeline.storage.store import Store

_LARGEST = 64 << 20


def raw_actions(raw_path: str) -> str:
    """Return the blob key of the actions that were fetched with a raw file, given the key of that file."""
    return f"{raw_path.rpartition('.')[0]}.actions.jsonl"


def actions_beside(url: str, root: str, options: Mapping[str, str]) -> tuple[bytes | None, str]:
    """Return the actions beside a video, and why they are left out ("" where they are not).

    Args:
        url: of the video.
        root: folder or prefix of the source; nothing outside of it is read.
        options: of its object store.
    """
    for place in _places(url, root):
        try:
            data = _read(place, options)
            if data is not None:
                return (data, "") if (why := _wrong(data)) == "" else (None, f"{place}: {why}")
        except (OSError, EOFError) as error:
            return None, f"{place}: {getattr(error, 'strerror', None) or error}"
    return None, ""


def _places(url: str, root: str) -> list[str]:
    video = url if is_remote(url) else str(path_of(url))
    folder, _, name = video.rpartition("/")
    stem = name.rpartition(".")[0]
    places = [f"{folder}/{stem}.actions.jsonl", f"{folder}/{stem}.jsonl", f"{folder}/actions/{stem}.jsonl"]
    if folder != root.rstrip("/"):
        places.append(f"{folder.rpartition('/')[0]}/actions/{stem}.jsonl")
    return places


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


def _wrong(data: bytes) -> str:
    """Return what is wrong with actions; "" where each line is a JSON object."""
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = parse_json(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            return f"line {number} is no JSON object"
    return ""
