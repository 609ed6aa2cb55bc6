"""Episodes from HDF5: robomimic (`data/demo_0`), Minari (`episode_0`), D4RL (one set of arrays, episodes in a row).

A group that has `actions` is a set of arrays (`pipeline.episodes.arrays`). Needs the extra `episodes` (h5py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.episodes.arrays import episodes_of
from pipeline.episodes.episode import BadPart, Pixels, Read
from pipeline.errors import UserError
from pipeline.outside import clean_number, parse_json

_MOST_DEPTH, _MOST_GROUPS = 4, 1_000_000
_DIGITS = re.compile(r"(\d+)")


def read_hdf5(path: Path, name: str, camera: str) -> Read:
    """Yield the episodes of one file, in the order of their numbers.

    Raises:
        UserError: h5py is not installed, or it must be said which pictures are meant.
    """
    if find_spec("h5py") is None:
        raise UserError(
            f"{name}: HDF5 is read by h5py, which is not installed: run `pip install 'lampworks[episodes]'`"
        )
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        yield BadPart(name, f"it cannot be read: {str(error)[:200]}")
        return
    with file:
        groups = list(_groups(file, "", h5py))
        if not groups:
            yield BadPart(name, "no group of it has `actions`: name the arrays as robomimic, Minari or D4RL do")
        for place, group in groups:
            own = f"{name}/{place}" if place else name
            try:
                arrays = list(_arrays(group, "", h5py))
            except (OSError, RuntimeError, KeyError) as error:
                yield BadPart(own, f"it cannot be read: {str(error)[:200]}")
                continue
            yield from episodes_of(own, arrays, camera, _rate(file, group))


def _groups(group: Any, place: str, h5py: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the groups that have `actions`, with their place in the file."""
    if any(key in group and isinstance(group.get(key), h5py.Dataset) for key in ("actions", "action")):
        yield place, group
        return
    if depth == _MOST_DEPTH:
        return
    for key in sorted(group, key=_by_number)[:_MOST_GROUPS]:
        # a link to another file is not followed: it could name any file of this machine
        if isinstance(group.get(key, getlink=True), h5py.HardLink) and isinstance(group[key], h5py.Group):
            yield from _groups(group[key], f"{place}/{key}".lstrip("/"), h5py, depth + 1)


def _arrays(group: Any, place: str, h5py: Any, depth: int = 0) -> Iterator[tuple[str, Pixels]]:
    for key in sorted(group):
        if not isinstance(group.get(key, getlink=True), h5py.HardLink) or key.startswith("next_"):
            continue
        found = group[key]
        if isinstance(found, h5py.Dataset):
            if found.external is None:
                yield f"{place}/{key}".lstrip("/"), found
        elif depth < _MOST_DEPTH:
            yield from _arrays(found, f"{place}/{key}".lstrip("/"), h5py, depth + 1)


def _rate(file: Any, group: Any) -> float | None:
    """Return the pictures a second that attributes name; robomimic's lie in a JSON text."""
    for place in (group, group.parent, file):
        for key in ("fps", "control_freq"):
            if (rate := clean_number(_plain(place.attrs.get(key)), 1000)) is not None:
                return rate
        try:
            about = parse_json(_plain(place.attrs.get("env_args", "{}")))
        except (ValueError, TypeError):
            continue
        inner = about.get("env_kwargs") if isinstance(about, dict) else None
        if isinstance(inner, dict) and (rate := clean_number(inner.get("control_freq"), 1000)) is not None:
            return rate
    return None


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and getattr(value, "size", 1) == 1 else value


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a key by which `demo_10` comes after `demo_9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name)]
