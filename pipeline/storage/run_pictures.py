"""Pictures that trainings draw on their way: which there are, and how they are stored.

    reports/training/<kind>-<run>/step-00001000.png     and .json, which names the clips that it shows

A takedown finds them by the JSON file, as it finds all pictures in `reports`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.storage.store import Store

FOLDER = "reports/training"
_NAME = re.compile(r"step-(\d+)\.(png|jpg)")


@dataclass(frozen=True)
class RunPicture:
    """A picture of a run."""

    key: str
    step: int
    kind: str
    """Of the file: `png` or `jpg`."""
    clip_ids: Sequence[str] | None
    """The clips that it shows; None where that is lost, so that it may show any."""

    @property
    def mime(self) -> str:
        """Return the second part of its media type."""
        return "jpeg" if self.kind == "jpg" else self.kind


def folder_of_pictures(kind: str, run: str) -> str:
    """Return the folder of the pictures of a run of a kind of model."""
    return f"{FOLDER}/{kind}-{run}"


def list_pictures(store: Store, folder: str) -> list[RunPicture]:
    """Return the pictures in a folder, in the order of their steps."""
    found = []
    for key in store.list_blobs(folder):
        if match := _NAME.fullmatch(key.rsplit("/", 1)[-1]):
            found.append(RunPicture(key, int(match[1]), match[2], _clips(store, key)))
    return sorted(found, key=lambda picture: picture.step)


def write_picture(
    store: Store, folder: str, step: int, data: bytes, kind: str, clip_ids: Sequence[str], most: int
) -> str:
    """Write the picture of a step, and return its key; of more than `most`, those of the fewest steps are deleted.

    Pictures of later steps go too: the run has gone on from an earlier one.
    """
    steps = sorted({int(match[1]) for name in _names(store, folder) if (match := re.match(r"step-(\d+)\.", name))})
    earlier = [one for one in steps if one < step]
    _delete(store, folder, {*earlier[: max(0, len(earlier) + 1 - most)], *(one for one in steps if one >= step)})
    key = f"{folder}/step-{step:08d}"
    # the names first: a takedown finds the picture by them
    store.write_blob(f"{key}.json", json.dumps({"step": step, "clips": list(clip_ids)}).encode())
    store.write_blob(f"{key}.{kind}", data)
    return f"{key}.{kind}"


def _delete(store: Store, folder: str, steps: set[int]) -> None:
    gone = {f"step-{step:08d}" for step in steps}
    for name in sorted(_names(store, folder), key=lambda name: name.endswith(".json")):
        if name.partition(".")[0] in gone:
            store.delete(f"{folder}/{name}")


def _names(store: Store, folder: str) -> list[str]:
    return [key.rsplit("/", 1)[-1] for key in store.list_blobs(folder)]


def _clips(store: Store, key: str) -> list[str] | None:
    try:
        clips = json.loads(store.read_blob(f"{key.rpartition('.')[0]}.json"))["clips"]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return [str(clip) for clip in clips] if isinstance(clips, list) else None
