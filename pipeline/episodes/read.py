"""Find the episodes of a data set: `.npz` and HDF5 files in a folder, one such file, or a folder of LeRobot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.episodes.arrays import read_npz
from pipeline.episodes.episode import Read
from pipeline.episodes.hdf5 import read_hdf5
from pipeline.episodes.lerobot import INFO, read_lerobot
from pipeline.errors import UserError

_READERS: dict[str, Callable[[Path, str, str], Read]] = {
    ".npz": read_npz, ".hdf5": read_hdf5, ".h5": read_hdf5, ".hdf": read_hdf5,
}  # fmt: skip


def read_episodes(source: Path, camera: str = "") -> Read:
    """Yield the episodes of a data set, and the parts of it that give none.

    Args:
        source: a folder, or a file.
        camera: which pictures are meant where there are several; "": there is but one.

    Raises:
        UserError: nothing there is a data set that can be read, or it must be said which pictures are meant.
    """
    if (source / INFO).is_file():
        yield from read_lerobot(source, camera)
        return
    files = list(_files(source))
    if not files:
        raise UserError(
            f"{source}: no data set of episodes is there; name a folder with .npz or HDF5 files, such a file, or a "
            f"folder of LeRobot (with {INFO})"
        )
    for path in files:
        name = path.name if path == source else path.relative_to(source).as_posix()
        yield from _READERS[path.suffix.lower()](path, name.rpartition(".")[0], camera)


def _files(source: Path) -> Iterator[Path]:
    """Yield the files that can be read, in the order of their paths; only regular ones, none that is hidden."""
    if source.is_file():
        if source.suffix.lower() in _READERS:
            yield source
        return
    for path in sorted(source.rglob("*")) if source.is_dir() else ():
        hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
        if path.suffix.lower() in _READERS and path.is_file() and not hidden:
            yield path
