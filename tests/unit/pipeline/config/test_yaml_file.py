"""A file of settings may be anything that a user can name: each odd one is refused by its name, with the fix."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pipeline.config import Config, load_config
from pipeline.config.load import parse_overrides
from pipeline.config.yaml_file import LARGEST
from pipeline.errors import UserError

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
ODD_BYTES: dict[str, tuple[bytes, str]] = {
    "brackets": (b"[" * 3000, "more than 50 deep"),
    "braces": (b"{a: " * 3000, "more than 50 deep"),
    "dashes": (b"- " * 3000, "more than 50 deep"),
    "nested and closed": (b"a: " + b"[" * 200 + b"]" * 200, "more than 50 deep"),
    "a million values": (b"clips: [" + b"x," * 500_000 + b"]", "more than 20000 values"),
    "noise": (bytes(range(128, 256)), "save it as UTF-8"),
    "latin-1": ("source: {spec: 'folder:/vidéos'}".encode("latin-1"), "save it as UTF-8"),
    "utf-16": ("clips: {crf: 20}".encode("utf-16"), "looks like UTF-16.*save it as UTF-8"),
    "utf-32": ("clips: {crf: 20}".encode("utf-32-be"), "UTF-8|is not YAML"),
    "nul": (b"clips:\0 {crf: 20}", "is not YAML"),
    "video": (b"\0\0\0\x18ftypisom", "is not YAML"),
    "escape": (b"clips: \x1b[2J", "is not YAML"),
    "aliases": (BOMB.encode(), "more than 20000 values"),
    "alias of itself": (b"clips: &a [*a]", "stands for itself"),
    "python": (b"clips: !!python/object/apply:os.system ['true']", "is not YAML"),
    "unknown tag": (b"clips: !secret x", "is not YAML"),
    "equal keys": (
        b"clips: {crf: 20}\nsource: {spec: arcade}\nclips: {crf: 21}",
        "'clips' is set a second time in line 3",
    ),
    "equal fields": (b"clips:\n  crf: 20\n  crf: 21", "'crf' is set a second time in line 3"),
    "a day as key": (b"2026-01-02: 1", "'2026-01-02' in line 1 is no name"),
    "a number as key": (b"1: 2", "'1' in line 1 is no name"),
    "nothing as key": (b"~: 2", "is no name"),
    "a list as key": (b"? [a, b]\n: 2", "is no name"),
    "no such day": (b"clips: {crf: 2026-99-99}", "a value cannot be read"),
    "no such truth": (b"clips: {crf: !!bool maybe}", "a value cannot be read"),
    "no such time": (b"clips: {crf: !!timestamp soon}", "a value cannot be read"),
    "endless number": (b"clips: {crf: " + b"9" * 5000 + b"}", "a value cannot be read"),
    "surrogate": (b'source: {spec: "folder:\\ud800"}', "leave out its surrogates"),
    "list": (b"[clips, source]", "must be a mapping of sections.*not list"),
    "text": (b"just words", "must be a mapping of sections.*not str"),
    "two documents": (b"clips: {crf: 20}\n---\nclips: {crf: 21}", "is not YAML"),
    "unknown field": (b'"\\e[2J": 1', r"unknown field '\\x1b\[2J' = 1"),
    "long value": (b"clips: {crf: '" + b"x" * 100_000 + b"'}", "clips.crf = 'xxx"),
    "odd preset": (b"preset: [a, {b: c}]", "preset"),
    "infinite": (b"clips: {crf: .inf}", "clips.crf = inf"),
    "infinite float": (b"engine: {deadline_s: .inf}", "engine.deadline_s = inf: must be a finite number"),
    "endless seconds": (
        b"download: {socket_timeout_s: 1.0e+300}",
        "socket_timeout_s = 1e\\+300: must be at most 1000000000",
    ),
    "not a number": (b"engine: {deadline_s: .nan}", "engine.deadline_s = nan"),
    "section that is a list": (b"clips: [1]", "clips"),
    "section that is nothing": (b"clips:", "clips = None"),
}


@pytest.mark.parametrize("name", sorted(ODD_BYTES))
def test_odd_bytes_are_refused_by_the_name_of_the_file(tmp_path: Path, name: str) -> None:
    data, said = ODD_BYTES[name]
    path = tmp_path / f"{name}.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"(?s){name}\.yaml.*{said}" if "preset" not in name else said) as caught:
        load_config(path)
    assert len(str(caught.value)) < 2000
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("kind", ["fifo", "device", "endless device", "folder", "socket", "missing", "huge", "a\0b"])
def test_what_is_no_small_file_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path: str | Path = tmp_path / "odd.yaml"
    said = {
        "fifo": "a named pipe",
        "folder": "a folder",
        "socket": "a socket",
        "missing": "No such file",
        "huge": "at most 1 MB",
    }
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "device":
            path = "/dev/null"
        case "endless device":
            path = "/dev/zero"
        case "folder":
            Path(path).mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case "huge":
            with Path(path).open("wb") as file:
                file.truncate(100 << 20)
        case "a\0b":
            path = "a\0b"
    with pytest.raises(UserError, match=rf"(?s)configuration .* cannot be read: .*{said.get(kind, '')}"):
        load_config(path)


def test_a_file_at_the_limit_a_mark_and_repeated_values_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "fine.yaml"
    text = "\ufeffclips: &c {crf: 21}\nrules:\n  keywords: &words [a, b]\n  negations: *words\n#"
    path.write_text(text + "x" * (LARGEST - len(text.encode())), "utf-8")
    config = load_config(path)
    assert (config.clips.crf, config.rules.negations) == (21, ("a", "b"))


def test_an_empty_file_is_the_preset(tmp_path: Path) -> None:
    for number, data in enumerate((b"", b"# nothing\n", b"---\n", b"null", b"{}")):
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(data)
        assert load_config(path) == load_config(None)


@pytest.mark.parametrize("value", ["[" * 3000, BOMB, "!!bool maybe", "{a: 1, a: 2}", '"\\ud800"', "2026-99-99", "\0"])
def test_odd_values_of_one_setting_are_refused_by_its_name(value: str) -> None:
    with pytest.raises(UserError, match=r"(?s)setting 'clips\.crf=.*: the value") as caught:
        parse_overrides([f"clips.crf={value}"])
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("number", ["0x" + "f" * 5000, "0b1" + "0" * 63, "-0x" + "f" * 16, "9" * 19, "9:" * 30 + "9"])
def test_a_number_beyond_64_bits_is_refused_before_anything_prints_it(tmp_path: Path, number: str) -> None:
    path = tmp_path / "huge.yaml"
    path.write_text(f"clips: {{crf: {number}}}")
    with pytest.raises(UserError, match=r"huge\.yaml.*(beyond 64 bits|clips\.crf)") as caught:
        load_config(path)
    assert len(str(caught.value)) < 500
    path.write_text("arcade: {seed: 9223372036854775807}")
    assert load_config(path).arcade.seed == 2**63 - 1


def test_the_settings_that_were_refused_in_a_file_are_right_in_another(tmp_path: Path) -> None:
    path = tmp_path / "saved.yaml"
    path.write_text("clips: {crf: 20}", "utf-16")
    with pytest.raises(UserError, match="save it as UTF-8"):
        load_config(path)
    path.write_text("clips: {crf: 20}", "utf-8")
    assert load_config(path) != Config()
    assert load_config(path).clips.crf == 20
