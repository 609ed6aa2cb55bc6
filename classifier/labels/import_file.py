"""Import a file of labels into the store, all of its ratings or none.

A file is imported once: the id of each event is a hash of the annotator, the file's content and the line, so that
importing it again adds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from classifier.labels.events import append_new_events
from classifier.labels.label_file import LabelFile, LabelRow, read_label_file
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.ids import short_hash
from pipeline.label_events import Place, existing_clips, find_clips, find_places
from pipeline.label_pictures import latest_label_moment
from pipeline.storage.moments import moment_after
from pipeline.storage.store import Store
from pipeline.video_names import find_videos


@dataclass(frozen=True)
class ImportReport:
    """What an import did."""

    rows: int
    """Ratings in the file."""
    added: int
    """Events that are new to the store (0 when the file was imported before)."""
    resolved: int
    """Rows whose clip exists."""
    unresolved: int
    """Rows that are stored although their clip does not exist (yet)."""
    by_rating: Mapping[int, int]
    """Rows per rating."""
    examples: tuple[str, ...] = ()
    """The first three unresolved rows, for a person to read."""
    ignored_columns: tuple[str, ...] = ()
    """Columns of the file that mean nothing here."""
    skipped: int = 0
    """Rows of a Label Studio export that hold no rating, because the task was skipped."""
    whole_videos: int = 0
    """Rows without a second: each rates every clip of its video."""
    changed: tuple[str, ...] = ()
    """Rows that give a clip another rating than an earlier row of the same annotator, for a person to read."""

    def notes(self) -> list[str]:
        """Return a line for each thing about the file that a person should know."""
        found = []
        if self.ignored_columns:
            shown = ", ".join(name[:40] for name in self.ignored_columns[:20])
            found.append(f"ignored columns: {shown}")
        if self.whole_videos:
            found.append(f"{self.whole_videos} rows without start_s: each rates every clip of its video")
        if self.skipped:
            found.append(f"{self.skipped} skipped tasks hold no rating")
        if self.changed:
            found.append(
                f"{len(self.changed)} rows rate a clip again with another rating, and the last one of a clip counts: "
                f"{'; '.join(self.changed[:3])}"
            )
        if self.unresolved:
            found.append(f"{self.unresolved} rows name no clip of this store (yet): {'; '.join(self.examples)}")
        return found


def import_labels(store: Store, path: str | Path, annotator: str, config: Config | None = None) -> ImportReport:
    """Append the ratings of a CSV, JSON or Parquet file to the store's labels.

    Args:
        store: the store.
        path: the file.
        annotator: who rated; a column `annotator` wins where it is filled.
        config: resolves videos and seconds to clips of its clip_spec.

    Raises:
        UserError: naming the file, the line and the fix, where the file cannot be read, has a wrong header, a bad
            row or rating, names a video by a name that several have, or none of its rows has a clip.
    """
    if not annotator.strip():
        raise UserError("the annotator's name is empty: say who rated, as --annotator NAME")
    file = read_label_file(path)
    _refuse_ambiguous(store, file)
    events = _events(store, file, annotator, config)
    unresolved = [row for row, event in zip(file.rows, events, strict=True) if not event["resolved"]]
    examples = tuple(str(row) for row in unresolved[:3])
    if len(unresolved) == len(file.rows):
        raise UserError(
            f"label file {file.name!r}: none of its {len(file.rows)} rows names a clip of this store, so nothing was "
            f"imported (first: {'; '.join(examples)}). Check the names (`lampworks export FILE.parquet` lists the "
            "clips), the --root, and that the clips are cut"
        )
    return ImportReport(
        rows=len(file.rows),
        added=append_new_events(store, events),
        resolved=len(file.rows) - len(unresolved),
        unresolved=len(unresolved),
        by_rating=dict(sorted(Counter(row.rating for row in file.rows).items())),
        examples=examples,
        ignored_columns=file.ignored,
        skipped=file.skipped,
        changed=tuple(_changed(file, events)),
        whole_videos=sum(row.clip_id is None and row.start_s is None for row in file.rows),
    )


def _events(store: Store, file: LabelFile, annotator: str, config: Config | None) -> list[dict[str, Any]]:
    """Return one row of `labels` for every row of the file, in its order."""
    places = find_places(store, {place for row in file.rows if (place := _place(row)) is not None}, config)
    there = existing_clips(store, {row.clip_id for row in file.rows if row.clip_id}, config)
    whole = find_clips(
        store, {row.video for row in file.rows if row.video and row.clip_id is None and row.start_s is None}, config
    )
    # after every event that is there, also where the clock was set back: of several ratings the last one counts
    now = moment_after(latest_label_moment(store))
    return [
        _event(row, file, row.annotator or annotator, _clip_of(row, places, there, whole))
        # microseconds keep the order of lines: of several ratings of a clip in a file the last one counts
        | {"labelled_at": now + timedelta(microseconds=number)}
        for number, row in enumerate(file.rows)
    ]


def _changed(file: LabelFile, events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a text for each row that contradicts an earlier one."""
    before: dict[tuple[str, str], LabelRow] = {}
    for row, event in zip(file.rows, events, strict=True):
        if row.repeat:
            continue  # it changes no rating
        place = (event["annotator"], event["clip_id"] or f"{row.video} {row.start_s}")
        first = before.get(place, row)
        if first.rating != row.rating:
            yield f"{row}, rated {row.rating} after {first.rating} in line {first.line}"
        before[place] = row


def _place(row: LabelRow) -> Place | None:
    return None if row.clip_id or row.video is None or row.start_s is None else (row.video, row.start_s)


def _clip_of(
    row: LabelRow, places: Mapping[Place, str], there: Collection[str], whole: Collection[str]
) -> tuple[str | None, bool]:
    """Return the row's clip id, None for one of a whole video, and whether there is a clip that it rates."""
    if row.clip_id:
        return row.clip_id, row.clip_id in there
    if row.start_s is None:
        return None, row.video in whole
    place = _place(row)
    clip_id = None if place is None else places.get(place)
    return clip_id, clip_id is not None


def _event(row: LabelRow, file: LabelFile, annotator: str, clip: tuple[str | None, bool]) -> dict[str, Any]:
    clip_id, resolved = clip
    return {
        "event_id": short_hash(f"import\n{annotator}\n{file.sha256}\n{row.line}", 32), "clip_id": clip_id,
        "video": row.video, "start_s": row.start_s, "rating": row.rating, "kind": "rate", "annotator": annotator,
        "stream": row.stream or "import", "seconds": row.seconds, "resolved": resolved, "origin": file.name,
        "inclusion": row.inclusion, "reasons": list(row.reasons) or None, "repeat": row.repeat,
    }  # fmt: skip


def _refuse_ambiguous(store: Store, file: LabelFile) -> None:
    lines = {row.video: row.line for row in reversed(file.rows) if row.video and not row.clip_id}
    for name, ids in sorted(find_videos(store, lines).items()):
        if len(ids) > 1:
            raise UserError(
                f"label file {file.name!r}, line {lines[name]}: {name!r} is the name of {len(ids)} videos "
                f"({', '.join(sorted(ids)[:3])}); write the video's id or its path in the folder instead"
            )
