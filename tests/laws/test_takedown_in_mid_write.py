"""A takedown that arrives while a stage is at work is obeyed by what the stage then publishes.

Every stage runs undisturbed (to see when its last piece of work ends), then on the same root with a takedown that
arrives at that moment, and with one that came before it began. Whatever publishes must be one of these stages, or
be excused here with a reason.
"""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.inspect.gc import collect_garbage
from pipeline.job import Job
from pipeline.storage.arrow import pc
from pipeline.storage.home import home_of
from pipeline.storage.run_pictures import FOLDER
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from pipeline.takedown.takedown import take_down
from pipeline.takedown.targets import find_target
from tests.laws.recording import SHOWN_BLOBS, Log, run_recorded
from tests.laws.stages import STAGES, Stage, World, exported

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("assets", "classifier", "models", "pipeline")
# how the store writes, not who asks it to
STORE = set((REPOSITORY / "pipeline" / "storage").glob("*.py")) - {REPOSITORY / "pipeline" / "storage" / "takedown.py"}
# what holds when and under which name something was written, not what
NOT_COMPARED = {
    "created_at", "finished_at", "found_at", "requested_at", "searched_at", "started_at", "labelled_at", "attempt_id",
    "search_id", "takedown_id", "event_id", "elapsed_s", "seen_at", "curated_version",
}  # fmt: skip

ENDS_WITH_ANOTHERS = {"download", "evaluation", "contact sheet", "spot check"}
"""The stages that look at their videos once more at their end; the others begin again or read all rows anew."""

SPEEDS = ("utilisation", "peak_gflops", "followed_share")
"""Of a training: they differ from run to run as times do."""

EXCUSED = {
    ("assets/settings.py", "blob"): "the settings of a root",
    ("pipeline/storage/takedown.py", "takedowns"): "the takedown itself",
    ("pipeline/takedown/takedown.py", "takedowns"): "the takedown itself",
    ("pipeline/takedown/receipt.py", "blob"): "what the takedown did, without a name",
    **dict.fromkeys(
        [
            ("pipeline/takedown/shards.py", "shards"),
            ("pipeline/takedown/shards.py", "blob"),
            ("pipeline/takedown/pictures.py", "models"),
            ("pipeline/takedown/pictures.py", "blob"),
        ],
        "takes a video away; tests/laws/test_takedown_to_the_last_byte.py",
    ),
    **dict.fromkeys(
        [
            ("pipeline/bench/loader.py", "blob"),
            ("pipeline/bench/loader.py", "shards"),
            ("assets/cli/bench_loader.py", "shards"),
            *(("classifier/labels/page_bench.py", name) for name in ("videos", "clips", "clippings", "labels", "blob")),
            *(
                ("classifier/decision/bench_store.py", name)
                for name in ("videos", "clips", "clippings", "models", "blob")
            ),
        ],
        "made-up clips in a store of its own",
    ),
    ("classifier/economy/stored.py", "blob"): "figures of the label economy, without a name",
    ("classifier/training/champion.py", "models"): "says that the published classifier stays, and why",
    ("pipeline/costs/booking.py", "costs"): "what stages have used, without a name",
    ("assets/report/costs.py", "blob"): "what stages have used, without a name",
    ("assets/report/study.py", "blob"): "means and intervals of a study, without a name and without a picture",
    ("pipeline/clips/buckets.py", "blob"): "numbers of clips for the tasks of one run on a cluster, deleted at its end",
    ("pipeline/search/search.py", "breakers"): "sites, not videos",
    ("pipeline/download/row_writer.py", "breakers"): "sites, not videos",
    ("pipeline/download/disk_space.py", "downloads"): "says that a file was deleted",
    (
        "classifier/labels/events.py",
        "labels",
    ): "an event log of what people said; `Pool` and `load_labels` leave it out",
    ("models/training/restarts.py", "blob"): "says why processes of a training were started again, without a name",
    ("pipeline/model_choice.py", "models"): "says by which floor a published tokenizer was judged",
    **dict.fromkeys(
        [("pipeline/inspect/mend.py", table) for table in ("clips", "clippings", "shards", "tokens", "models")],
        "takes rows away, of files that are damaged",
    ),
    ("pipeline/clips/replaced.py", "replaced"): "of the same videos as the clips that are committed after it",
    ("pipeline/inspect/retry.py", "downloads"): "says that a video is due again",
    ("pipeline/inspect/retry.py", "videos"): "says that a page is to be asked for again",
    **dict.fromkeys(
        [("pipeline/inspect/retry.py", table) for table in ("clippings", "embeddings", "scores")],
        "takes rows away, of items that failed",
    ),
    ("pipeline/inspect/mend.py", "downloads"): "says that a damaged file was set aside",
    ("pipeline/inspect/mend.py", "blob"): "the settings of a published model, as its row has them",
    ("pipeline/tokens/removal.py", "tokens"): "takes the tokens of videos that were taken down away",
    **dict.fromkeys(
        [("pipeline/bench/made_up_store.py", name) for name in ("a table", "labels", "models", "shards", "blob")],
        "made-up rows in a root of its own",
    ),
    ("pipeline/bench/start.py", "videos"): "made-up rows in a root of its own",
    ("pipeline/bench/start.py", "downloads"): "made-up rows in a root of its own",
}


