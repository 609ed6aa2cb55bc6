from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest

import pipeline.config
from pipeline.config import (
    PRESETS,
    ClipConfig,
    Config,
    DownloadConfig,
    SourceConfig,
    fingerprint,
    load_config,
    parse_config,
    preset,
)
from pipeline.errors import UserError


def written(folder: Path, text: str) -> Path:
    path = folder / "lampworks.yaml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_survives_being_written_out_and_checked_again(name: str):
    config = preset(name)
    assert config.preset == name
    assert parse_config(dataclasses.asdict(config)) == config


def test_the_clip_of_the_defaults_is_the_papers():
    clips = Config().clips
    assert (clips.seconds, clips.fps, clips.width, clips.height, clips.num_frames) == (16, 10, 160, 90, 160)


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(UserError, match=r"'papers'.*coinrun, demo, platformers"):
        preset("papers")


def test_a_file_changes_what_it_names_and_leaves_the_rest(tmp_path: Path):
    path = written(tmp_path, "preset: demo\nclips: {crf: 23}\nsource:\n  spec: 'folder:/videos'\n")
    config = load_config(path)
    assert config.clips == dataclasses.replace(preset("demo").clips, crf=23)
    assert config.source.spec == "folder:/videos"
    assert config.source.batch_size == preset("demo").source.batch_size
    assert config.classifier == preset("demo").classifier


def test_an_empty_file_is_the_base_preset(tmp_path: Path):
    assert load_config(written(tmp_path, "")) == Config()
    assert load_config(written(tmp_path, "# nothing yet\n"), base="demo") == preset("demo")
    assert load_config(None, base="demo") == preset("demo")


def test_overrides_win_over_the_file(tmp_path: Path):
    path = written(tmp_path, "source: {spec: youtube, batch_size: 10}")
    config = load_config(path, source={"spec": "urls:list.txt"})
    assert (config.source.spec, config.source.batch_size) == ("urls:list.txt", 10)


def test_lists_in_yaml_become_the_tuples_of_the_configuration(tmp_path: Path):
    config = load_config(written(tmp_path, "rules: {keywords: [platformer, 'jump and run']}"))
    assert config.rules.keywords == ("platformer", "jump and run")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clips: {crv: 20}", r"unknown field clips\.crv = 20; did you mean clips\.crf\?"),
        ("clip: {crf: 20}", r"unknown field clip = .*did you mean clips\?"),
        ("zzz: 1", r"unknown field zzz = 1; known here: .*clips"),
        ("clips: {crf: sharp}", r"clips\.crf = 'sharp': .*integer"),
        ("clips: {aspect: squash}", r"clips\.aspect = 'squash': .*'pad', 'crop' or 'stretch'"),
        ("clips: 7", r"clips = 7"),
        ("split: {val_share: 1.5}", r"split\.val_share = 1\.5: must lie between 0 and 1"),
        ("source: {spec: 'ftp:x'}", r"source\.spec = 'ftp:x': unknown source; choose one of arcade, folder"),
        ("source: {spec: folder}", r"source\.spec = 'folder': say where, as folder:PATH"),
        ("source: {batch_size: 0}", r"source\.batch_size = 0: must be at least 1"),
        ("clips: {width: 161}", r"clips\.width = 161: must be at least 48 and a multiple of 2"),
        ("labels: {flagged_share: 1}", r"labels\.flagged_share = 1: must be at least 0 and below 1"),
        ("download: {host_daily: -1}", r"download\.host_daily = -1: must be at least 0"),
        ("arcade: {seconds: .nan}", r"arcade\.seconds = nan: must lie between 1 and 36000"),
        ("tokenizer: {encoder: {layers: 0}}", r"tokenizer\.encoder\.layers = 0: must be at least 1"),
        ("decision: {mode: coin}", r"decision\.mode = 'coin'"),
        ("preset: papers", r"preset 'papers' is unknown"),
        ("clips: {crf: 18", "is not YAML"),
        ("- a\n- b\n", "must be a mapping of sections, not list"),
        ("just words", "must be a mapping of sections, not str"),
    ],
)
def test_a_wrong_field_names_itself_its_value_and_the_fix(tmp_path: Path, text: str, says: str):
    with pytest.raises(UserError, match=says):
        load_config(written(tmp_path, text))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"batch_size": 0}, r"^source\.batch_size = 0: must be at least 1$"),
        ({"max_rate_kb_s": -0.5}, r"^source\.max_rate_kb_s = -0\.5: must be at least 0$"),
        ({"max_rate_kb_s": float("nan")}, r"^source\.max_rate_kb_s = nan: must be at least 0$"),
    ],
)
def test_a_section_built_in_python_refuses_what_yaml_may_not_say(wrong: dict[str, float], says: str):
    with pytest.raises(UserError, match=says):
        dataclasses.replace(SourceConfig(), **wrong)


def test_an_unset_field_needs_no_bound():
    assert DownloadConfig(host_daily=None).host_daily is None
    assert DownloadConfig(host_daily=0).host_daily == 0


def test_every_wrong_field_is_named_at_once(tmp_path: Path):
    with pytest.raises(UserError) as error:
        load_config(written(tmp_path, "clips: {crf: sharp, fps: fast, gop: 0}\nlabels: {seed: many}"))
    for name in ("clips.crf = 'sharp'", "clips.fps = 'fast'", "clips.gop = 0", "labels.seed = 'many'"):
        assert name in str(error.value)


def test_the_message_names_the_file(tmp_path: Path):
    path = written(tmp_path, "clips: {crf: sharp}")
    with pytest.raises(UserError, match=r"lampworks\.yaml"):
        load_config(path)
    with pytest.raises(UserError, match=r"absent\.yaml' cannot be read"):
        load_config(tmp_path / "absent.yaml")


def test_a_configuration_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().clips.crf = 3  # type: ignore[misc]


def test_a_fingerprint_changes_with_any_value_and_only_then():
    assert fingerprint(ClipConfig(), "a") == fingerprint(ClipConfig(), "a")
    assert fingerprint(ClipConfig(), "a") != fingerprint(ClipConfig(crf=19), "a")
    assert fingerprint(ClipConfig(), "a") != fingerprint(ClipConfig(), "b")
    assert fingerprint({"x": 1, "y": 2}) == fingerprint({"y": 2, "x": 1})
    assert len(fingerprint(1, length=8)) == 8


def test_the_source_names_its_kind_and_its_argument():
    source = SourceConfig(spec="folder:/a:b")
    assert (source.kind, source.argument) == ("folder", "/a:b")


def test_every_field_carries_a_sentence():
    folder = Path(pipeline.config.__file__).parent
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if not isinstance(node, ast.ClassDef):
                continue
            for field, after in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    sentence = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                    assert sentence, f"{path.name}: {node.name}.{field.target.id} has no sentence"


def test_a_wrong_field_of_a_section_is_named_alone_and_no_password_beside_it() -> None:
    with pytest.raises(UserError) as caught:
        load_config(None, source={"spec": "ftp:x", "proxy": "http://me:s3cret@proxy.invalid"})
    assert "source.spec = 'ftp:x': unknown source; choose one of" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "Value error" not in str(caught.value)
