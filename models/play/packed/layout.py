"""What lies in a packed world: one format, as a folder or as a tar of it.

    manifest.json                                  format, world, and size and SHA-256 of every other file; written last
    world.json                                     rows of the tokenizer, the world and its evaluation
    play.json                                      settings of play, start frames, and whose videos they are from
    sources.json                                   ids of the videos of the training set, by split
    card.json                                      the data card of the training set
    models/video_tokenizer/<id>/weights.safetensors, config.json, curve.json
    models/world_model/<id>/weights.safetensors, config.json, curve.json
    starts/start-00.png ...                        start frames
    clips/start-00.mp4 ...                         the clips that they are from, where `play.pack_clips` allows it

Hints, groups and keys of the actions and the calibration of the doubt are in the evaluation's row. Files of models have
the keys that they have in a root. The same world gives the same bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from pipeline.errors import UserError

FORMAT = 2
KIND = "lampworks world"
MANIFEST, WORLD_FILE, PLAY_FILE = "manifest.json", "world.json", "play.json"
SOURCES_FILE, CARD_FILE = "sources.json", "card.json"
MOST_JSON = 64 << 20
"""Largest JSON file in bytes that is read of a packed world."""
_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_AGAIN = "pack it again: `lampworks export world.tar`"


@dataclass(frozen=True)
class Entry:
    """A file of a packed world, as its manifest names it."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What a packed world is, and which files it has."""

    world: str
    """Id of the world."""
    lampworks: str
    """Version of the lampworks that packed it."""
    files: dict[str, Entry]

    def as_json(self) -> dict[str, Any]:
        """Return it as the file has it."""
        files = {name: {"sha256": entry.sha256, "bytes": entry.size} for name, entry in sorted(self.files.items())}
        return {"kind": KIND, "format": FORMAT, "world": self.world, "lampworks": self.lampworks, "files": files}

    @classmethod
    def from_json(cls, found: Any, where: str) -> Self:
        """Return the manifest that a file holds.

        Args:
            found: the JSON value.
            where: the packed world, for messages.

        Raises:
            UserError: it is no manifest, or one of a newer or an older format.
        """
        if not isinstance(found, dict) or found.get("kind") != KIND:
            raise UserError(f"{where}: its {MANIFEST} is none of a packed world; {_AGAIN}")
        version, number = str(found.get("lampworks"))[:40], found.get("format")
        if not isinstance(number, int) or isinstance(number, bool) or number < FORMAT:
            raise UserError(f"{where}: it has format {str(number)[:20]} of an older lampworks ({version}); {_AGAIN}")
        if number > FORMAT:
            raise UserError(
                f"{where}: it has format {number}, and this lampworks reads format {FORMAT}: play it with lampworks "
                f"{version} or a newer one"
            )
        files = found.get("files")
        if not isinstance(files, dict) or not all(_is_entry(*item) for item in files.items()):
            raise UserError(f"{where}: its {MANIFEST} is damaged; copy the whole folder again, or {_AGAIN}")
        entries = {name: Entry(entry["sha256"], entry["bytes"]) for name, entry in files.items()}
        return cls(str(found.get("world")), version, entries)


def _is_entry(name: str, entry: object) -> bool:
    return (
        _NAME.fullmatch(name) is not None
        and isinstance(entry, dict)
        and isinstance(entry.get("sha256"), str)
        and _DIGEST.fullmatch(entry["sha256"]) is not None
        and isinstance(entry.get("bytes"), int)
        and entry["bytes"] >= 0
    )
