"""One warm process that imports everything once and forks a child for each attempt: `python -m tests.campaign.warm`.

It reads a request per line (JSON) and answers each with a line. A child makes selected assets of a root with the real
driver, on the root's own Dagster, with real worker processes, and is killed as the request says. Forking is honest here
because the parent never opens a store or a database, computes nothing and has one Python thread: a child finds no lock
that another thread held. What a new interpreter would do beside (its start, its imports) is not repeated.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import models.evaluation.evaluate
import models.play.packed.write
import models.studies.curation
import models.tokens.encode
import models.training.train  # noqa: F401
from assets.passes.driver import PassOptions, full_pass
from assets.settings import Settings, load_settings, save_config
from pipeline.config import SourceConfig
from pipeline.config.load import parse_config
from pipeline.inspect.gc import collect_garbage
from pipeline.inspect.status import status
from pipeline.storage.home import Home
from pipeline.storage.store import Store
from tests.campaign.kills import Kill, Points
from tests.campaign.published import published
from tests.laws.stages import CONFIG, write_videos


def make(request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Make assets of a root, as `lampworks run --select` does; killed where the request says so."""
    kill = Kill(**request["kill"]) if request["kill"] else None
    points = Points(request["root"], kill, lambda asset: tell({"asset": asset, "at": time.monotonic()}))
    points.start()
    labels = Path(request["labels"]) if request.get("labels") else None
    options = PassOptions(
        labels=labels, annotator="ann", ablation_steps=1, ablation_seeds=1, report=request.get("report", False)
    )
    settings = load_settings(request["root"], config=request["config"])
    done = full_pass(settings, request["select"], on_progress=print, options=options)
    return {"runs": done.runs, "points": dict(points.seen), "modules": sorted(sys.modules)}


def look(request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return what readers of a root see, whether its totals balance, and what is left over that nobody names."""
    settings = load_settings(request["root"], config=request["config"])
    store = Store(settings.store.root)
    found: dict[str, Any] = {"conserved": status(store, settings.config).conserved}
    if request.get("whole"):
        found["garbage"] = collect_garbage(store, dry_run=True)
        found["published"] = published(store, found["garbage"])
    return found


def seed(request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Write a folder of videos, and the configuration that reads it."""
    folder = Path(request["folder"])
    write_videos(folder / "videos")
    source = SourceConfig(spec=f"folder:{folder / 'videos'}")
    tokenizer = dataclasses.replace(CONFIG.tokenizer, min_psnr=0.0)
    config = dataclasses.replace(CONFIG, source=source, tokenizer=tokenizer)
    save_config(Settings(Store(folder), config, Home(folder)))
    return {"config": str(folder / "config.yaml")}


def label(request: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Write a file of labels for every clip of a root: 5 for levels, 1 for menus."""
    store = load_settings(request["root"], config=request["config"]).store
    native = {row["video_id"]: row["native_id"] for row in store.read("videos").to_pylist()}
    rows = store.read("clips", ["clip_id", "video_id"]).sort_by("clip_id").to_pylist()
    lines = [f"{row['clip_id']},{5 if native[row['video_id']].startswith('level') else 1}" for row in rows]
    Path(request["file"]).write_text("clip_id,rating\n" + "\n".join(lines) + "\n", "utf-8")
    return {"labels": len(lines)}


WORK = {"seed": seed, "make": make, "look": look, "label": label}


def attempt(request: dict[str, Any]) -> dict[str, Any]:
    """Do a request in a child of its own, and return its answer, or that it was killed."""
    ours, theirs = os.pipe()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        _child(request, theirs)
    os.close(theirs)
    kill_after = (request.get("kill") or {}).get("after_s", -1.0)
    told, killed_at = _listen(ours, pid, request.get("kill") or {}, kill_after)
    _, code, used = os.wait4(pid, 0)
    code = os.waitstatus_to_exitcode(code)
    answer: dict[str, Any] = told[-1] if told and "asset" not in told[-1] else {}
    begun = [one for one in told if "asset" in one]
    return {
        **answer,
        "code": code,
        "killed": code == -signal.SIGKILL,
        "cpu_s": used.ru_utime + used.ru_stime,
        "seconds": time.monotonic() - started,
        "begun": {one["asset"]: one["at"] - started for one in begun},
        "killed_at": killed_at,
    }


def _listen(pipe: int, pid: int, kill: dict[str, Any], after_s: float) -> tuple[list[dict[str, Any]], float]:
    """Return what a child says until it ends; kill it the asked time after it began the asked asset."""
    told: list[dict[str, Any]] = []
    data, deadline, killed_at = b"", 0.0, 0.0
    while True:
        wait = None if not deadline else max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([pipe], [], [], wait)
        if not ready:
            os.kill(pid, signal.SIGKILL)
            killed_at, deadline = time.monotonic(), 0.0
            continue
        piece = os.read(pipe, 1 << 16)
        if not piece:
            os.close(pipe)
            return told, killed_at
        *lines, data = (data + piece).split(b"\n")
        for line in lines:
            told.append(json.loads(line))
            if after_s >= 0 and told[-1].get("asset") == kill["asset"]:
                deadline = time.monotonic() + after_s


def _child(request: dict[str, Any], pipe: int) -> None:
    """Do a request, say how it ended, and end: nothing of the parent's is closed, flushed or run."""
    code = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.set_inheritable(pipe, False)

        def tell(what: dict[str, Any]) -> None:
            os.write(pipe, json.dumps(what).encode() + b"\n")

        answer = WORK[request["do"]](request, tell)
        data = json.dumps(answer).encode() + b"\n"
        while data:
            data = data[os.write(pipe, data) :]
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Answer requests until the input ends."""
    parse_config({})  # what checks a configuration is made once, and not by each child
    assert threading.active_count() == 1
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        answer = attempt(json.loads(line))
        # what a child imported on the way is imported once for all that follow
        for name in answer.pop("modules", []):
            if name not in sys.modules:
                with suppress(ImportError):
                    importlib.import_module(name)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
