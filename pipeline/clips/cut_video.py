"""Cut one video into clips, in a worker process: decode once, encode, measure, write one tar, return rows.

The tar is `clips/<clip_spec>/<batch>/<video_id>-<sha12>.tar` with two members a clip: `<clip_id>.mp4` and
`<clip_id>.frames.jpg` (eight frames side by side). It is written in the home's `tmp`, and published before the rows
that name it are returned.
"""

from __future__ import annotations

import errno
import hashlib
import tempfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.actions.align import ClipFrames, Timeline
from pipeline.clip_spec import MEASUREMENTS_VERSION, clip_spec
from pipeline.clips.actions import publish_actions
from pipeline.clips.cuts import CutDetector, detect_cuts
from pipeline.clips.decode import open_video
from pipeline.clips.encode import encode_clip, encode_frames
from pipeline.clips.features import measure
from pipeline.clips.flags import flags_of
from pipeline.clips.tar import TarWriter
from pipeline.clips.windows import Window
from pipeline.config import ClipConfig
from pipeline.errors import RAW_MISSING, PermanentError
from pipeline.footage.losses import losses_to_text
from pipeline.ids import clip_id_of
from pipeline.storage.store import Store

# errors of the machine, not of the video: nothing is recorded, and the run stops with the reason
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE}


@dataclass(frozen=True)
class CutJob:
    """One video to cut; travels to a worker process."""

    store: Store
    config: ClipConfig
    batch: str
    video_id: str
    path: str
    """Blob key of the download."""
    sha256: str
    tmp: str
    """Folder for the unfinished tar; "" for the temporary folder of the process that cuts."""
    detect_cuts: CutDetector | None = None
    """Finds the scene cuts; None: the adaptive detector. A top-level function, which can travel."""
    actions_sha256: str | None = None
    """Of the sidecar of true actions; None where there was none, or where an older version fetched it."""


@dataclass(frozen=True)
class CutVideo:
    """The rows of one video that was cut; its tar is published."""

    clipping: dict[str, Any]
    clips: list[dict[str, Any]]


def cut_video(job: CutJob) -> CutVideo:
    """Cut one video, publish its tar, return its rows.

    Raises:
        PermanentError: the video cannot be decoded (`decode_error`, `no_video`), is gone (`raw_missing`) or is not
            the file that was fetched (`raw_damaged`).
    """
    with suppress(FileNotFoundError), job.store.local_file(job.path) as source:
        return _cut(job, source)
    raise PermanentError(f"download {job.path} is not in the store", error_class=RAW_MISSING)


def _cut(job: CutJob, source: Path) -> CutVideo:
    spec = clip_spec(job.config)
    # of the copy on this machine: an object store would send all of it again
    with source.open("rb") as raw:
        found = hashlib.file_digest(raw, "sha256").hexdigest()
    if found != job.sha256:
        # a flipped byte of a video decodes as well, into other pictures
        raise PermanentError(
            f"download {job.path} is not the file that was fetched (another SHA-256). To fetch it again, run "
            "`lampworks doctor --deep --mend` and `lampworks run`.",
            error_class="raw_damaged",
        )
    video = open_video(source, job.config, job.detect_cuts or detect_cuts)
    rows: list[dict[str, Any]] = []
    frames: list[ClipFrames] = []
    with tempfile.NamedTemporaryFile(dir=job.tmp or None, prefix="cut-", suffix=".tar") as file:
        tar = TarWriter(file)
        for window in video.windows():
            clip_id = clip_id_of(job.video_id, window.start_ms, spec)
            rows.append(_add_clip(tar, clip_id, window, job))
            times_s = window.start_ms / 1000 + np.arange(len(window.sources)) / job.config.fps
            frames.append(ClipFrames(clip_id, np.array(window.sources, np.int64), times_s))
        tar.close()
        file.flush()
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
        folder = f"clips/{spec}/{job.batch}"
        key = f"{folder}/{job.video_id}-{digest[:12]}.tar"
        if rows and not job.store.exists(key):
            job.store.put_file(key, Path(file.name))
    timeline = Timeline(video.num_pictures, video.source_ms / 1000, sum(loss.ms for loss in video.lost))
    actions = publish_actions(job.store, job.path, folder, job.video_id, timeline, frames, job.actions_sha256)
    shared = {
        "video_id": job.video_id,
        "batch": job.batch,
        "clip_spec": spec,
        "source_sha256": job.sha256,
        "tar": key if rows else None,
        "actions": actions.key,
    }
    for row in rows:
        row.update(shared, display_aspect=video.display_aspect)
    clip_ms, lost_ms = sum(row["end_ms"] - row["start_ms"] for row in rows), sum(loss.ms for loss in video.lost)
    remainder_ms = video.source_ms - clip_ms - lost_ms
    assert remainder_ms >= 0, f"{clip_ms} ms of clips and {lost_ms} ms lost from {video.source_ms} ms"
    clipping = shared | {
        "state": "ok",
        "actions_problem": actions.problem,
        "actions_sha256": actions.sha256,
        "num_clips": len(rows),
        "source_ms": video.source_ms,
        "clip_ms": clip_ms,
        "remainder_ms": remainder_ms,
        "remainder_reason": _remainder_reason(job.config) if remainder_ms else None,
        "lost_ms": lost_ms,
        "lost": losses_to_text(video.lost),
        "packets_ms": video.packets_ms,
        "cut_detector": job.config.cut_detector,
        "measurements_version": MEASUREMENTS_VERSION,
        "tar_bytes": size if rows else 0,
        "tar_sha256": digest if rows else None,
    }
    return CutVideo(clipping, rows)


def _remainder_reason(config: ClipConfig) -> str:
    """Return why seconds are in no clip and yet not lost.

    Less than a clip was left (`rest`), the recording is below the minimum (`short`), or no clip fitted between two cuts
    or after the last one (`shot`).
    """
    if config.mode == "episodes":
        return "short"
    return "shot" if config.start_after_cut else "rest"


def _add_clip(tar: TarWriter, clip_id: str, window: Window, job: CutJob) -> dict[str, Any]:
    config = job.config
    frames = window.frames
    encoded = encode_clip(frames, config)
    strip = encode_frames(frames)
    measured = measure(encoded.luma, encoded.chroma, len(encoded.mp4), config, job.detect_cuts)
    offset = tar.add(f"{clip_id}.mp4", encoded.mp4)
    row = {
        "clip_id": clip_id,
        "start_ms": window.start_ms,
        "end_ms": window.end_ms,
        "offset": offset,
        "size": len(encoded.mp4),
        "sha256": hashlib.sha256(encoded.mp4).hexdigest(),
        "frames_offset": tar.add(f"{clip_id}.frames.jpg", strip),
        "frames_size": len(strip),
        "frames_crc32": zlib.crc32(strip),
        "num_frames": len(frames),
        "width": frames.shape[2],
        "height": frames.shape[1],
        "fps": float(config.fps),
        "transfer": window.look.transfer,
        "changes": list(window.look.changes),
        **vars(measured),
    }
    return row | {"flags": flags_of(row, config)}


def cut_or_blame(job: CutJob) -> CutVideo | str:
    """Cut one video; return the reason as a text where the machine, not the video, is at fault."""
    try:
        return cut_video(job)
    except OSError as exc:
        if exc.errno in _NO_ROOM:
            return exc.strerror or type(exc).__name__
        # the message of an OSError holds paths of this machine, which must not be in rows
        raise PermanentError(exc.strerror or type(exc).__name__, error_class=type(exc).__name__) from exc
