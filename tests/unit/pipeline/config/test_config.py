from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from pipeline.config import (
    PRESETS,
    ClipConfig,
    Config,
    DownloadConfig,
    SourceConfig,
    describe_settings,
    fingerprint,
    load_config,
    parse_config,
    parse_overrides,
    preset,
)
from pipeline.errors import UserError
from pipeline.training_size.parameters import count_parameters


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


@pytest.mark.parametrize("name", ["robotics", "robotics-small"])
def test_robots_are_cut_into_whole_episodes_and_nobody_rates_them(name: str):
    config = preset(name)
    assert (config.clips.mode, config.decision.mode, config.download.actions) == ("episodes", "flags", "keep")
    assert config.decision.middle == "keep", "no flag asks a person about a robot that rests"


def test_the_model_of_the_robots_has_the_published_size():
    assert sum(count_parameters(preset("robotics"))) == pytest.approx(2.5e9, rel=0.02)


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
        (
            "decision: {drop_flags: still}",
            r"decision\.drop_flags = 'still': must be a list in brackets, as \[one, two\]",
        ),
        ("classifier: {candidates: []}", r"classifier\.candidates = \[\]: must name at least 1 of those it may name"),
        ("split: {val_share: 1.5}", r"split\.val_share = 1\.5: must lie between 0 and 1"),
        ("source: {spec: 'ftp:x'}", r"source\.spec = 'ftp:x': unknown source; choose one of arcade, folder"),
        ("source: {spec: folder}", r"source\.spec = 'folder': say where, as folder:PATH"),
        ("source: {batch_size: 0}", r"source\.batch_size = 0: must be at least 1"),
        # a model without a figure could not be held to tokenizer.min_psnr
        ("training: {eval_windows: 0}", r"training\.eval_windows = 0: must be at least 1"),
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


def test_a_wrong_field_of_a_section_in_another_is_named_with_both(tmp_path: Path):
    (tmp_path / "c.yaml").write_text(
        "tokenizer: {encoder: {heads: 3, kv_heads: 2}}\ndynamics: {optimizer: {muon_lr_scale: 2}}", "utf-8"
    )
    with pytest.raises(UserError) as caught:
        load_config(tmp_path / "c.yaml")
    assert str(caught.value).splitlines()[1:] == [
        "  tokenizer.encoder.kv_heads = 2: must divide heads = 3",
        "  dynamics.optimizer.muon_lr_scale = 2 acts only with dynamics.optimizer.algorithm = 'muon': set that, or "
        "muon_lr_scale = 1",
    ]


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


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_setting_is_described_and_can_be_set_by_its_name(name: str):
    config = preset(name)
    settings = describe_settings(config)
    assert all(setting.sentence and setting.type and setting.value == setting.default for setting in settings)
    assignments = [f"{one.name}={yaml.safe_dump(plain(one.value), width=9999).strip()}" for one in settings]
    assert load_config(None, **parse_overrides(assignments)) == config


def plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def test_a_setting_is_told_with_its_type_bounds_default_and_sentence():
    config = load_config(None, base="demo", clips={"crf": 23}, play={"past_window": "ring"})
    settings = {setting.name: setting for setting in describe_settings(config)}
    crf = settings["clips.crf"]
    assert (crf.value, crf.default, crf.type, crf.bounds) == (23, 18, "int", "lie between 0 and 51")
    assert crf.sentence.startswith("H.264 quality")
    assert settings["tokenizer.encoder.layers"].sentence.startswith("Blocks")
    # an inherited field; a list; one that may be unset
    assert (settings["play.past_window"].default, settings["play.past_window"].type) == ("prefill", "prefill | ring")
    assert settings["rules.keywords"].type == "list of str"
    assert (settings["download.host_daily"].type, settings["download.host_daily"].value) == ("int or unset", None)
    # a sentence over two lines is one line
    assert settings["source.cookies"].sentence.endswith("A site can block the account that they belong to.")
    assert all("\n" not in setting.sentence for setting in settings.values())


def test_assignments_become_nested_values_and_a_later_one_wins():
    assert parse_overrides(
        ["clips.crf=20", "clips.crf = 23", "tokenizer.encoder.layers=3", "source.queries=[a, 'b=c']", "preset=demo"]
    ) == {
        "clips": {"crf": 23},
        "tokenizer": {"encoder": {"layers": 3}},
        "source": {"queries": ["a", "b=c"]},
        "preset": "demo",
    }
    config = load_config(None, **parse_overrides(["preset=demo", "source.apply_rules=null", "play.fps=5e-1"]))
    assert config.classifier == preset("demo").classifier
    assert (config.source.apply_rules, config.play.fps) == (None, 0.5)


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("clips.crf", r"'clips\.crf': write NAME=VALUE"),
        ("=3", "write NAME=VALUE"),
        ("clips..crf=3", "write NAME=VALUE"),
        ("clips.crf={", "'clips.crf={': the value is not YAML"),
        ("clips.crv=3", r"unknown field clips\.crv = 3; did you mean clips\.crf\?"),
        ("clips.crf.x=3", r"clips\.crf = a mapping: .*integer"),
        ("clips=3", r"clips = 3"),
        ("clips.crf=99", r"clips\.crf = 99: must lie between 0 and 51"),
    ],
)
def test_a_wrong_assignment_says_what_is_wrong(assignment: str, says: str):
    with pytest.raises(UserError, match=says):
        load_config(None, **parse_overrides([assignment]))


def test_a_wrong_field_of_a_section_is_named_alone_and_no_password_beside_it() -> None:
    with pytest.raises(UserError) as caught:
        load_config(None, source={"spec": "ftp:x", "proxy": "http://me:s3cret@proxy.invalid"})
    assert "source.spec = 'ftp:x': unknown source; choose one of" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "Value error" not in str(caught.value)