def _run(stage: Stage, world: World, root: Path, log: Log, *, first: Callable[[Store], object] | None = None) -> str:
    """Run a stage on a copy of the root; return its error, if a person is told one."""
    world.before(stage.name, root)
    log.arrival = functools.partial(_take_down, Store(root), world.video(stage.takes_down))
    if first is not None:
        first(Store(root))
    try:
        run_recorded(stage.run, root, world.config, log)
    except UserError as error:
        return str(error)
    return ""


def _take_down(store: Store, video_id: str) -> None:
    assert request_takedown(store, "video", video_id, "asked by the owner")


def _published(root: Path) -> dict[str, Any]:
    """Return what readers of a root see: rows of tables, blobs that rows name or that are read by key, the export."""
    store = Store(root)
    found: dict[str, Any] = {}
    for table in sorted(set(SCHEMAS) - {"takedowns"}):
        rows = [
            {name: value for name, value in row.items() if name not in NOT_COMPARED}
            for row in store.read(table).to_pylist()
        ]
        found[table] = sorted(rows, key=str)
    garbage = set(collect_garbage(store, dry_run=True))
    for folder in ("raw", "clips", "shards", "tokens", "models", *(name.rstrip("/") for name in SHOWN_BLOBS)):
        for key in store.list_blobs(folder):
            if key not in garbage and "/checkpoints/" not in key:
                found[key] = store.read_blob(key)
                if key.endswith(".html"):
                    # the commands of a page name its root
                    found[key] = found[key].replace(store.root.encode(), b"ROOT")
    if exported(store).exists():
        found["export"] = pq.read_table(exported(store)).to_pylist()
    return found


