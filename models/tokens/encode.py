"""Encode the windows of the training shards with the configured tokenizer, into token shards.

    report = write_tokens(job)

A file that was finished is kept, so a run that was killed goes on from there; one clip is decoded at a time, and the
rows are committed once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from models.registry import load_tokenizer
from models.runtime.compute import choose_compute
from models.tokens.windows import WindowEncoder
from pipeline.clips.stored import decode_stored_clip
from pipeline.config import Config
from pipeline.errors import PermanentError, UserError
from pipeline.job import Job
from pipeline.model_choice import models_in_use
from pipeline.progress import Progress, notify
from pipeline.shards.read import current_shards
from pipeline.shards.sample import read_sample, restore_advice
from pipeline.storage.arrow import total as total_of
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.store import Store
from pipeline.tokens.files import EncodedClip, TokenLayout, finished_file, write_token_file
from pipeline.tokens.packing import MOST_BITS, bits_of, pack
from pipeline.tokens.plan import (
    PlannedFile,
    plan_token_files,
    settings_of,
    token_inputs,
    tokens_version,
)
from pipeline.tokens.starts import window_starts
from pipeline.workers.spread import spread

_NOTICES = 20


@dataclass(frozen=True)
class TokensReport:
    """The published token shards."""

    version: str
    tokenizer: str
    clips: int
    left_out: int
    windows: int
    bytes: int
    written: int
    """Files that this run encoded; the others were there."""


def tokens_are_current(store: Store, config: Config) -> bool:
    """Tell whether the token shards are those of the configured tokenizer, the present shards and settings."""
    tokenizer = models_in_use(store, config).tokenizer
    if tokenizer is None or not len(store.read("tokens", ["path"])):
        return False
    return store.inputs("tokens") == token_inputs(store, tokens_version(config, tokenizer.model_id))


def write_tokens(job: Job) -> TokensReport:
    """Encode what is not encoded yet, and replace the rows of `tokens`.

    Raises:
        UserError: there are no shards or no tokenizer, `tokens.window` is longer than the tokenizer's, its codebook
            does not fit into 16 bits, or more clips than `training.max_bad_share` cannot be encoded.
    """
    store, config = job.store, job.config
    record = _tokenizer(job)
    version = tokens_version(config, record.model_id)
    encoder = WindowEncoder(load_tokenizer(store, record.model_id), choose_compute(config.training))
    while True:
        inputs = token_inputs(store, version)
        layout = _layout(store, config, version, record.model_id, encoder)
        rows, written = _files(job, layout, _Files(store, config, layout, encoder))
        # read again just before publishing: after a takedown that arrived meanwhile, leave its clips out
        if token_inputs(store, version) == inputs:
            break
    store.replace("tokens", rows, inputs=inputs)
    sums = {name: sum(row[name] for row in rows) for name in ("clips", "left_out", "windows", "bytes")}
    return TokensReport(version, record.model_id, **sums, written=written)


def _tokenizer(job: Job) -> ModelRecord:
    if current_shards(job.store) is None:
        raise UserError("there are no training shards yet: materialize `training_shards` first (`lampworks run`).")
    used = models_in_use(job.store, job.config)
    if used.tokenizer is None:
        raise UserError(
            f"{job.store.root} has no video_tokenizer of the present settings: materialize video_tokenizer first "
            "(`lampworks run --select video_tokenizer`)."
        )
    for note in used.notes:
        if note.startswith("video tokenizer"):
            notify(note, job.on_progress)
    return used.tokenizer


def _layout(store: Store, config: Config, version: str, tokenizer: str, encoder: WindowEncoder) -> TokenLayout:
    settings, shards = settings_of(config), current_shards(store)
    assert shards is not None
    if settings.window > encoder.window:
        raise UserError(
            f"tokens.window = {settings.window}: the tokenizer sees {encoder.window} frames at once; set it to that or "
            "less (0 takes tokenizer.window)"
        )
    bits = bits_of(encoder.codes)
    return TokenLayout(
        version=version,
        tokenizer=tokenizer,
        shards_version=shards,
        window=settings.window,
        grid_rows=encoder.grid[0],
        grid_columns=encoder.grid[1],
        bits=MOST_BITS if settings.packing == "uint16" else bits,
        packing=settings.packing,
    )


def _files(job: Job, layout: TokenLayout, files: _Files) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of all files, and how many were not there yet."""
    store, rows, written = job.store, [], 0
    # a published file is named by its clips, so that one of the same name is that of the plan
    published = {row["path"]: row for row in store.read("tokens").to_pylist() if row["version"] == layout.version}
    left_out = _LeftOut(job, total_of(store.read("shards", ["samples"])["samples"]))
    planned = ((file, published.get(file.key)) for file in plan_token_files(store, layout.version))
    with Progress("token_shards", total=left_out.total, unit="clips", on_progress=job.on_progress) as progress:
        made = _spread_files(job, files, planned, left_out)
        for (file, _), (row, is_new, reasons) in made:
            for clip_id, reason in reasons.items():
                left_out.add(clip_id, reason)
            written += is_new
            progress.advance(len(file.clips), note=file.key)
            rows.append(row)
    return rows, written


