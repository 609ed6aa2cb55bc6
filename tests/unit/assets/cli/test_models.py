"""`lampworks models` lists runs as they are, and compares any of them on one page."""

from __future__ import annotations

import dataclasses
import json
import os
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.cli.main import main
from assets.report.page import withdraw_pages
from pipeline.storage.run_pictures import write_picture
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.synthetic import CONFIG, finished_store, png

BATCH = CONFIG.dynamics.batch
LINEAGE = [
    {"how": "start_from", "model": "wm1", "step": 1060},
    {"how": "go_on", "model": "w9", "step": 7, "changed": {"dynamics.batch": [4, 8]}},
]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("LAMPWORKS_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A finished root with the demo's models, and a later trial world of another batch and seed."""
    store = finished_store(tmp_path / "the root")
    world = row_of(store, "world_model")
    for key in store.list_blobs(world["path"]):
        store.write_blob(key.replace("wm1", "trial"), store.read_blob(key))
    dynamics = {**dataclasses.asdict(CONFIG.dynamics), "batch": 8}
    add(
        store,
        world,
        model_id="trial",
        path="models/world_model/trial",
        config={"dynamics": dynamics, "training": {"seed": 3, "dtype": "auto"}},
        inputs={**json.loads(world["inputs"]), "settings": "others", "run": "run-of-trial", "lineage": LINEAGE},
    )
    return store


def row_of(store: Store, kind: str) -> dict[str, Any]:
    return next(row for row in store.read("models").to_pylist() if row["kind"] == kind)


def add(store: Store, like: dict[str, Any], *, config: Any, inputs: Any, **changes: Any) -> None:
    later = like["created_at"] + timedelta(days=1)
    texts = {"config": json.dumps(config), "inputs": json.dumps(inputs)}
    store.append("models", [{**like, **texts, "created_at": later, **changes}])


def add_checkpoint(store: Store, run: str, step: int, *, planned: int = 900) -> None:
    """Leave what a killed run leaves behind."""
    folder = f"models/world_model/runs/{run}/checkpoints"
    about = {
        "run_id": run, "kind": "world_model", "settings": "s", "steps": planned, "lineage": [],
        "config": {"dynamics": {"batch": 8}}, "inputs": {"seed": 0, "tokenizer": "tok1", "settings": "s"},
    }  # fmt: skip
    store.write_blob(f"{folder}/run.json", json.dumps(about).encode())
    curve = [{"step": one, "loss": 5.0 / one} for one in range(1, step + 1)]
    sealed = {"about": json.dumps({"curve": curve}), "sha256": ""}
    store.write_blob(f"{folder}/step-{step:08d}.json", json.dumps(sealed).encode())
    store.write_blob(f"{folder}/step-{step:08d}.safetensors", b"x" * 5000)


CLIP = "site-v4-000000000-0a1b2c3d"


def draw(store: Store, folder: str, step: int) -> None:
    """Leave what a training draws on its way."""
    write_picture(store, f"reports/training/{folder}", step, png(np.zeros((9, 16, 3), np.uint8)), "png", [CLIP], 8)


def lampworks(*arguments: str) -> int:
    return main([arguments[0], "--root", "the root", *arguments[1:]])


class Page(HTMLParser):
    """The text, the tags and the links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.links = "", set[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


def page_at(path: str) -> Page:
    return Page(Path(path.strip()).read_text("utf-8"))


def test_runs_are_listed_with_what_differs_their_figures_and_what_they_take_on_disk(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    add_checkpoint(store, "cut-short", 300)
    assert lampworks("models") == 0
    shown = capsys.readouterr().out
    blocks = {line.split()[2]: line for line in shown.splitlines() if not line.startswith(" ")}
    assert list(blocks) == ["tok1", "wm1", "trial", "cut-short"], "the oldest first"
    assert blocks["wm1"].endswith("(in use)")
    assert blocks["trial"] == "world model trial"
    assert blocks["cut-short"].endswith("(not finished)")
    of = {name: shown.split(line)[1].split("\nworld model")[0] for name, line in blocks.items()}
    assert "settings   as configured" in of["wm1"]
    assert "delta-t PSNR, permuted actions: 3.90 [3.30, 4.50] dB" in of["wm1"]
    assert f"dynamics.batch = 8 (configured {BATCH})" in of["trial"]
    assert "lineage    starts from the weights of wm1 at step 1,060\n" in of["trial"]
    assert "goes on from w9 at step 7 (dynamics.batch 4 -> 8)\n" in of["trial"]
    assert "training.seed = 3 (configured 0)" in of["trial"]
    assert "not evaluated: `lampworks evaluate --model trial --root 'the root'` does it" in of["trial"]
    assert "reached    step 300 of 900" in of["cut-short"]
    assert f"dynamics.batch = 8 (configured {BATCH})" in of["cut-short"]
    assert "kB of checkpoints" in of["cut-short"]


def test_the_list_as_json_has_the_same(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    add_checkpoint(store, "cut-short", 300)
    assert lampworks("models", "--json") == 0
    found = {run["name"]: run for run in json.loads(capsys.readouterr().out)}
    assert {name for name, run in found.items() if run["in_use"]} == {"tok1", "wm1"}
    assert found["trial"]["differs"] == {"dynamics.batch": [8, BATCH], "training.seed": [3, 0]}
    assert found["wm1"]["figures"]["delta_t_psnr_permuted"] == {"value": 3.9, "low": 3.3, "high": 4.5}
    assert (found["cut-short"]["state"], found["cut-short"]["steps"]) == ("unfinished", 300)
    assert found["cut-short"]["checkpoint_bytes"] > 5000
    assert found["wm1"]["model_bytes"] == sum(map(store.size, store.list_blobs("models/world_model/wm1")))


def test_the_last_checkpoint_of_a_published_model_is_no_run_of_its_own(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = row_of(store, "world_model")["steps"]
    add_checkpoint(store, "run-of-trial", steps, planned=steps)
    assert lampworks("models", "--json") == 0
    found = {run["name"]: run for run in json.loads(capsys.readouterr().out)}
    assert sorted(found) == ["tok1", "trial", "wm1"]
    assert found["trial"]["checkpoint_bytes"] > 5000
    # the same run went on with more steps, and was stopped
    add_checkpoint(store, "run-of-trial", steps + 50, planned=steps + 100)
    assert lampworks("models", "--json") == 0
    found = {run["name"]: run for run in json.loads(capsys.readouterr().out)}
    assert (found["run-of-trial"]["steps"], found["run-of-trial"]["planned_steps"]) == (steps + 50, steps + 100)


def test_a_model_of_an_older_version_is_listed_and_does_not_count_as_configured(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    world = row_of(store, "world_model")
    add(store, world, model_id="old", config={}, inputs={"tokenizer": "gone"})
    assert lampworks("models") == 0
    shown = capsys.readouterr().out
    assert "settings   not known (made by an older lampworks)" in shown.split("world model old\n")[1]


def test_a_model_of_an_older_version_with_the_configured_settings_says_what_trains_one_of_this_version(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = row_of(store, "video_tokenizer")
    add(store, tokenizer, model_id="old", config={"tokenizer": dataclasses.asdict(CONFIG.tokenizer)}, inputs={})
    assert lampworks("models") == 0
    shown = capsys.readouterr().out.split("video tokenizer old\n")[1]
    trains = "`lampworks run --root 'the root'` trains a model of this one"
    assert f"settings   as configured, of an older lampworks: {trains}" in shown


def test_checkpoints_of_an_older_version_are_a_run_that_is_not_finished(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.write_blob("models/world_model/0ld1d/checkpoints/step-00000040.safetensors", b"x" * 2000)
    # killed before its first checkpoint: nothing to go on from, and nothing to list
    store.write_blob("models/world_model/runs/empty/checkpoints/run.json", b"{}")
    assert lampworks("models") == 0
    shown = capsys.readouterr().out
    block = shown.split("world model 0ld1d  (not finished)\n")[1]
    assert "reached    step 40 of 40" in block
    assert "not known (made by an older lampworks)" in block
    assert "2.0 kB of checkpoints" in block
    assert "empty" not in shown


def test_a_comparison_shows_settings_metrics_curves_and_rollouts_side_by_side(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    add_checkpoint(store, "cut-short", 300)
    for step, folder in (
        (200, "world_model-cut-short"),
        (280, "world_model-cut-short"),
        (350, "world_model-cut-short"),
    ):
        draw(store, folder, step)
    assert lampworks("models", "--compare", "wm1", "tri", "cut") == 0
    page = page_at(capsys.readouterr().out)
    assert "script" not in page.tags
    assert all(link.startswith("data:image/") for link in page.links)
    for expected in (
        "3 runs compared",
        "dynamics.batch",
        "300 of 900",
        "starts from the weights of wm1 at step 1,060",
        "3.900 [3.30, 4.50]",
        "lam psnr",
        f"This world is not evaluated yet. lampworks evaluate --model trial --root '{store.root}' does it.",
        f"This run is not finished. lampworks run --root '{store.root}' does it.",
        "cross entropy, held out",
        "Drawn by the training after step 280.",
    ):
        assert expected in page.text, expected
    assert "tokenizer.patch" not in page.text.split("Metrics")[0], "equal settings are left out"
    assert "latent_actions" not in page.text, "a setting that one of them lacks does not differ by that"
    assert len(page.links) == 3, "two pictures of the world that is evaluated, one of the training"


def test_a_comparison_as_json_has_the_numbers_of_the_page(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert lampworks("models", "--compare", "wm1", "tri", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert "2 runs compared" in page_at(found["page"]).text
    assert [run["name"] for run in found["runs"]] == ["wm1", "trial"]
    assert found["settings"] == {"dynamics.batch": [BATCH, 8]}
    own, missing = found["metrics"]["delta_t_psnr_permuted"]
    assert (own["value"], own["low"], own["high"], missing) == (3.9, 3.3, 4.5, None)


def test_codes_of_a_tokenizer_are_not_called_latent_actions_of_a_world(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = row_of(store, "video_tokenizer")
    metrics = json.dumps({"codes_used": 50, "perplexity": 3.5, "psnr": 24.0})
    store.append("models", [{**tokenizer, "model_id": "other", "figures": metrics}])
    assert lampworks("models", "--compare", "other", "wm1", "--json") == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    assert found["tokenizer_codes_used"][0] == {"value": 50}
    assert found.get("codes_used", [None])[0] is None


def test_curves_of_which_one_hides_the_others_are_said_to_be_the_same(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    add_checkpoint(store, "one", 3)
    add_checkpoint(store, "two", 3)
    add_checkpoint(store, "three", 4)
    assert lampworks("models", "--compare", "one", "two") == 0
    assert "loss (the same in 2 runs)" in page_at(capsys.readouterr().out).text
    assert lampworks("models", "--compare", "one", "three") == 0
    assert "(the same in" not in page_at(capsys.readouterr().out).text
    assert lampworks("models", "--compare", "wm1", "trial", "tok1") == 0
    legend = page_at(capsys.readouterr().out).text.split("lam psnr (the same in 2 runs)")[1].partition("steps")[0]
    assert "wm1" in legend
    assert "tok1" not in legend, "it has no such curve"


def test_a_picture_of_a_training_is_shown_with_its_run_and_not_once_a_clip_of_it_is_taken_down(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(store, "video_tokenizer-tok1", 10)
    draw(store, "world_model-run-of-trial", 10)
    for known, shown in (("", 1), ("video", 0)):
        if known:
            request_takedown(store, "video", CLIP.rsplit("-", 2)[0], "asked")
        assert lampworks("models", "--compare", "trial", "tok1") == 0
        assert page_at(capsys.readouterr().out).text.count("Drawn by the training after step 10.") == 2 * shown


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["wm1"], "two ids or more"),
        (["wm1", "wm"], "is one run"),
        (["wm1", "nothing"], "no run has an id that begins with 'nothing'"),
        (["wm1", "t"], "several ids begin with it (tok1, trial)"),
        (["wm1", ""], "no run has an id that begins with ''"),
    ],
)
def test_a_comparison_that_cannot_be_made_says_why(
    store: Store, names: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lampworks("models", "--compare", *names) == 2
    assert told in capsys.readouterr().err


def test_pages_of_single_models_and_comparisons_are_withdrawn_with_a_clip_that_they_show(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lampworks("models", "--compare", "wm1", "trial") == 0
    assert lampworks("report", "--model", "wm1") == 0
    compared, report = (Path(line) for line in capsys.readouterr().out.split("\n")[:2])
    assert withdraw_pages(store) == []
    shown = json.loads(compared.with_name("clips.json").read_text())
    request_takedown(store, "video", shown[0].rsplit("-", 2)[0], "asked")
    assert sorted(withdraw_pages(store)) == [
        "reports/compare/wm1-trial/index.html",
        "reports/models/wm1/index.html",
    ]
    assert not compared.exists()
    assert not report.exists()
    assert lampworks("models", "--compare", "wm1", "trial") == 0
    assert "was taken down since" in page_at(capsys.readouterr().out).text


def test_the_report_of_another_world_is_a_page_of_its_own(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert lampworks("report") == 0
    assert lampworks("report", "--model", "tria") == 0
    configured, other = (Path(line).read_text("utf-8") for line in capsys.readouterr().out.split("\n")[:2])
    assert "<code>wm1</code>" in configured
    assert "<code>trial</code>" in other
    assert "<code>wm1</code>" not in other
    assert "The evaluation has not run yet" in other
    assert lampworks("report", "--model", "tok1") == 2
    assert "tok1 is a video tokenizer" in capsys.readouterr().err


def test_a_world_is_no_table_of_clips(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert lampworks("export", "clips.parquet", "--model", "wm1") == 2
    assert "call the file clips.html or clips.tar" in capsys.readouterr().err
