"""Answer "am I in it?" for a file: which clips of a store show what it shows, found by picture and motion.

    matches = find_copies_of(store, config, looks_of_file(Path("mine.mp4"), config))

The whole table of clips is read once, a part at a time; only the videos of candidates are read again, to be compared
over time as `pipeline.clips.duplicates` does it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pyarrow as pa
from av.video.reformatter import VideoReformatter

from pipeline.clips.decode import open_video
from pipeline.clips.geometry import Frames
from pipeline.clips.hashes import look_of
from pipeline.clips.load_looks import LOOK_COLUMNS, LoadedLooks, gather_looks
from pipeline.clips.read import scan_clips
from pipeline.clips.samples import NUM_SAMPLES, Planes
from pipeline.config import Config
from pipeline.copies.follow import follow, unique
from pipeline.copies.landmarks import LEAST_LIKENESS, likeness
from pipeline.copies.look import Looks
from pipeline.copies.proof import Pairs, joined, no_pairs, prove
from pipeline.copies.signature import step_ms
from pipeline.copies.timeline import HALF, Ints
from pipeline.storage.arrow import pc
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

_VIDEOS = 200  # candidates' videos compared at a time
_LAST = "~"  # the batch of the file's own clips: after all others, so that a clip of the store represents
_SCHEMA = pa.schema([SCHEMAS["clips"].field(name) for name in LOOK_COLUMNS])


@dataclass(frozen=True)
class FileClip:
    """How one clip of a file looks and moves."""

    start_ms: int
    """Start within the file."""
    hashes: bytes
    signature: bytes


@dataclass(frozen=True)
class Match:
    """A clip of the store that shows what a clip of the file shows."""

    start_ms: int
    """Start of the file's clip."""
    clip_id: str
    """The clip of the store."""
    kind: Literal["copy", "look-alike"]
    """`copy`: its motion proves it. `look-alike`: the pictures are alike, and nothing more is known."""
    mirrored: bool
    """Whether one is the other's mirror image."""
    shift_ms: int
    """How much later the file's clip starts than the store's; 0 for a look-alike."""


def looks_of_file(path: Path, config: Config) -> list[FileClip]:
    """Cut a file into clips in memory and return their looks; a file that is shorter than a clip has none.

    Raises:
        PermanentError: it cannot be decoded.
    """
    looks = []
    for window in open_video(path, config.clips).windows():
        look = look_of(_luma(window.frames), config.clips.fps)
        looks.append(FileClip(window.start_ms, look.hashes, look.signature))
    return looks


def find_copies_of(store: Store, config: Config, looks: Sequence[FileClip]) -> list[Match]:
    """Return the clips of a store that are copies of a file's clips or look like them, by the file's time.

    Clips that were taken down are left out, as everywhere. A clip of the file that has copies names all of them; one
    without names up to three look-alikes.
    """
    if not looks:
        return []
    own = pa.Table.from_pylist(
        [
            {"clip_id": f"{look.start_ms:09d}", "video_id": _LAST, "batch": _LAST, **vars(look)}
            for look in sorted(looks, key=lambda look: look.start_ms)
        ],
        schema=_SCHEMA,
    )
    videos = sorted(_candidates(store, config, own))
    found: list[Match] = []
    for start in range(0, len(videos), _VIDEOS):
        some = pa.array(videos[start : start + _VIDEOS], pa.string())
        parts = list(scan_clips(store, config, LOOK_COLUMNS, pc.field("video_id").isin(some)))
        found += _compared([*parts, own], len(own), config)
    proven = {match.start_ms for match in found if match.kind == "copy"}
    order = sorted(found, key=lambda match: (match.start_ms, match.kind, match.clip_id))
    kept, alike = [], dict.fromkeys([look.start_ms for look in looks], 0)
    for match in order:
        if match.kind == "look-alike":
            alike[match.start_ms] += 1
            if match.start_ms in proven or alike[match.start_ms] > 3:
                continue
        kept.append(match)
    return kept


