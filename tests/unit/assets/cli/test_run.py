"""What a pass says at its end: only commands that work as they are printed."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from assets.cli.main import main, parser
from assets.passes.driver import PassResult
from assets.passes.failures import PassError
from assets.settings import Settings, save_config
from pipeline.config import Config
from pipeline.inspect.audit_text import CURATION_KEY, FORMAT
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.synthetic import CONFIG, finished_store

ROOT = "it's a root; rm -rf x"
OTHER = dataclasses.replace(CONFIG, dynamics=dataclasses.replace(CONFIG.dynamics, batch=1))


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("LAMPWORKS_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def suggested(text: str) -> list[str]:
    """Return the commands below `next:`."""
    return [line.strip() for line in text.split("next:\n")[1].splitlines()]


def remember(store: Store, config: Config) -> None:
    save_config(Settings(store, config, home_of(store)))


@pytest.mark.parametrize(
    ("config", "commands"),
    [(CONFIG, ["play", "ui", "label", "status"]), (OTHER, ["ui", "label", "status"])],
    ids=["a configured world", "a world of other settings alone"],
)
def test_play_is_offered_only_where_it_would_find_a_world_and_paths_are_quoted(
    config: Config,
    commands: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    remember(finished_store(tmp_path / ROOT), config)
    monkeypatch.setattr("assets.passes.driver.full_pass", lambda *args, **options: PassResult())
    assert main(["run", "--root", ROOT, "--home", ROOT]) == 0
    shown = suggested(capsys.readouterr().out)
    assert [line.split()[1] for line in shown] == commands
    for line in shown:
        program, *words = shlex.split(line)
        assert program == "lampworks"
        args = parser().parse_args(words[:5])
        assert (args.root, args.home) == (ROOT, ROOT)


def test_a_root_without_anything_is_not_told_to_play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("assets.passes.driver.full_pass", lambda *args, **options: PassResult())
    assert main(["run", "--source", "arcade"]) == 0
    assert [line.split("  ")[0] for line in suggested(capsys.readouterr().out)] == [
        "lampworks ui", "lampworks label", "lampworks status",
    ]  # fmt: skip


def test_a_pass_that_fails_names_the_page_of_its_run_in_a_command_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object, **options: object) -> PassResult:
        raise PassError("training failed", run_id="0123456789", by_user=True)

    monkeypatch.setattr("assets.passes.driver.full_pass", fail)
    assert main(["run", "--root", ROOT, "--source", "arcade"]) == 2
    command = capsys.readouterr().err.split("`")[1]
    assert parser().parse_args(shlex.split(command)[1:]).root == ROOT


def test_a_root_of_another_source_is_named_in_a_command_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ROOT).mkdir()
    (tmp_path / ROOT / "config.yaml").write_text("preset: demo\nsource: {spec: youtube}\n")
    assert main(["demo", "--root", ROOT]) == 2
    command = capsys.readouterr().err.split("`")[1]
    assert Path(parser().parse_args(shlex.split(command)[1:]).root) == tmp_path / ROOT


def test_a_recuration_makes_everything_up_to_the_shards_and_says_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = finished_store(tmp_path / "root")
    remember(store, CONFIG)
    store.replace("curated", store.read("curated"), inputs={"content": "c"})
    why = [{"change": "left", "before": "keep: score", "now": "drop: rated 2", "clips": 3}]
    changes = {"entered": 0, "left": 3, "new": 0, "gone": 0, "churn": 0.1, "why": why}
    audit = {"drawn": {"audit_high": 2}, "rated": {"audit_high": 0}}
    document = {"format": FORMAT, "decision": "c", "audit": audit, "changes": changes, "slices": {}}
    asked: list[Sequence[str]] = []

    def run(settings: Settings, select: Sequence[str], **options: object) -> PassResult:
        asked.append(select)
        store.write_blob(CURATION_KEY, json.dumps(document).encode())
        return PassResult()

    monkeypatch.setattr("assets.passes.driver.full_pass", run)
    assert main(["recurate", "--root", store.root]) == 0
    said = capsys.readouterr().out
    assert "changes      0 entered, 3 left; 10.0% of the others have another verdict" in said
    assert "3 left: keep: score -> drop: rated 2" in said
    [select] = asked
    assert {"search_results", "quality_classifier", "training_shards", "curation_audit"} <= set(select)
    assert not {"video_tokenizer", "world_model", "token_shards", "world_evaluation", "curation_ablation"} & set(select)
    assert main(["recurate", "--root", str(tmp_path / "nothing")]) == 2
