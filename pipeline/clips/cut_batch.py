"""Cut a batch of downloaded videos into clips: 16 s of 160 frames each, in one tar per video, measured on the way.

Worker processes decode each video once (`pipeline.clips.cut_video`) and publish its tar before any row names it. Then
come the rows of `clips`, and last the row of `clippings`, which makes them count. Rows are committed every few videos,
so a run that is killed loses little, and the next one goes on with the videos that have no row.

    report = cut_batch(BatchJob(store, config, home, batch="2026w47-0001"))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.clip_spec import clip_spec
from pipeline.clips.actions_left_out import actions_left_out, sentences
from pipeline.clips.cut_video import CutJob, CutVideo, cut_or_blame
from pipeline.clips.cuts import CutDetector
from pipeline.clips.report import ClipReport, clip_report, due_for_cutting
from pipeline.clips.row_writer import RowWriter
from pipeline.download.disk_space import drop_cut_raw, drop_superseded_raw
from pipeline.download.due import CUTTING
from pipeline.download.ledger import State
from pipeline.download.sidecars import kept_sidecars
from pipeline.errors import UserError
from pipeline.job import BatchJob
from pipeline.progress import Progress, notify
from pipeline.storage.home import Home
from pipeline.storage.owner import scratch_folder
from pipeline.workers.engine import make_engine, scratch_of
from pipeline.workers.outcome import ENDED, Outcome


def cut_batch(job: BatchJob, *, retry_failed: bool = False, detect_cuts: CutDetector | None = None) -> ClipReport:
    """Cut every downloaded video of a batch that was not cut yet under the current clip_spec.

    A video that cannot be cut is recorded with its reason. It is tried again when it is downloaded again, or with
    `retry_failed`. Where nothing is due, nothing is written.

    Args:
        job: the batch.
        retry_failed: whether videos that could not be cut are due too.
        detect_cuts: the scene-cut detector that `clips.cut_detector` names, a top-level function; None: `adaptive`.

    Raises:
        UserError: the machine (a full or read-only disk) stopped the work; what was cut before it is committed.
    """
    store, config, batch = job.store, job.config, job.batch
    assert (detect_cuts is None) == (config.clips.cut_detector == "adaptive"), (
        "another detector than the rows will name"
    )
    new = _cut_due(job, retry_failed, detect_cuts)
    for sentence in sentences(actions_left_out(store, clip_spec(config.clips), batch)) if new else ():
        notify(sentence, job.on_progress)
    drop_superseded_raw(store, batch)
    drop_cut_raw(store, config, batch)
    return clip_report(store, config, batch, new=new)


def _cut_due(job: BatchJob, retry_failed: bool, detect_cuts: CutDetector | None) -> int:
    """Cut what is due and return the number of videos whose rows were committed."""
    due = due_for_cutting(job.store, job.config, job.batch, retry_failed=retry_failed)
    if not due:
        return 0
    with _work_folder(job.home) as tmp:
        return _cut_all(job, due, tmp, detect_cuts)


def _cut_all(job: BatchJob, due: list[State], tmp: Path, detect_cuts: CutDetector | None) -> int:
    sidecars = kept_sidecars(job.store, job.batch)
    cuts = [
        CutJob(
            job.store,
            job.config.clips,
            job.batch,
            state.video_id,
            str(state.path),
            str(state.sha256),
            str(scratch_of(job.config.engine, tmp) or ""),
            detect_cuts,
            sidecars.get(str(state.path)),
        )
        for state in due
    ]
    spec = clip_spec(job.config.clips)
    writer = RowWriter(job.store, job.batch, spec, job.config.clips.cut_detector)
    blocked = ""
    try:
        with Progress("clips", total=len(cuts), unit="videos", on_progress=job.on_progress) as progress:
            for cut, outcome in make_engine(job.config.engine, tmp=tmp, store=job.store).run(cut_or_blame, cuts):
                if outcome.ok and isinstance(outcome.value, str):
                    blocked = outcome.value
                    break
                writer.add(outcome.value if outcome.ok else _failure(cut, outcome))
                progress.advance(note=f"{job.batch} {cut.video_id}")
    finally:
        writer.flush()  # also when interrupted: what is cut is kept
        job.store.sweep_unfinished(f"clips/{spec}/{job.batch}")
    if blocked:
        raise UserError(
            f"batch {job.batch}: clips cannot be written ({blocked}) to {job.store.root} or {tmp}. Free space or give "
            "write access, and run again: what was cut is kept."
        )
    return writer.added


@contextmanager
def _work_folder(home: Home) -> Iterator[Path]:
    """Yield a folder for unfinished clips; what killed workers leave in it is removed with it."""
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder(home.tmp, "cut"))
        except OSError as exc:
            raise UserError(
                f"folder {str(home.tmp)!r} for unfinished clips cannot be made: {exc.strerror}. Give this user write "
                "access to it, or choose another --root."
            ) from exc
        yield folder


def _failure(cut: CutJob, outcome: Outcome) -> CutVideo:
    """Return the row of a video that cannot be cut."""
    known = outcome.error_class in ENDED
    message = outcome.message.replace(cut.store.root, "")
    message = message.replace(cut.tmp, "") if cut.tmp else message
    row = {
        "video_id": cut.video_id,
        "batch": cut.batch,
        "clip_spec": clip_spec(cut.config),
        "source_sha256": cut.sha256,
        "state": "failed",
        "error_class": outcome.error_class,
        "message": f"{CUTTING}{message}" if known else message,
        "num_clips": 0,
    }
    return CutVideo(row, [])
