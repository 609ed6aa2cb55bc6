"""Run stages on a root whose disk is full, or read-only, and print what each said; started by test_disk.py.

unshare --user --map-root-user --mount python -m tests.threats.disk_stages WORLD MOUNTPOINT
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assets.cli.main import is_disk_full, main
from assets.settings import Settings, load_settings, save_config
from pipeline.config import SourceConfig
from pipeline.errors import UserError
from pipeline.inspect.deep import find_faults
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.engines import use_inline_engine
from tests.laws.stages import CONFIG, STAGES

STEPS = ("search", "download", "clips", "duplicates", "label queue", "scores", "decision", "shards", "tokenizer")
SPARE_BYTES = 8192


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def limit(folder: Path, spare: int | None) -> None:
    """Leave so many bytes of room; None: enough."""
    used = shutil.disk_usage(folder).used
    size = 1 << 28 if spare is None else used + spare
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def told(run: object, error: type[BaseException] = Exception) -> str:
    """Return what a call says where it fails as it should; "" where it does not fail."""
    try:
        run()  # type: ignore[operator]
    except UserError as exc:
        return str(exc)
    except error as exc:
        return f"no space: {exc}" if is_disk_full(exc) else f"BUG {type(exc).__name__}: {exc}"
    return ""


def full(world: Path, folder: Path) -> None:
    """Run every stage on a full disk, then again with room."""
    config = dataclasses.replace(CONFIG, source=SourceConfig(spec=f"folder:{world / 'videos'}"))
    for stage in STAGES:
        if stage.name not in STEPS:
            continue
        mount(folder, "size=256m")
        shutil.copytree(world / "before" / stage.name, folder / "root")
        store = Store(folder / "root")
        rows = {path.name: len(store.read(path.name)) for path in (folder / "root" / "tables").glob("*")}
        limit(folder, SPARE_BYTES)
        first = told(lambda stage=stage, store=store: stage.run(store, config))
        limit(folder, None)
        kept = {name: len(store.read(name)) >= count for name, count in rows.items()}
        again = told(lambda stage=stage, store=store: stage.run(store, config))
        faults = [fault.key for fault in find_faults(store, home_of(store))]
        print(json.dumps([stage.name, first, again, faults, all(kept.values())]), flush=True)
        subprocess.run(["umount", "-l", str(folder)], check=True)


def read_only(world: Path, folder: Path) -> None:
    """Run commands on a root that can be read and not written."""
    mount(folder, "size=256m")
    shutil.copytree(world / "finished" / "root", folder / "root")
    store = Store(folder / "root")
    config = dataclasses.replace(CONFIG, source=SourceConfig(spec=f"folder:{world / 'videos'}"))
    save_config(Settings(store, config, home_of(store)))
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    words = ("status", "doctor --deep", "why level-0.mp4", "run", "gc", "label", "doctor --mend")
    for command in (*(text.split() for text in words), ["takedown", "--video", "x", "--reason", "y"]):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = main([*command, "--root", store.root])
        print(json.dumps([" ".join(command), code, printed.getvalue()]), flush=True)
    assert load_settings(store.root)


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        use_inline_engine(patch)
        full(Path(sys.argv[1]), Path(sys.argv[2]))
        read_only(Path(sys.argv[1]), Path(sys.argv[2]))
