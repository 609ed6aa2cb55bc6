"""Which root and which configuration: the command line, the environment, what the root remembers, the preset."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from assets.graph.resources import CHECKOUT, Lampworks, default_root
from assets.settings import Settings, config_changes, load_settings, parse_storage_options, save_config
from pipeline.config import preset
from pipeline.errors import UserError


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("LAMPWORKS_", "AWS_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_without_anything_the_demo_preset_and_a_root_in_this_folder_are_meant(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.store.root == str(tmp_path / "lampworks-data")
    assert settings.config == preset("demo")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_wins_over_the_environment_and_that_over_what_the_root_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.yaml").write_text("source: {spec: youtube}\nclips: {crf: 30}\n", "utf-8")
    remembered = load_settings("root", source=f"folder:{tmp_path}")
    assert save_config(remembered)
    assert load_settings("root").config == remembered.config
    monkeypatch.setenv("LAMPWORKS_CONFIG", str(tmp_path / "b.yaml"))
    assert load_settings("root").config.clips.crf == 30
    monkeypatch.setenv("LAMPWORKS_SOURCE", "arcade")
    assert load_settings("root").config.source.spec == "arcade"
    assert load_settings("root", source="youtube").config.source.spec == "youtube"


def test_what_the_root_remembers_is_written_only_when_it_changes_and_names_only_what_differs(tmp_path: Path) -> None:
    settings = load_settings("root", source="folder:videos")
    assert save_config(settings)
    before = settings.config_path.stat().st_mtime_ns
    assert not save_config(settings)
    assert settings.config_path.stat().st_mtime_ns == before
    assert config_changes(settings.config) == {"preset": "demo", "source": {"spec": f"folder:{tmp_path}/videos"}}
    assert "spec: folder:" in settings.config_path.read_text("utf-8")


def test_a_relative_source_is_remembered_as_absolute_because_the_schedule_runs_elsewhere(tmp_path: Path) -> None:
    assert load_settings("root", source="folder:videos").config.source.argument == str(tmp_path / "videos")
    assert load_settings("root", source="urls:list.txt").config.source.argument == str(tmp_path / "list.txt")
    assert load_settings("root", source="urls:http://host/feed").config.source.argument == "http://host/feed"
    assert load_settings("root", source="folder:s3://b/videos").config.source.argument == "s3://b/videos"
    (tmp_path / "c.yaml").write_text("source: {spec: youtube, cookies: cookies.txt}\n")
    assert load_settings("root", config="c.yaml").config.source.cookies == str(tmp_path / "cookies.txt")


def test_another_preset_brings_its_models_and_keeps_the_source_and_what_the_data_were_made_with() -> None:
    own = {"clips": {"crf": 20}, "split": {"salt": "mine"}, "tokenizer": {"steps": 30}}
    assert save_config(load_settings("root", source="arcade", overrides=own))
    settings = load_settings("root", base="coinrun", change_preset=True)
    assert settings.config.preset == "coinrun"
    demo, coinrun = preset("demo"), preset("coinrun")
    assert settings.config.source == demo.source
    assert (settings.config.clips.crf, settings.config.split.salt) == (20, "mine")
    assert settings.config.split.val_share == demo.split.val_share
    for section in ("tokenizer", "latent_actions", "dynamics", "training", "evaluation", "play"):
        assert getattr(settings.config, section) == getattr(coinrun, section)
    assert settings.origin_of("source.spec") == "the root's config.yaml"
    [note] = settings.notes
    assert "the source stays 'arcade'" in note
    assert "Left behind: tokenizer.steps (" in note
    assert "Clips are cut again as it asks (clips.width 160 -> 64, clips.height 90 -> 64, " in note
    kept = {"clips": {"width": 160, "height": 90, "aspect": "pad"}}
    again = load_settings("root", base="coinrun", change_preset=True, overrides=kept)
    assert again.config.clips == dataclasses.replace(demo.clips, crf=20), "as the note says"


def test_a_changed_preset_is_remembered_and_the_first_one_can_be_taken_back() -> None:
    first = load_settings("root", source="arcade")
    save_config(first)
    save_config(load_settings("root", base="platformers-41m", change_preset=True))
    again = load_settings("root")
    assert (again.config.preset, again.config.source.spec) == ("platformers-41m", "arcade")
    assert load_settings("root", base="platformers-41m", change_preset=True).notes == ()
    assert load_settings("root", base="demo", change_preset=True).config == first.config


def test_a_preset_that_is_changed_by_hand_in_the_roots_file_keeps_its_source() -> None:
    settings = load_settings("root", source="arcade")
    save_config(settings)
    settings.config_path.write_text(settings.config_path.read_text("utf-8").replace("demo", "coinrun"), "utf-8")
    assert load_settings("root").config.source.spec == "arcade"


def test_a_file_decides_its_preset_whatever_the_root_remembers(tmp_path: Path) -> None:
    save_config(load_settings("root", source="arcade"))
    (tmp_path / "c.yaml").write_text("preset: platformers\n", "utf-8")
    settings = load_settings("root", config="c.yaml", base="coinrun", change_preset=True)
    assert (settings.config.preset, settings.notes) == ("platformers", ())


def export(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables as `lampworks ui` sets them for Dagster's processes."""
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)


