"""Pack a world into one tar: its weights and those of its tokenizer, their settings, curves and metrics.

    pack_world(store, config, "world.tar")

    world.json                                   rows of the world, its tokenizer and its evaluation
    models/video_tokenizer/<id>/weights.safetensors, config.json, curve.json
    models/world_model/<id>/weights.safetensors, config.json, curve.json

Names are the keys of the blobs in the root. Pictures of the evaluation show frames of real videos and stay out. The
same world gives the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.model_choice import models_in_use, pick_model, require_world
from pipeline.model_ids import TOKENIZER
from pipeline.storage.models_table import ModelRecord, all_models, check_model_file
from pipeline.storage.store import Store

FORMAT = 1
_FILES = ("config.json", "curve.json", "weights.safetensors")


def pack_world(store: Store, config: Config, path: str | Path, model: str | None = None) -> str:
    """Write a world to a tar on this machine, and return its id.

    Args:
        store: holds the world.
        config: the configured world is packed.
        path: the file; it is written under a temporary name and then renamed.
        model: id of another world, or the unique start of one.

    Raises:
        UserError: there is no such world, a file of it is gone or damaged, or the tar cannot be written.
    """
    world = require_world(store, config, model)
    tokenizer = pick_model(all_models(store), str(world.inputs["tokenizer"]), TOKENIZER)
    evaluation = models_in_use(store, config, world.model_id).evaluation
    rows = [_plain(row) for row in (tokenizer, world, evaluation) if row is not None]
    about = json.dumps({"format": FORMAT, "world": world.model_id, "models": rows}, indent=1, sort_keys=True)
    target = Path(path).absolute()
    temporary = target.parent / f".tmp-{uuid.uuid4().hex}"
    try:
        with tarfile.open(temporary, "w") as tar:
            _add(tar, "world.json", io.BytesIO(about.encode()), len(about.encode()))
            for row, name in _named_files(store, tokenizer, world):
                check_model_file(store, row, name)
                key = f"{row.path}/{name}"
                with store.local_file(key) as file, file.open("rb") as data:
                    _add(tar, key, data, file.stat().st_size)
        temporary.replace(target)
    except FileNotFoundError as exc:
        raise UserError(f"world {world.model_id} cannot be packed: {exc} is not there. Restore it.") from exc
    except OSError as exc:
        raise UserError(f"export to {str(target)!r} failed: {exc.strerror or exc}. Choose another file.") from exc
    finally:
        temporary.unlink(missing_ok=True)
    return world.model_id


def _named_files(store: Store, *rows: ModelRecord) -> Iterator[tuple[ModelRecord, str]]:
    for row in rows:
        for name in _FILES:
            # a curve may be missing, weights may not
            if name == "weights.safetensors" or store.exists(f"{row.path}/{name}"):
                yield row, name


def _add(tar: tarfile.TarFile, name: str, data: Any, size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    tar.addfile(member, data)


def _plain(row: ModelRecord) -> dict[str, Any]:
    return {
        "model_id": row.model_id,
        "kind": row.kind,
        "path": row.path,
        "parameters": row.parameters,
        "steps": row.steps,
        "config": row.config,
        "figures": row.metrics,
        "inputs": row.inputs,
        "shards_version": row.shards_version,
        "created_at": row.created_at.isoformat(),
    }
