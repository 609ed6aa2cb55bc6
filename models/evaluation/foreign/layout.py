"""What a folder of rollouts holds: which videos belong together, which source each has, and what is missing.

    DIR/true/NAME.mp4           or NAME/ with PNG frames; without the prompt: frame 1 is the first predicted one
    DIR/generated/NAME.mp4
    DIR/reconstructed/NAME.mp4  optional: the tokenizer's reconstructions of the true frames
    DIR/permuted/NAME.mp4       optional: from the same start under the same actions in another order
    DIR/actions/NAME.jsonl      optional: the true actions, one row a frame
    DIR/permuted_actions/NAME.jsonl  optional: those of the rollouts under permuted actions
    DIR/sources.jsonl           optional: {"name": NAME, "source": SOURCE}, one a line

Without sources.jsonl a name's part before the first "__" is its source, or the whole name where it has none.
A file of another ending and a folder of another name are left out by name; what begins with a dot is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.evaluation.foreign.read_video import VIDEO_ENDINGS
from pipeline.errors import UserError
from pipeline.outside import parse_json
from pipeline.regular_file import read_regular

TRUE, GENERATED, RECONSTRUCTED, PERMUTED, ACTIONS = "true", "generated", "reconstructed", "permuted", "actions"
PERMUTED_ACTIONS = "permuted_actions"
_SIDECARS = (ACTIONS, PERMUTED_ACTIONS)
_OPTIONAL = (RECONSTRUCTED, PERMUTED, *_SIDECARS)
MORE = "add clips of other sources (names SOURCE__CLIP, or sources.jsonl)"
"""How there can be more sources."""
_SOURCES = "sources.jsonl"
_LARGEST = 16 << 20


@dataclass(frozen=True)
class LeftOut:
    """An item that enters no figure, or not all of them."""

    item: str
    reason: str


@dataclass(frozen=True)
class Item:
    """The files of one name."""

    name: str
    source: str
    files: Mapping[str, Path]
    """By folder: `true`, `generated`, and the optional ones that have it."""


@dataclass(frozen=True)
class Layout:
    """The items of a folder in the order of their names."""

    items: list[Item]
    left_out: list[LeftOut]


def read_layout(folder: Path) -> Layout:
    """Return the items of a folder of rollouts.

    Raises:
        UserError: it is no folder, has not both `true` and `generated`, or sources.jsonl is wrong.
    """
    left_out: list[LeftOut] = []
    found = {name: _files(folder / name, left_out) for name in (TRUE, GENERATED, *_OPTIONAL)}
    missing = [name for name in (TRUE, GENERATED) if not (folder / name).is_dir()]
    if missing:
        raise UserError(
            f"{folder} has no folder {' and no folder '.join(map(repr, missing))}: put true videos into "
            f"{folder / TRUE} and the rollouts of the same names into {folder / GENERATED} (docs/evaluation.md)"
        )
    sources = _read_sources(folder / _SOURCES)
    left_out += _other_folders(folder)
    items = []
    for name in sorted({name for files in found.values() for name in files}):
        own = {kind: files[name] for kind, files in found.items() if name in files}
        absent = [kind for kind in (TRUE, GENERATED) if kind not in own]
        doubled = [kind for kind, files in own.items() if len(files) > 1]
        if doubled:
            names = " and ".join(path.name for path in own[doubled[0]])
            left_out.append(LeftOut(name, f"{doubled[0]}/ has {names}: leave one of them"))
        elif absent:
            left_out.append(LeftOut(name, f"it is in {' and '.join(own)}, but not in {' and '.join(absent)}"))
        elif sources is not None and name not in sources:
            left_out.append(LeftOut(name, f"{_SOURCES} does not name it"))
        else:
            source = sources[name] if sources is not None else name.split("__", 1)[0]
            items.append(Item(name, source, {kind: files[0] for kind, files in own.items()}))
    left_out += [
        LeftOut(name, f"{_SOURCES} names it, and there is no such video")
        for name in sorted(set(sources or {}) - {name for files in found.values() for name in files})
    ]
    return Layout(items, left_out)


def _files(folder: Path, left_out: list[LeftOut]) -> dict[str, list[Path]]:
    """Return the videos, or the sidecars of actions, of a folder by their names without the ending.

    Files of other endings join `left_out`.
    """
    found: dict[str, list[Path]] = {}
    if not folder.is_dir():
        return found
    endings = (".jsonl",) if folder.name in _SIDECARS else VIDEO_ENDINGS
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            found.setdefault(path.name, []).append(path)
        elif path.suffix.lower() in endings:
            found.setdefault(path.stem, []).append(path)
        else:
            reason = f"files of the ending {path.suffix!r} are not read here: give {', '.join(endings)}"
            left_out.append(LeftOut(f"{folder.name}/{path.name}", reason))
    return found


def _other_folders(folder: Path) -> list[LeftOut]:
    known = (TRUE, GENERATED, *_OPTIONAL)
    others = (each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    reason = f"no folder of this name is read: the names are {', '.join(known)}"
    return [LeftOut(f"{name}/", reason) for name in sorted(set(others) - set(known))]


def _read_sources(path: Path) -> dict[str, str] | None:
    """Return the source of each name; None without the file."""
    try:
        text = read_regular(path, _LARGEST).decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise UserError(f"{path} cannot be read ({getattr(exc, 'strerror', None) or exc})") from exc
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except (ValueError, json.JSONDecodeError) as exc:
            raise UserError(f"{path}, line {number}: it is no JSON") from exc
        name, source = (row.get("name"), row.get("source")) if isinstance(row, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(source, str) or not name or not source:
            raise UserError(f'{path}, line {number}: write {{"name": NAME, "source": SOURCE}}, both texts')
        if found.get(name, source) != source:
            raise UserError(f"{path}, line {number}: {name!r} has another source above")
        found[name] = source
    return found