def test_a_child_process_finds_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings("root", source="folder:videos")
    save_config(settings)
    export(settings, monkeypatch)
    assert Lampworks().settings().config == settings.config
    assert Lampworks().settings().store.root == settings.store.root
    assert Lampworks().settings().home == settings.home


def test_a_resource_made_of_settings_reads_neither_the_environment_nor_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings("root", source="folder:videos")
    export(load_settings("another"), monkeypatch)
    assert Lampworks.of(settings).settings() is settings


def test_dagster_alone_takes_the_root_that_its_home_belongs_to_else_the_one_beside_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_root() == str(CHECKOUT / "lampworks-data")
    settings = load_settings("root", source="folder:videos")
    save_config(settings)
    (tmp_path / "root" / "tables").mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(settings.home.dagster))
    assert default_root() == str(tmp_path / "root")


def test_an_s3_root_takes_the_usual_variables_and_keeps_a_home_on_this_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    settings = load_settings("s3://bucket/x", storage_options={"key": "b"}, recall=False)
    assert settings.store.storage_options == {"key": "b", "endpoint_url": "http://127.0.0.1:9"}
    assert settings.home.folder.parent == tmp_path
    settings.home.folder.mkdir()
    settings.config_path.write_text("preset: demo\n")
    export(settings, monkeypatch)
    assert Lampworks().settings().store.storage_options == settings.store.storage_options


def test_storage_options_are_pairs_or_json_and_a_wrong_one_is_named_without_its_value() -> None:
    assert parse_storage_options("key=a,secret=b=c") == {"key": "a", "secret": "b=c"}
    assert parse_storage_options('{"region": "eu-1"}') == {"region": "eu-1"}
    with pytest.raises(UserError, match="'sekret'") as caught:
        parse_storage_options("sekret=hunter2")
    assert "hunter2" not in str(caught.value)


def test_a_wrong_field_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("clips: {crv: 20}\n", "utf-8")
    with pytest.raises(UserError, match=r"clips\.crv = 20; did you mean clips\.crf\?"):
        load_settings("root", config=tmp_path / "c.yaml")


def test_a_new_home_finds_in_the_store_what_it_was_made_with(tmp_path: Path) -> None:
    first = load_settings("root", home=tmp_path / "here", source="folder:videos")
    save_config(first)
    moved = load_settings("root", home=tmp_path / "there")
    assert moved.config == first.config
    assert moved.home.folder == tmp_path / "there"
    assert load_settings("root", home=tmp_path / "there", recall=False).config == preset("demo")


def test_a_file_that_names_no_source_keeps_the_one_that_the_root_remembers(tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    first = load_settings(root, source="folder:/videos", overrides={"source": {"max_results": 7}})
    first.home.folder.mkdir(parents=True)
    save_config(first)
    (tmp_path / "sizes.yaml").write_text("tokenizer: {steps: 5}\n")
    (tmp_path / "other.yaml").write_text("source: {spec: 'folder:/others'}\n")

    found = load_settings(root, config=tmp_path / "sizes.yaml")
    assert (found.config.source.spec, found.config.source.max_results) == ("folder:/videos", 7)
    assert found.config.tokenizer.steps == 5
    assert load_settings(root, config=tmp_path / "other.yaml").config.source.spec == "folder:/others"
    named = load_settings(root, config=tmp_path / "sizes.yaml", source="folder:/third")
    assert named.config.source.spec == "folder:/third"