def _candidates(store: Store, config: Config, own: pa.Table) -> set[str]:
    """Return the videos of which a clip looks like one of the file's, or has a landmark in common with it."""
    videos: set[str] = set()
    for part in scan_clips(store, config, LOOK_COLUMNS):
        for start in range(0, len(part), 1 << 14):
            rows = part.slice(start, 1 << 14)
            with _gathered([rows, own], config) as loaded:
                pairs, alike = _pairs(loaded, len(own), config)
                clips = np.unique(np.concatenate([pairs.first, alike.first]))
                of = loaded.clips["clip_id"].take(pa.array(clips, pa.int64()))
                hit = rows.filter(pc.is_in(rows["clip_id"], value_set=of.combine_chunks()))
                videos.update(str(name) for name in hit["video_id"].to_pylist())
    return videos


def _compared(parts: list[pa.Table], count: int, config: Config) -> Iterator[Match]:
    """Yield the matches of the last `count` clips with the others."""
    with _gathered(parts, config) as loaded:
        line, names = loaded.line, loaded.clips["clip_id"]
        candidates, alike = _pairs(loaded, count, config)
        proofs = [prove(line, candidates, either_way=config.duplicates.mirrored), prove(line, alike, either_way=False)]
        proven, weak = (joined(list(side)) for side in zip(*proofs, strict=True))
        copies = unique(line, joined([proven, follow(line, proven, weak)]))
        for pairs, kind in ((copies, "copy"), (alike, "look-alike")):
            shifts = line.in_ms(pairs.lag)
            for index in range(len(pairs)):
                clip_id = names[int(pairs.first[index])].as_py()
                start_ms, shift_ms = int(line.start_ms[pairs.second[index]]), int(shifts[index])
                yield Match(start_ms, clip_id, kind, bool(pairs.mirrored[index]), shift_ms)  # type: ignore[arg-type]


def _pairs(loaded: LoadedLooks, count: int, config: Config) -> tuple[Pairs, Pairs]:
    """Return the pairs of a clip and one of the last `count`: by landmarks (with their lags), and by look."""
    size = len(loaded.clips)
    rest = size - count
    looks = Looks(loaded.codes, NUM_SAMPLES, config.duplicates.max_distance, config.duplicates.mirrored)
    texture = looks.texture() >= config.duplicates.min_texture
    first, second = (side.ravel() for side in np.meshgrid(np.arange(rest), np.arange(rest, size)))
    near, flipped = looks.alike(first, second)
    near &= texture[first] & texture[second]
    alike = Pairs(first[near], second[near], np.zeros(int(near.sum()), np.int64), flipped[near])
    marks = loaded.marks
    mine, theirs = np.flatnonzero(marks.clip >= rest), np.flatnonzero(marks.clip < rest)
    found = [no_pairs()]
    for mark in mine:
        common = theirs[likeness(marks.code[theirs], marks.code[mark]) >= LEAST_LIKENESS]
        lag = HALF * (marks.step[common].astype(np.int64) - int(marks.step[mark]))
        clip: Ints = np.full(len(common), int(marks.clip[mark]))
        found.append(Pairs(marks.clip[common], clip, lag, np.zeros(len(common), bool)))
    return joined(found), alike


@contextmanager
def _gathered(parts: list[pa.Table], config: Config) -> Iterator[LoadedLooks]:
    with tempfile.TemporaryDirectory(prefix="lampworks-copies-") as folder:
        yield gather_looks(parts, step_ms(config.clips.fps), Path(folder))


def _luma(frames: Frames) -> Planes:
    """Return the luma that the encoder would get of frames (T, H, W, 3): (T, H, W)."""
    reformatter = VideoReformatter()
    luma = np.empty(frames.shape[:3], np.uint8)
    for index, picture in enumerate(frames):
        frame = reformatter.reformat(av.VideoFrame.from_ndarray(picture, format="rgb24"), format="yuv420p", threads=1)
        plane: Any = frame.planes[0]
        luma[index] = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
    return luma
