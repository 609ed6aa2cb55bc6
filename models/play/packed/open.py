"""Make a world of a packed one: networks, hints, start frames, settings, and the clips that came along.

    opened = open_world("world.tar")
    opened.world.num_actions

Shapes: T frames, H W C pixels.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.evaluation.round_trips import ROUND_TRIPS, RoundTrips
from models.play.key_hints import WorldHints, hints_from
from models.play.packed.layout import CARD_FILE, PLAY_FILE, WORLD_FILE
from models.play.packed.read import Packed, open_packed
from models.play.starts.held_out import StartFrame
from models.runtime.compute import choose_compute
from models.world.load import world_of
from models.world.world import WorldModel
from pipeline.clips.stored import decode_stored_clip
from pipeline.config import Config, parse_config
from pipeline.errors import PermanentError, UserError
from pipeline.model_ids import EVALUATION, TOKENIZER, WORLD
from pipeline.outside import shown_text
from pipeline.storage.models_table import ModelRecord

_MOST_NAMES = 3


@dataclass(frozen=True, eq=False)
class OpenedWorld:
    """A packed world that can be played."""

    world: WorldModel
    config: Config
    """Its settings of play; all others are the defaults."""
    starts: list[StartFrame]
    metrics: Mapping[str, Any] | None
    """Of its evaluation; None where it has none."""
    notes: list[str]
    """Sentences on what it was trained on."""
    packed: Packed
    clips: Mapping[str, str]
    """Clip id -> the name of its file, of those that came along."""

    @property
    def hints(self) -> WorldHints:
        """What is known of its keys."""
        return hints_from(self.metrics)

    def true_clip(self, clip_id: str) -> np.ndarray:
        """Return the frames (T, H, W, 3), uint8, of a clip that a start frame is from.

        Raises:
            UserError: the clip did not come along, or it is damaged.
        """
        name = self.clips.get(clip_id)
        if name is None:
            raise UserError(
                f"clip {clip_id} did not come along with this world, so there is nothing to compare with: "
                "`play.pack_clips = true` packs it"
            )
        try:
            return decode_stored_clip(self.packed.read(name))
        except PermanentError as exc:
            raise UserError(f"clip {clip_id} cannot be compared with: {exc}") from exc


def open_world(path: str | Path) -> OpenedWorld:
    """Return a packed world, its files checked and its networks loaded.

    Args:
        path: its folder, or a tar of it.

    Raises:
        UserError: it is no packed world, is damaged, or is of another version.
    """
    packed = open_packed(path)
    rows = {row.kind: row for row in _rows(packed)}
    for kind in (TOKENIZER, WORLD):
        if kind not in rows:
            raise UserError(f"{packed.where}: its {WORLD_FILE} has no {kind.replace('_', ' ')}")
    play = packed.read_object(PLAY_FILE)
    config = parse_config(_checked(play, "settings", dict, packed), f"{packed.where}, {PLAY_FILE}")
    world = world_of(
        rows[WORLD],
        rows[TOKENIZER],
        lambda row, name: packed.read(f"{row.path}/{name}"),
        choose_compute(config.training),
    )
    size = (world.tokenizer.width, world.tokenizer.height)
    described = [_start(found, packed) for found in _checked(play, "starts", list, packed)]
    starts = [
        StartFrame(_frame(packed, start["file"], size), start["clip_id"], start.get("frame")) for start in described
    ]
    clips = {start["clip_id"]: start["clip"] for start in described if start.get("clip")}
    evaluation = rows.get(EVALUATION)
    metrics = None if evaluation is None else evaluation.metrics
    _check_metrics(metrics, packed)
    return OpenedWorld(world, config, starts, metrics, list(_notes(packed, rows[WORLD])), packed, clips)


def _rows(packed: Packed) -> list[ModelRecord]:
    found = _checked(packed.read_object(WORLD_FILE), "models", list, packed)
    try:
        return [
            ModelRecord(
                model_id=str(row["model_id"]),
                kind=str(row["kind"]),
                path=str(row["path"]),
                config=dict(row["config"]),
                metrics=dict(row["figures"]),
                inputs=dict(row["inputs"]),
                parameters=row["parameters"],
                steps=row["steps"],
                shards_version=row["shards_version"],
                created_at=datetime.fromisoformat(row["created_at"]).astimezone(UTC),
            )
            for row in found
        ]
    except (KeyError, TypeError, ValueError) as exc:
        raise UserError(f"{packed.where}: a row of its {WORLD_FILE} is not one of a model ({exc!r})") from exc


def _start(found: Any, packed: Packed) -> dict[str, Any]:
    sound = (
        isinstance(found, dict)
        and all(isinstance(found.get(name), str) for name in ("file", "clip_id"))
        and isinstance(found.get("frame"), int | None)
        and isinstance(found.get("clip"), str | None)
    )
    if not sound:
        raise UserError(f"{packed.where}: {PLAY_FILE} has a start frame that is none")
    return dict(found)


def _frame(packed: Packed, name: str, size: tuple[int, int]) -> np.ndarray:
    """Return a start frame; UserError where it is no PNG of the world's size."""
    try:
        with Image.open(io.BytesIO(packed.read(name)), formats=("PNG",)) as picture:
            # before anything is decoded
            if picture.size == size:
                return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as exc:
        raise UserError(f"{packed.where}: {name} is no picture ({exc})") from exc
    raise UserError(
        f"{packed.where}: {name} is {picture.size[0]}x{picture.size[1]}, and this world plays {size[0]}x{size[1]}"
    )


def _checked(found: dict[str, Any], name: str, kind: type, packed: Packed) -> Any:
    value = found.get(name)
    if not isinstance(value, kind):
        raise UserError(f"{packed.where}: a JSON file of it has no {name}")
    return value


def _check_metrics(metrics: Mapping[str, Any] | None, packed: Packed) -> None:
    """Raise a UserError unless the page can say what an evaluation measured."""
    try:
        hints_from(metrics)
        if metrics is not None and ROUND_TRIPS in metrics:
            RoundTrips.from_json(metrics[ROUND_TRIPS])
    except (LookupError, TypeError, ValueError, AttributeError) as exc:
        raise UserError(f"{packed.where}: the figures of its evaluation are damaged ({exc!r})") from exc


def _notes(packed: Packed, world: ModelRecord) -> list[str]:
    """Return what the world was trained on, in the words of the data card."""
    notes = [f"world {world.model_id}, packed by lampworks {shown_text(packed.manifest.lampworks)}"]
    if CARD_FILE not in packed.manifest.files:
        return notes
    card = packed.read_object(CARD_FILE)
    try:
        train = card["splits"]["train"]
        named = [f"{shown_text(entry['name'])} ({entry['clips']} clips)" for entry in card["licences"][:_MOST_NAMES]]
        more = len(card["licences"]) - len(named)
        notes.append(
            f"trained on {train['clips']} clips ({train['hours']:g} hours) of {train['videos']} videos; licences, as "
            f"the sources say: {', '.join(named)}{f' and {more} more' if more > 0 else ''} ({CARD_FILE})"
        )
    except (KeyError, TypeError) as exc:
        raise UserError(f"{packed.where}: its {CARD_FILE} is no data card ({exc!r})") from exc
    return notes
