"""Group the copies among all clips: re-encodes, re-uploads, mirrored ones and ones that start at another moment.

A copy shows the same frames in the same order. Clips that look alike, or that share moments which their content marks,
are candidates; a candidate is a copy where everything that moves in it moves alike in the other, over time
(`pipeline.copies.alignment`), or where it lies between two clips that are proven copies of the same video and nothing
contradicts. Clips of equal bytes are copies too. A look-alike that is not proven stays, and its row names the clip
that it looks like (`similar_to`).

The earliest clip (by batch and id) represents all that are copies *of it*: that have at least half of their length in
common with it, and go on like its video. The earliest of the rest represents the next group, and so on.

The groups depend on the set of clips alone: not on the order of batches, and not on the processor. Memory holds some
numbers a clip; signatures and hashes (4 kB a clip) are read from files in the home's `tmp`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.clips.buckets import buckets_of
from pipeline.clips.load_looks import LoadedLooks, load_looks
from pipeline.clips.samples import NUM_SAMPLES
from pipeline.config import Config, DuplicateConfig, fingerprint
from pipeline.copies.find import STEPS, Alike, Found, find_copies, own_buckets
from pipeline.copies.look import Looks
from pipeline.copies.timeline import Ints
from pipeline.errors import UserError
from pipeline.job import Job
from pipeline.progress import Progress
from pipeline.storage.arrow import pc
from pipeline.storage.owner import scratch_folder
from pipeline.storage.rows import rows_table
from pipeline.storage.store import Store

_METHOD = 2  # raise it when a change in pipeline/copies changes groups


@dataclass(frozen=True)
class DuplicateReport:
    """Counts over the table `duplicates`."""

    clips: int
    groups: int
    """Groups of two clips and more."""
    copies: int
    """Clips that another one represents: all verified."""
    mirrored: int
    """Copies that are mirror images."""
    shifted: int
    """Copies that start at another moment than their representative."""
    look_alikes: int
    """Clips that look like an earlier one without being its copy; no rule drops them."""
    largest: int
    """Clips of the largest group."""
    max_distance: int
    """Percent of what moves in a copy that does not agree with its representative: the most of any."""
    written: bool
    """False where the table was up to date already."""


def duplicates_are_current(store: Store, config: Config) -> bool:
    """Tell whether the table was made from the clips, takedowns and settings as they are now."""
    return store.version("duplicates") >= 0 and store.inputs("duplicates") == _inputs(store, config)


def find_duplicates(job: Job) -> DuplicateReport:
    """Group all clips that count under the current clip_spec, and replace the table `duplicates` in one commit.

    Every clip has a row; a clip without copies represents itself. Where nothing changed, nothing is written.

    Raises:
        UserError: there is no room for scratch files.
    """
    store, config = job.store, job.config
    if duplicates_are_current(store, config):
        return report_of(store.read("duplicates"), written=False)
    while True:
        inputs = _inputs(store, config)
        try:
            rows = _grouped(job)
        except OSError as exc:
            if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"near-duplicates need scratch space in {job.home.tmp}, about 4 kB a clip: {exc.strerror}. Free space "
                "there, or name another folder with --home, and run again."
            ) from exc
        # where a takedown or a batch arrived meanwhile, group again: what is published must hold it
        if inputs == _inputs(store, config):
            break
    store.replace("duplicates", rows, inputs=inputs)
    return report_of(rows, written=True)


def _grouped(job: Job) -> pa.Table:
    """Return the rows of all clips; what does not fit into memory is in a scratch folder meanwhile."""
    with (
        scratch_folder(job.home.tmp, "copies") as folder,
        Progress("near_duplicates", total=STEPS, unit="steps", on_progress=job.on_progress) as progress,
    ):
        loaded = load_looks(job.store, job.config, folder)
        advance = partial(progress.advance, note=f"{len(loaded.clips)} clips")
        with buckets_of(job) as buckets:
            found = copies_among(loaded, job.config.duplicates, advance, buckets)
        return rows_table("duplicates", duplicate_rows(loaded, found))


def copies_among(
    loaded: LoadedLooks,
    config: DuplicateConfig,
    on_step: Callable[[], None] = lambda: None,
    buckets: Callable[[Looks, Ints], Iterable[Alike]] = own_buckets,
) -> Found:
    """Find the copies among loaded clips; `on_step` is called `pipeline.copies.find.STEPS` times."""
    looks = Looks(loaded.codes, NUM_SAMPLES, config.max_distance, config.mirrored)
    return find_copies(loaded.line, looks, loaded.marks, loaded.equal, config.min_texture, on_step, buckets)


def _inputs(store: Store, config: Config) -> dict[str, Any]:
    return {
        "method": _METHOD,
        "clip_spec": clip_spec(config.clips),
        "settings": fingerprint(config.duplicates),
        "tables": {name: store.version(name) for name in ("clips", "clippings", "takedowns")},
    }


def duplicate_rows(loaded: LoadedLooks, found: Found) -> pa.Table:
    """Return the rows of `duplicates`, without the columns that repeat a part of `clip_id`."""
    own = np.arange(len(loaded.clips))
    copy, alike = found.representative != own, found.similar_to != own
    sizes = np.bincount(found.representative, minlength=len(own))
    names = loaded.clips["clip_id"]
    return pa.table(
        {
            "clip_id": names,
            "batch": loaded.clips["batch"],
            "representative": names.take(pa.array(found.representative, pa.int64())),
            "is_representative": ~copy,
            "distance": found.disagreement,
            "group_size": sizes[found.representative].astype(np.int64),
            "verified": pa.array(copy, mask=~copy & ~alike),
            "mirrored": pa.array(found.mirrored, mask=~copy),
            "shift_ms": pa.array(loaded.line.in_ms(found.lag), mask=~copy),
            "similar_to": names.take(pa.array(found.similar_to, pa.int64(), mask=~alike)),
        }
    )


def report_of(rows: pa.Table, *, written: bool) -> DuplicateReport:
    """Return the counts over rows of `duplicates`."""
    sizes = rows.filter(rows["is_representative"])["group_size"].to_numpy()
    return DuplicateReport(
        clips=len(rows),
        groups=int((sizes > 1).sum()),
        copies=len(rows) - len(sizes),
        mirrored=_count(rows["mirrored"]),
        shifted=_count(pc.not_equal(rows["shift_ms"], 0)),
        look_alikes=_count(rows["similar_to"].is_valid()),
        largest=int(sizes.max(initial=0)),
        max_distance=int(rows["distance"].to_numpy().max(initial=0)),
        written=written,
    )


def _count(column: pa.ChunkedArray[Any]) -> int:
    return int(pc.sum(pc.fill_null(column, False)).as_py() or 0)
