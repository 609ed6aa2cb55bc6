"""Write a packed world: into the store, into a tar, or into a folder on this machine.

    publish_packed(store, config, measured)                    what the asset `playable_world` does
    export_packed(store, config, "world.tar")                  what `lampworks export world.tar` does

The manifest is written last, and a tar or a folder gets its name when it is whole. A takedown that arrives meanwhile is
obeyed: what was written is gathered and written again without the video.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from models.play.packed.contents import Contents, contents_of, packed_from
from models.play.packed.layout import MANIFEST, Manifest
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.model_choice import models_in_use, require_world
from pipeline.model_ids import PLAYABLE, playable_id
from pipeline.storage.models_table import ModelRecord, find_model, replace_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import repeat_after_takedown, taken_down

_FOLDER = f"models/{PLAYABLE}"


def publish_packed(store: Store, config: Config, measured: Mapping[str, Any], model: str | None = None) -> ModelRecord:
    """Pack a world into a folder of the store, and return its row, which is written last.

    Args:
        store: holds the world.
        config: the configured world, with its settings of play.
        measured: what was seen when it was tried, for the row.
        model: id of another world, or the unique start of one.

    Raises:
        UserError: as of `contents_of`.
    """
    world = require_world(store, config, model)
    evaluation = models_in_use(store, config, world.model_id).evaluation
    before = find_model(store, PLAYABLE, playable_id(world.model_id))
    contents = contents_of(store, config, world.model_id)
    folder = f"{_FOLDER}/{contents.packed_id}"
    for name, content in contents.files.items():
        with store.write_file(f"{folder}/{name}") as target, _opened(store, content) as data:
            shutil.copyfileobj(data, target, 1 << 20)
    # a takedown may have arrived while this was written: its tombstone comes first, so it is seen here
    if taken_down(store).hidden_among(store, contents.videos):
        _delete(store, folder)
        return publish_packed(store, config, measured, model)
    store.write_blob(f"{folder}/{MANIFEST}", manifest_bytes(contents))
    record = ModelRecord(
        model_id=playable_id(world.model_id),
        kind=PLAYABLE,
        path=folder,
        config={},
        metrics=dict(measured),
        inputs={"world_model": world.model_id, "packed_from": packed_from(config, world, evaluation)},
        shards_version=world.shards_version,
    )
    replace_model(store, record)
    if before is not None and before.path.startswith(f"{_FOLDER}/") and before.path != folder:
        _delete(store, before.path)
    return record


def export_packed(store: Store, config: Config, path: str | Path, model: str | None = None) -> str:
    """Pack a world into a tar (a name that ends in `.tar`) or into a new folder on this machine; return the world's id.

    Raises:
        UserError: as of `contents_of`; or the tar or the folder cannot be written.
    """
    target = Path(path).absolute()
    temporary = target.parent / f".tmp-{uuid.uuid4().hex}"
    as_tar = target.suffix == ".tar"
    if not as_tar and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{str(target)!r} is there already: name a folder that is not, or a file that ends in .tar")

    def write() -> str:
        contents = contents_of(store, config, model)
        if as_tar:
            _write_tar(store, contents, temporary)
        else:
            shutil.rmtree(temporary, ignore_errors=True)
            _write_folder(store, contents, temporary)
        return contents.world

    try:
        world = repeat_after_takedown(store, write)
        if not as_tar and target.exists():
            target.rmdir()
        temporary.replace(target)
    except OSError as exc:
        raise UserError(f"export to {str(target)!r} failed: {exc.strerror or exc}. Choose another one.") from exc
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        temporary.unlink(missing_ok=True)
    return world


def manifest_bytes(contents: Contents) -> bytes:
    """Return the manifest of a packed world."""
    found = Manifest(contents.world, _own_version(), contents.entries).as_json()
    return json.dumps(found, indent=1, sort_keys=True).encode()


def _own_version() -> str:
    try:
        return version("lampworks")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def _write_tar(store: Store, contents: Contents, path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in contents.files.items():
            with _opened(store, content) as data:
                _add(tar, name, data, contents.entries[name].size)
        manifest = manifest_bytes(contents)
        _add(tar, MANIFEST, io.BytesIO(manifest), len(manifest))


def _add(tar: tarfile.TarFile, name: str, data: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    tar.addfile(member, data)


def _write_folder(store: Store, contents: Contents, folder: Path) -> None:
    for name, content in contents.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file, _opened(store, content) as data:
            shutil.copyfileobj(data, file, 1 << 20)
    (folder / MANIFEST).write_bytes(manifest_bytes(contents))


@contextmanager
def _opened(store: Store, content: bytes | str) -> Iterator[IO[bytes]]:
    if isinstance(content, bytes):
        yield io.BytesIO(content)
    else:
        with store.open_blob(content) as file:
            yield file


def _delete(store: Store, folder: str) -> None:
    for key in store.list_blobs(folder):
        store.delete(key)
