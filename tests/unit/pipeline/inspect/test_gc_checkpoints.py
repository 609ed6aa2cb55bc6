"""Checkpoints are freed by run: abandoned and finished ones; never published weights, never a run in progress."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assets.cli.main import main
from assets.passes.lock import lock_home
from pipeline.inspect.gc_checkpoints import FRESH, collect_checkpoints
from pipeline.model_ids import TOKENIZER, WORLD
from pipeline.storage.home import home_of
from pipeline.storage.models_table import ModelRecord, append_model
from pipeline.storage.run_file import RunFile, write_run
from pipeline.storage.store import Store
from tests.snapshots import digests

LATER = datetime.now(UTC) + FRESH + timedelta(days=1)


def folder(kind: str, run: str) -> str:
    return f"models/{kind}/runs/{run}/checkpoints"


def add_run(store: Store, kind: str, run: str, *steps: int, psnr: float | None = None) -> None:
    """Add a run with checkpoints; with a PSNR it has published a model after the last step."""
    about = RunFile(run_id=run, kind=kind, settings="", config={}, steps=100, inputs={})
    write_run(store, folder(kind, run), about)
    for step in steps:
        for end in ("json", "safetensors"):
            store.write_blob(f"{folder(kind, run)}/step-{step:08d}.{end}", b"x" * 1000)
    if psnr is not None:
        path = f"models/{kind}/model-{run}"
        store.write_blob(f"{path}/weights.safetensors", b"weights")
        append_model(
            store,
            ModelRecord(
                model_id=f"model-{run}", kind=kind, path=path, config={}, metrics={"psnr": psnr}, steps=steps[-1],
                inputs={"run": run},
            ),
        )  # fmt: skip


@pytest.fixture
def runs(store: Store) -> Store:
    add_run(store, TOKENIZER, "abandoned", 10, 20)
    add_run(store, TOKENIZER, "better", 40, psnr=30.0)
    add_run(store, TOKENIZER, "worse", 40, psnr=20.0)
    add_run(store, WORLD, "w1", 70, psnr=1.0)
    add_run(store, WORLD, "w2", 70, psnr=1.0)
    return store


def evaluate(store: Store, run: str, value: float) -> None:
    metrics = {"delta_t_psnr_permuted": {"value": value, "low": 0, "high": 9}}
    append_model(
        store,
        ModelRecord(
            model_id=f"ev-{run}", kind="world_evaluation", path="x", config={}, metrics=metrics,
            inputs={"world_model": f"model-{run}"},
        ),
    )  # fmt: skip


def left(store: Store) -> list[str]:
    keys = [key for key in store.list_blobs("models") if key.endswith(".safetensors") and "/checkpoints/" in key]
    return [
        "/".join(key.split("/")[3:]).replace("/checkpoints/step-", " ").removesuffix(".safetensors") for key in keys
    ]


def test_nothing_is_kept_but_what_is_published(runs: Store) -> None:
    total = sum(stat.size for key, stat in runs.stat_blobs("models").items() if "/checkpoints/" in key)
    report = collect_checkpoints(runs, keep="none", dry_run=False, now=LATER)
    assert report.bytes_before == report.bytes_freed == total
    assert left(runs) == []
    assert sorted(runs.list_blobs("models")) == [
        f"models/{kind}/model-{run}/weights.safetensors"
        for kind, run in ((TOKENIZER, "better"), (TOKENIZER, "worse"), (WORLD, "w1"), (WORLD, "w2"))
    ]


def test_the_last_of_every_run_is_kept_so_that_each_can_go_on(runs: Store) -> None:
    own = [f"{folder(TOKENIZER, 'abandoned')}/{name}" for name in ("run.json", "config.yaml", "restarts.json")]
    for key in own[1:]:
        runs.write_blob(key, b"what the run says of itself")
    report = collect_checkpoints(runs, keep="last", dry_run=False, now=LATER)
    assert left(runs) == ["abandoned 00000020", "better 00000040", "worse 00000040", "w1 00000070", "w2 00000070"]
    assert report.bytes_freed == 2000
    assert all(runs.exists(key) for key in own)
    assert "video_tokenizer model-better: the checkpoint of step 40" in report.kept


def test_that_of_the_best_of_each_kind_is_kept(runs: Store) -> None:
    collect_checkpoints(runs, keep="best", dry_run=True, now=LATER)
    evaluate(runs, "w1", 2.5)
    evaluate(runs, "w2", 0.5)
    collect_checkpoints(runs, keep="best", dry_run=False, now=LATER)
    assert left(runs) == ["better 00000040", "w1 00000070"]


def test_of_worlds_that_nobody_measured_the_newest_is_the_best(runs: Store) -> None:
    collect_checkpoints(runs, keep="best", dry_run=False, now=LATER)
    assert left(runs) == ["better 00000040", "w2 00000070"]


@pytest.mark.parametrize("keep", ["none", "best", "last"])
def test_an_unfinished_run_that_was_written_a_moment_ago_is_left_alone(runs: Store, keep: str) -> None:
    report = collect_checkpoints(runs, keep=keep, dry_run=False)  # type: ignore[arg-type]
    assert left(runs)[:2] == ["abandoned 00000010", "abandoned 00000020"]
    assert "video_tokenizer abandoned: unfinished, written within the last hour, may be in progress" in report.kept


def test_a_finished_run_that_is_being_extended_is_in_progress(runs: Store) -> None:
    for end in ("json", "safetensors"):
        runs.write_blob(f"{folder(WORLD, 'w1')}/step-00000080.{end}", b"x")
    collect_checkpoints(runs, keep="none", dry_run=False)
    assert left(runs)[-2:] == ["w1 00000070", "w1 00000080"]


@pytest.fixture
def command(runs: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name in [name for name in os.environ if name.startswith("LAMPWORKS_")]:
        monkeypatch.delenv(name)
    for path in Path(runs.root).rglob("runs/abandoned/checkpoints/*"):
        os.utime(path, (0, 0))
    return runs


def test_the_command_says_sizes_and_a_dry_run_deletes_nothing(
    command: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(command.root)
    size = sum(stat.size for key, stat in command.stat_blobs("models").items() if "/checkpoints/" in key)
    assert main(["gc", "--root", command.root, "--checkpoints", "--dry-run"]) == 0
    said = capsys.readouterr().out
    told = f"{size / 1000:.1f} kB"
    assert f"checkpoints  {told} before, {told} in 17 blobs would be deleted, 0 B kept" in said
    assert f"{folder(TOKENIZER, 'abandoned')}/step-00000010.safetensors" in said
    assert {name: digest for name, digest in digests(command.root).items() if name in before} == before
    assert main(["gc", "--root", command.root, "--checkpoints", "--keep", "last"]) == 0
    assert "2.0 kB in 2 blobs deleted" in capsys.readouterr().out
    assert main(["gc", "--root", command.root, "--keep", "last"]) == 2
    assert "give --checkpoints too" in capsys.readouterr().err


def test_the_command_waits_for_a_pass_that_holds_the_root(command: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = left(command)
    with lock_home(home_of(command), command.root):
        assert main(["gc", "--root", command.root, "--checkpoints"]) == 2
    assert "is in use by process" in capsys.readouterr().err
    assert left(command) == before