def _changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the blobs, and the rows of tables, that are there after and were not before."""
    changed: dict[str, Any] = {}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, list):
            value = [row for row in value if row not in (old or [])]
        if value and value != old:
            changed[name] = value
    return changed


def _mentions(published: dict[str, Any], video_id: str) -> list[str]:
    return [
        name
        for name, value in published.items()
        if video_id in name or video_id.encode() in (value if isinstance(value, bytes) else str(value).encode())
    ]


@pytest.mark.parametrize("stage", [pytest.param(stage, id=stage.name) for stage in STAGES if stage.name != "labels"])
def test_a_takedown_that_arrives_when_the_work_is_done_is_obeyed(stage: Stage, world: World, tmp_path: Path) -> None:
    video_id = world.video(stage.takes_down)
    at_start = _published(world.before(stage.name, tmp_path / "start"))
    log = Log(after=world.logs[stage.name].last_work)
    error = _run(stage, world, tmp_path / "mid" / "root", log)
    assert len(Store(tmp_path / "mid" / "root").read("takedowns")) == 1
    found = _changed(at_start, _published(tmp_path / "mid" / "root"))
    assert _mentions(found, video_id) == []
    if stage.same_as_before:
        take_down = functools.partial(_take_down, video_id=video_id)
        earlier = _run(stage, world, tmp_path / "early" / "root", Log(), first=take_down)
        expected = _changed(at_start, _published(tmp_path / "early" / "root"))
        assert _comparable(found) == _comparable(expected)
        assert error == earlier
    # what others gave is there
    assert error or found


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(stage, id=stage.name, marks=[pytest.mark.slow] * (stage.name == "evaluation"))
        for stage in STAGES
        if stage.name in ENDS_WITH_ANOTHERS
    ],
)
def test_a_takedown_that_ends_while_a_stage_is_at_work_is_obeyed(stage: Stage, world: World, tmp_path: Path) -> None:
    """Its rows of `videos` are gone then: the stage knows the video by its tombstone alone."""
    video_id = world.video(stage.takes_down)
    world.before(stage.name, tmp_path / "root")
    store = Store(tmp_path / "root")
    job = Job(store, world.config, home_of(store))
    log = Log(after=world.logs[stage.name].last_work)
    log.arrival = lambda: take_down(job, find_target(store, video_id), "asked by the owner")
    run_recorded(stage.run, tmp_path / "root", world.config, log)
    assert len(store.read("videos", None, pc.field("video_id") == video_id)) == 0
    assert _mentions(_published(tmp_path / "root"), video_id) == []


def _comparable(published: dict[str, Any]) -> dict[str, Any]:
    """Return what was published without the figures that say how long it took, and without pictures on the way.

    A training that is refused at its end has drawn held-out clips before; `_mentions` has looked into them.
    """
    drawn = f"{FOLDER}/"
    text = {name: value for name, value in published.items() if name != "models" and not name.startswith(drawn)}
    models = []
    for row in published.get("models", []):
        models.append({**row, "figures": _without_times(json.loads(row["figures"]))})
    return {**text, "models": models}


def _without_times(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_times(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _without_times(item) for key, item in value.items() if not key.endswith(("_s", "_seconds", *SPEEDS))}


def test_every_module_that_publishes_is_one_of_the_stages_or_excused(world: World) -> None:
    seen = {
        (event.module, event.name if event.kind == "commit" else "blob")
        for log in world.logs.values()
        for event in log.events
        if event.kind in {"commit", "blob"}
    }
    written = _writes_in_the_code()
    assert written - seen - EXCUSED.keys() == set(), "add a stage to tests/laws/stages.py, or excuse it with a reason"
    assert EXCUSED.keys() - written == set(), "excused, but nowhere in the code"


def _writes_in_the_code() -> set[tuple[str, str]]:
    """Return (file, table) of every call that commits rows, and (file, `blob`) of every call that writes a blob."""
    writers = _functions_of_the_store_that_write()
    return {
        (str(path.relative_to(REPOSITORY)), written)
        for package in PACKAGES
        for path in sorted(set((REPOSITORY / package).rglob("*.py")) - STORE)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and (written := _written(node) or writers.get(ast.unparse(node.func), ""))
    }


def _functions_of_the_store_that_write() -> dict[str, str]:
    """Return the functions beside the store that write to a table for their caller: name -> table."""
    functions = [
        node for path in sorted(STORE) for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]  # fmt: skip
    return {
        function.name: written
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and (written := _written(node))
    }


def _written(call: ast.Call) -> str:
    """Return the table that a call of a method writes, `blob` for a blob, nothing for another call."""
    if not isinstance(call.func, ast.Attribute):
        return ""
    if call.func.attr in {"write_blob", "write_file", "put_file", "take_file"}:
        return "blob"
    if call.func.attr not in {"append", "replace", "replace_from", "merge", "add_to_lists"} or not call.args:
        return ""
    first = call.args[0]
    if isinstance(first, ast.Constant) and first.value in SCHEMAS:
        return str(first.value)
    return "a table" if ast.unparse(call.func.value).endswith("store") else ""