_Item = tuple[PlannedFile, dict[str, Any] | None]
"""A file of the plan, and the row that it has already."""
_Made = tuple[dict[str, Any], bool, dict[str, str]]
"""The row of a file, whether it was encoded now, and the reasons of clips that were left out and are not noted yet."""


def _spread_files(
    job: Job, files: _Files, planned: Iterator[_Item], left_out: _LeftOut
) -> Iterator[tuple[_Item, _Made]]:
    if job.config.engine.backend == "local":
        # too many clips that cannot be encoded end the run at once, not after their file
        yield from ((item, files.make(item, left_out.add)) for item in planned)
        return
    work = partial(_made_on_a_node, store=job.store, config=job.config, layout=files.layout)
    yield from spread(work, planned, job.config.engine, store=job.store, networks=True)


def _made_on_a_node(item: _Item, store: Store, config: Config, layout: TokenLayout) -> _Made:
    """Make one file on a node of a cluster."""
    tokenizer = load_tokenizer(store, layout.tokenizer)
    reasons: dict[str, str] = {}
    files = _Files(store, config, layout, WindowEncoder(tokenizer, choose_compute(config.training)))
    row, is_new, _ = files.make(item, reasons.__setitem__)
    return row, is_new, reasons


@dataclass(frozen=True)
class _Files:
    """What the files of one set have in common."""

    store: Store
    config: Config
    layout: TokenLayout
    encoder: WindowEncoder

    def make(self, item: _Item, leave_out: Callable[[str, str], None]) -> _Made:
        """Encode a file, unless it is there; `leave_out` is called with each clip that cannot be, and why."""
        planned, row = item
        store, layout = self.store, self.layout
        if row is not None and store.exists(planned.key):
            return row | {"shards_version": layout.shards_version}, False, {}
        row = finished_file(store, layout, planned.split, planned.key)
        if row is not None:
            return row, False, {}
        clips = _encoded(self, planned, leave_out)
        return write_token_file(store, layout, planned.split, planned.key, clips), True, {}


class _LeftOut:
    """The clips that cannot be encoded; too many of them end the run."""

    def __init__(self, job: Job, total: int) -> None:
        self.job, self.total, self.reasons = job, total, dict[str, str]()

    def add(self, clip_id: str, reason: str) -> None:
        """Note a clip; UserError where these are more than `training.max_bad_share`."""
        self.reasons[clip_id] = reason
        if len(self.reasons) <= _NOTICES:
            notify(f"clip {clip_id} gets no tokens: {reason}", self.job.on_progress)
        most = self.job.config.training.max_bad_share
        if len(self.reasons) > most * self.total:
            named = "; ".join(f"{name}: {why}" for name, why in list(self.reasons.items())[:3])
            raise UserError(
                f"{len(self.reasons)} of {self.total} clips cannot be encoded, more than training.max_bad_share = "
                f"{most:g} ({named}). {restore_advice(current_shards(self.job.store))} To encode the others, raise "
                "training.max_bad_share."
            )


def _encoded(files: _Files, planned: PlannedFile, leave_out: Callable[[str, str], None]) -> Iterator[EncodedClip]:
    settings, encoder = settings_of(files.config), files.encoder
    for clip in planned.clips:
        source = {name: clip[name] for name in ("clip_id", "video_id", "clip_sha256", "cut_ms")}
        try:
            mp4 = read_sample(files.store, planned.shard, clip["offset"], clip["size"], clip["clip_sha256"])
            frames_THWC = decode_stored_clip(mp4)
            if frames_THWC.shape[1:3] != encoder.size:
                found, wanted = (f"{width}x{height}" for height, width in (frames_THWC.shape[1:3], encoder.size))
                raise PermanentError(f"its frames are {found}, the tokenizer's {wanted}", error_class="bad_sample")
        except PermanentError as exc:
            leave_out(clip["clip_id"], str(exc))
            yield EncodedClip(source, problem=str(exc))
            continue
        cuts = clip["cut_ms"] if settings.avoid_cuts else ()
        fps = clip["fps"] or files.config.clips.fps
        starts = window_starts(len(frames_THWC), settings.window, settings.stride, cut_ms=cuts, fps=fps)
        if not starts:
            why = f"no window of {settings.window} frames fits into its {len(frames_THWC)} frames between cuts"
            yield EncodedClip(source, len(frames_THWC), problem=why)
            continue
        windows = (frames_THWC[start : start + settings.window] for start in starts)
        data = b"".join(pack(tokens_TP, files.layout.bits) for tokens_TP in encoder.encode(windows))
        yield EncodedClip(source, len(frames_THWC), starts, data)
