"""Write the episodes of a data set as a folder of videos with sidecars of actions, which a run reads as any folder.

    made = convert_episodes(Path("can_ph.hdf5"), Path("episodes"), ConvertSettings(camera="agentview_image"))
    lampworks run --source folder:episodes          # with download.actions: keep and clips.mode: episodes

An episode is `<name>.mp4`, `<name>.actions.parquet` and `<name>.info.json`. It is there when its sidecar is, which is
written last; what is there is left as it is. One that cannot be used is named with its reason, and costs no other.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.actions.columns import BadSidecarError
from pipeline.actions.sidecar import read_sidecar
from pipeline.episodes.episode import BadEpisodeError, BadPart, Episode, Picture
from pipeline.episodes.read import read_episodes
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback

SIDECAR = ".actions.parquet"
_CRF = "12"
_MOST_NAME = 80


@dataclass(frozen=True, kw_only=True)
class ConvertSettings:
    """How episodes are read."""

    fps: float = 0.0
    """Pictures a second, where the data set does not say; 0: it must say."""
    camera: str = ""
    """Name of the pictures that are meant, or a part of it; "": there is but one."""

    def __post_init__(self) -> None:
        """Refuse a rate that no video has."""
        if not 0 <= self.fps <= 1000:
            raise UserError(f"--fps {self.fps:g}: must be above 0, up to 1000")


@dataclass
class Converted:
    """What became of a data set."""

    written: list[str] = field(default_factory=list)
    """Episodes that are new in the folder."""
    there: list[str] = field(default_factory=list)
    """Those that were there already."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Those that cannot be used, each with its reason."""


def convert_episodes(
    source: Path, folder: Path, settings: ConvertSettings, *, on_progress: ProgressCallback | None = None
) -> Converted:
    """Write what a folder lacks of a data set's episodes.

    Args:
        source: as of `read_episodes`.
        folder: gets videos, sidecars and descriptions.
        settings: rate and camera.
        on_progress: receives the lines of progress.

    Raises:
        UserError: the folder cannot be written, the data set cannot be read, or a setting is needed that is not given.
    """
    made = Converted()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            Progress("episodes", total=None, unit="episodes", on_progress=on_progress) as progress,
            closing(read_episodes(source, settings.camera)) as found,
        ):
            for episode in found:
                _convert(episode, folder, settings, made)
                progress.advance()
    except OSError as error:
        raise UserError(
            f"{folder}: {error.strerror or error}. What is written stays; free space or give write access, and run the "
            "same command again."
        ) from error
    return made


def _convert(episode: Episode | BadPart, folder: Path, settings: ConvertSettings, made: Converted) -> None:
    if isinstance(episode, BadPart):
        made.left_out[episode.name] = episode.why
        return
    stem = file_stem(episode.name)
    if (folder / f"{stem}{SIDECAR}").is_file():
        made.there.append(episode.name)
        return
    try:
        _write(episode, folder, stem, settings)
        made.written.append(episode.name)
    except (BadEpisodeError, BadSidecarError) as error:
        made.left_out[episode.name] = str(error)


def file_stem(name: str) -> str:
    """Return the name of an episode's files: its own, or a plain one with a hash that keeps it apart."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name.replace("/", "-")).strip("-")[:_MOST_NAME]
    if plain == name:
        return plain
    return f"{plain or 'episode'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def _write(episode: Episode, folder: Path, stem: str, settings: ConvertSettings) -> None:
    """Write an episode, its sidecar last."""
    fps = episode.fps or settings.fps
    if not fps:
        raise UserError(f"{episode.name}: the data set does not say how many pictures a second it has: give --fps")
    try:
        data = sidecar_bytes(episode.actions())
    except (ValueError, KeyError, pa.ArrowException) as error:
        raise BadEpisodeError(f"its actions cannot be read: {str(error)[:200]}") from error
    rows = len(read_sidecar(SIDECAR, data))
    if rows not in (episode.num_frames, episode.num_frames - 1):
        raise BadEpisodeError(
            f"it has {rows} actions and {episode.num_frames} pictures: there must be one a picture, or one less"
        )
    files = {".mp4": folder / f".tmp-{stem}.mp4", SIDECAR: folder / f".tmp-{stem}{SIDECAR}"}
    try:
        if episode.video is not None:
            shutil.copyfile(episode.video, files[".mp4"])
        elif episode.pictures is not None:
            encode(episode.pictures(), Fraction(fps).limit_denominator(1001), files[".mp4"])
        about = {"title": episode.name, "description": episode.description}
        (folder / f"{stem}.info.json").write_text(json.dumps(about) + "\n", "utf-8")
        files[SIDECAR].write_bytes(data)
        for ending, temporary in files.items():
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(folder / f"{stem}{ending}")
    finally:
        for temporary in files.values():
            temporary.unlink(missing_ok=True)


def sidecar_bytes(actions: Any) -> bytes:
    """Return a sidecar of actions: of an array (N,) or (N, ...), a list of names, or a Parquet that is one already."""
    if isinstance(actions, bytes):
        return actions
    values = np.asarray(actions)
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    elif values.dtype.kind == "O":  # texts of any length, as HDF5 stores them
        values = np.array([each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in values])
    # a step of one number is that number: discrete where it is whole
    flat = values.reshape(len(values), -1) if values.ndim > 1 else values
    flat = flat[:, 0] if flat.ndim == 2 and flat.shape[1] == 1 else flat
    buffer = io.BytesIO()
    pq.write_table(pa.table({"action": pa.array(flat.tolist())}), buffer, compression="zstd")
    return buffer.getvalue()


def encode(pictures: Iterator[Picture], fps: Fraction, path: Path) -> None:
    """Write pictures as H.264; an odd side repeats its last row or column, because the format has even ones."""
    options = {"preset": "veryfast", "crf": _CRF, "x264-params": "cpu-independent=1"}
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
        stream = None
        for index, picture in enumerate(pictures):
            odd = [(0, side % 2) for side in picture.shape[:2]]
            even = np.ascontiguousarray(np.pad(picture, [*odd, (0, 0)], "edge"))
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options=options)
                stream.height, stream.width, stream.pix_fmt, stream.thread_count = *even.shape[:2], "yuv420p", 1
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            frame.pts, frame.time_base = index, 1 / fps
            container.mux(stream.encode(frame))
        if stream is None:
            raise BadEpisodeError("it has no picture")
        container.mux(stream.encode())
