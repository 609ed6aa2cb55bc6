"""Export the labels as a file that can be imported again, here or into another store."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.label_events import load_labels
from pipeline.storage.store import Store

_COLUMNS = (
    "clip_id", "rating", "annotator", "video", "start_s", "stream", "inclusion", "reasons", "seconds", "origin",
    "labelled_at", "repeat",
)  # fmt: skip
_TYPES: dict[str, pa.DataType] = {
    "rating": pa.int64(), "start_s": pa.float64(), "seconds": pa.float64(), "inclusion": pa.float64()
}  # fmt: skip
"""Of a Parquet file; other columns are text."""


def export_labels(store: Store, path: str | Path, config: Config | None = None) -> int:
    """Write one row per clip and annotator, its current rating, as CSV or (by its ending) Parquet.

    A rating of a clip that was shown again is a row of its own, with `repeat` true. Labels whose clip
    does not exist are left out.

    Args:
        store: the store.
        path: the file to write.
        config: resolves videos and seconds to clips of its clip_spec.

    Returns:
        The number of rows.

    Raises:
        UserError: the file cannot be written.
    """
    labels = load_labels(store, config)
    rows = [
        {
            **{name: event[name] for name in _COLUMNS},
            "labelled_at": event["labelled_at"].isoformat(),
            "reasons": " ".join(event["reasons"] or ()) or None,
            "repeat": "true" if repeat else None,
        }
        for repeat, found in ((False, labels.events), (True, labels.repeats))
        for by_annotator in found.values()
        for _, event in sorted(by_annotator.items())
    ]
    target = Path(path)
    temporary = target.with_name(f".{target.name}.part")
    try:
        _write(temporary, rows, parquet=target.suffix == ".parquet")
        temporary.replace(target)
    except OSError as exc:
        raise UserError(f"labels cannot be written to {str(path)!r}: {exc.strerror or exc}") from exc
    return len(rows)


def _write(path: Path, rows: Sequence[Mapping[str, Any]], *, parquet: bool) -> None:
    if parquet:
        schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in _COLUMNS])
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
