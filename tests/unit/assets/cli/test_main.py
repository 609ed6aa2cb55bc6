"""The command: what it says of wrong input, with which exit code, and that its help teaches."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from assets.cli.main import COMMANDS as MODULES
from assets.cli.main import main, parser, parser_for
from assets.passes.plan import format_plan, plan_pass
from assets.settings import load_settings
from pipeline.ids import file_video_id
from pipeline.job import Job
from pipeline.search.search import search_videos


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("LAMPWORKS_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _commands_of(top: argparse.ArgumentParser) -> list[str]:
    return next(list(one.choices) for one in top._actions if isinstance(one, argparse._SubParsersAction))


COMMANDS = _commands_of(parser())


def test_the_version_is_told_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"lampworks {metadata.version('lampworks')}\n"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert f"lampworks {command}" in shown.split("example:")[1]


@pytest.mark.parametrize("module", MODULES)
def test_every_command_is_found_in_the_module_that_adds_it(module: str) -> None:
    assert _commands_of(parser([module])) == list(MODULES[module])


def test_a_command_is_parsed_by_its_own_module_alone_and_what_is_none_by_all() -> None:
    assert "status" in _commands_of(parser_for(["status"]))
    assert "run" not in _commands_of(parser_for(["status", "--json"]))
    for argv in ([], ["--help"], ["statsu"]):
        assert _commands_of(parser_for(argv)) == COMMANDS


def test_to_begin_a_command_takes_no_network_and_none_of_the_other_commands() -> None:
    code = "import sys; from assets.cli.main import parser_for; parser_for(['status']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "assets.cli.data" in loaded
    assert not {"torch", "sklearn", "assets.cli.bench", "assets.cli.run"} & set(loaded)


@pytest.mark.heavy
def test_a_command_starts_without_the_libraries_that_only_some_commands_need() -> None:
    program = (
        "import assets.cli.main, sys; print(*{'dagster', 'torch', 'sklearn', 'yt_dlp', 'uvicorn'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_top_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    shown = parser().format_help()
    assert all(command in shown for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run"], "--source"),
        (["run", "--source", "folder:nowhere"], "nowhere"),
        (["run", "--source", "gopher:x"], "unknown source"),
        (["run", "--source", "youtube", "--preset", "huge"], "preset 'huge' is unknown"),
        (["run", "--source", "folder:.", "--config", "absent.yaml"], "absent.yaml"),
        (["run", "--source", "folder:.", "--labels", "absent.csv"], "absent.csv"),
        (["run", "--source", "folder:.", "--select", "clip"], "did you mean clips"),
        (["run", "--source", "folder:.", "--root", "file/x"], "cannot be used"),
        (["run", "--source", "folder:.", "--config", "wrong.yaml"], "clips.crv"),
        (["run", "--source", "folder:.", "--labels", "bad.csv"], "line 2"),
        (["status"], "holds nothing yet"),
        (["play"], "holds nothing yet"),
        (["why", "x"], "holds nothing yet"),
        (["gc", "--root", "s3://b/x", "--storage-options", "sekret=1"], "sekret"),
        (["arcade", "--videos", "0", "--out", "x"], "--videos 0"),
        (["label", "import", "bad.csv"], "line 2"),
    ],
)
def test_wrong_input_ends_with_2_and_a_sentence_that_names_it(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "wrong.yaml").write_text("clips: {crv: 20}\n")
    (tmp_path / "bad.csv").write_text("clip_id,rating\nx,9\n")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "error: " in captured.err
    assert told in captured.err
    assert "Traceback" not in captured.err
    assert not (tmp_path / "lampworks-data" / "tables").exists()


def test_demo_refuses_a_root_of_another_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lampworks-data").mkdir()
    (tmp_path / "lampworks-data" / "config.yaml").write_text("preset: demo\nsource: {spec: youtube}\n")
    assert main(["demo"]) == 2
    assert "belongs to source 'youtube'" in capsys.readouterr().err


def test_a_plan_of_the_embedded_source_rests_on_the_configuration_and_writes_nothing(tmp_path: Path) -> None:
    settings = load_settings(source="arcade")
    plan = plan_pass(settings)
    assert plan.videos == settings.config.arcade.videos
    assert plan.hours == pytest.approx(plan.videos * settings.config.arcade.seconds / 3600)
    assert f"{plan.videos} to fetch, in {plan.batches} batches" in format_plan(plan)
    assert list(tmp_path.iterdir()) == []


def test_a_bigger_preset_on_a_root_that_exists_plans_with_the_roots_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["config", "--set", "source.spec=arcade"]) == 0
    capsys.readouterr()
    assert main(["run", "--preset", "coinrun", "--plan"]) == 0
    shown = capsys.readouterr()
    assert "preset demo -> coinrun: the source stays 'arcade'" in shown.err
    assert f"{load_settings(source='arcade').config.arcade.videos} to fetch, in" in shown.out


def test_a_plan_of_a_folder_searches_it_fetches_nothing_and_claims_no_clips_of_unknown_lengths(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for number in range(3):
        (tmp_path / "videos" / f"{number}.mp4").write_bytes(b"not a video")
    settings = load_settings(source="folder:videos")
    plan = plan_pass(settings)
    assert (plan.searched, plan.videos, plan.batches) == (True, 3, 1)
    assert (plan.unknown, plan.fetched) == (3, 0)
    lines = format_plan(plan).splitlines()
    assert "  hours    unknown: no video's length is known before it is fetched" in lines
    assert "  bytes    33 B to fetch" in lines
    assert not any(line.startswith("  clips") for line in lines)
    assert settings.store.version("downloads") == -1


def test_a_spot_check_is_drawn_and_a_takedown_takes_it_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lampworks-data").mkdir()
    (tmp_path / "lampworks-data" / "config.yaml").write_text("source: {spec: 'folder:videos'}\n")
    assert main(["spot-check"]) == 2
    assert "holds nothing yet" in capsys.readouterr().err
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "level.mp4").write_bytes(b"not a video")
    settings = load_settings()
    search_videos(Job(settings.store, settings.config, settings.home))
    assert main(["spot-check", "--per-keyword", "0"]) == 2
    assert main(["spot-check", "--seed", "3"]) == 0
    page = Path(capsys.readouterr().out.splitlines()[-1])
    assert "level" in page.read_text("utf-8")
    assert main(["takedown", "--video", file_video_id("level.mp4"), "--reason", "asked"]) == 0
    assert "the spot check showed it and is deleted" in capsys.readouterr().out
    assert not page.exists()
