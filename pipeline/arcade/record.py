"""Recording: play what the catalog lists, encode it, and keep its truth beside it.

    record_arcade(ArcadeConfig(videos=48), Path("lampworks-data/arcade"), workers=2)

A recording is there when its file and its truth are, of the same fingerprint; only what is missing is made, in
worker processes, each file under a temporary name first. The same configuration gives the same bytes.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pipeline.arcade.cabinet import play_cabinet
from pipeline.arcade.catalog import DUPLICATES, GOOD, Recording, catalog, media_path, write_catalog
from pipeline.arcade.encode import encode_recording
from pipeline.arcade.platformer import record_platformer
from pipeline.arcade.platformer_art import Picture
from pipeline.arcade.removal import Removed
from pipeline.arcade.scenes import SCENES, with_sides
from pipeline.arcade.truth import read_truth, truth_of, write_truth
from pipeline.config.engine import EngineConfig
from pipeline.config.source import ArcadeConfig
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback
from pipeline.workers.engine import make_engine

_DEADLINE_S = 3600.0
_CABINETS = {
    "bundled_platformer": "platformer",
    "bundled_jump_game": "jump_game",
    "shooter": "shooter",
    "shooter_speedrun": "shooter",
    "keyword_in_tags": "snake",
}


def record_arcade(
    config: ArcadeConfig, folder: Path, *, workers: int | None = None, on_progress: ProgressCallback | None = None
) -> list[Recording]:
    """Record what a folder lacks of a configuration's catalog, and return the catalog, without what was taken down.

    Args:
        config: what to record.
        folder: gets `catalog.json`, `media/` and `truth/`; a complete one is left as it is.
        workers: processes; one per core where None.
        on_progress: receives the lines of progress.

    Raises:
        UserError: the folder cannot be written, or a game cannot be played, naming which and why.
    """
    removed = Removed(folder)
    recordings = [recording for recording in catalog(config) if recording.native_id not in removed]
    missing = [recording for recording in recordings if not is_recorded(folder, recording)]
    if missing:
        _make_folders(folder)
        # the longest first: none is left to one worker at the end
        missing.sort(key=lambda recording: -recording.num_frames * recording.width)
        engine = make_engine(EngineConfig(), workers=workers, deadline_s=_DEADLINE_S)
        with Progress("recording games", total=len(missing), unit="videos", on_progress=on_progress) as progress:
            for recording, outcome in engine.run(partial(record_one, folder), missing):
                if not outcome.ok:
                    raise UserError(
                        f"recording {recording.native_id} ({recording.kind}) failed: {outcome.error_class}: "
                        f"{outcome.message}. `lampworks doctor` tells what is missing; free space and try again."
                    )
                progress.advance(note=recording.kind)
    write_catalog(folder, recordings)
    return recordings


def is_recorded(folder: Path, recording: Recording) -> bool:
    """Tell whether a recording's file and truth are there and belong to it."""
    if not media_path(folder, recording).is_file():
        return False
    truth = read_truth(folder, recording.native_id)
    return truth is not None and truth.fingerprint == recording.fingerprint


def record_one(folder: Path, recording: Recording) -> None:
    """Play and encode one recording; its truth comes last and says that the file is whole."""
    path = media_path(folder, recording)
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        encode_recording(play(recording), recording, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    write_truth(folder, truth_of(recording))


def play(recording: Recording) -> Iterator[Picture]:
    """Yield a recording's frames as played: uint8 RGB, of the game's own size, at the recording's nominal rate."""
    seed, count, fps = recording.seed, recording.num_frames, recording.fps
    kind = recording.kind
    if kind in (GOOD, *DUPLICATES):
        seen = itertools.islice(record_platformer(seed, count * 10 // fps + 1, fps=fps), count)
        return (frame[:, ::-1] for frame in seen) if kind == "mirrored" else seen
    if kind in _CABINETS:
        frames = play_cabinet(_CABINETS[kind], seed, count)
        if kind == "bundled_platformer":
            return (frame[32:] for frame in frames)  # 4:3, the floor kept
        if kind == "bundled_jump_game":
            return frames
        return (with_sides(frame, recording.width, recording.height) for frame in frames)
    return SCENES[kind](seed, count, fps)


def _make_folders(folder: Path) -> None:
    try:
        (folder / "media").mkdir(parents=True, exist_ok=True)
        (folder / "truth").mkdir(exist_ok=True)
    except OSError as exc:
        raise UserError(f"arcade folder {str(folder)!r} cannot be made: {exc}. Choose another with --root.") from exc
