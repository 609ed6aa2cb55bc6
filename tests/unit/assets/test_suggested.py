"""Commands in errors, status lines and pages: pasted into a shell they find the root that they are about."""

from __future__ import annotations

import argparse
import html
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.cli.main import main, parser
from assets.graph.context import user_failure
from assets.graph.resources import Lampworks
from assets.report.page import write_page, write_report
from assets.settings import load_settings
from assets.suggested import WITHOUT_ROOT, completed_output, options_of, root_option, with_root
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.storage.store import Store

ROOT = "it's my root"


def commands_in(text: str) -> list[argparse.Namespace]:
    """Parse every command of a text as a shell and the program would."""
    return [parser().parse_args(shlex.split(one)[1:]) for one in re.findall(r"`(lampworks [^`]*)`", text)]


def roots_of(text: str) -> list[str | None]:
    return [args.root for args in commands_in(text)]


@pytest.mark.parametrize(
    "command",
    ["run", "run --select token_shards", "why VIDEO", "label --root ROOT", "study curation", "shards verify", "play"],
)
def test_a_command_of_a_text_names_the_root_whatever_letters_it_has(command: str) -> None:
    text = with_root(f"first `lampworks {command}`, then `lampworks status --json`", root_option(ROOT))
    assert roots_of(text) == [ROOT, ROOT]


@pytest.mark.parametrize(
    "text",
    [
        "`lampworks play world.tar` plays it anywhere",
        "`lampworks run --root 'another one'`",
        "`lampworks arcade --out DIR`",
        "`lampworks study scaling --size toy`",
        "an older lampworks run wrote `it`",
        "`--mend` sets it aside",
    ],
)
def test_what_takes_no_root_or_names_one_stays_as_it_is(text: str) -> None:
    assert with_root(text, root_option(ROOT)) == text


def test_the_commands_that_take_no_root_are_those_of_the_parser() -> None:
    assert {name for name, command in below(parser()) if "--root" not in command._option_string_actions} == WITHOUT_ROOT


def below(command: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, parsed in action.choices.items():
                yield f"{name} {word}".strip(), parsed
                yield from below(parsed, f"{name} {word}".strip())


def test_errors_and_lines_of_a_command_name_the_root_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Store(ROOT).write_blob("tables/x", b"")
    assert main(["models", "--root", ROOT]) == 0
    assert main(["evaluate", "--root", ROOT, "--home", "h"]) == 2
    told = capsys.readouterr()
    assert roots_of(told.out) == [ROOT]
    assert {(args.root, args.home) for args in commands_in(told.err)} == {(ROOT, "h")}


def test_json_stays_as_it_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = tmp_path / 'a "root"'
    Store(str(root)).write_blob("tables/x", b"")
    assert main(["why", "nothing", "--json", "--root", str(root)]) == 1
    assert "--root" not in capsys.readouterr().out


def test_without_a_named_root_nothing_is_added(capsys: pytest.CaptureFixture[str]) -> None:
    with completed_output(""):
        print("`lampworks run`")
        assert sys.stdout.isatty() is False
    with completed_output(" --root x"):
        print("`lampworks run`", file=sys.stderr, flush=True)
        assert sys.stdout.isatty() is False
    told = capsys.readouterr()
    assert (told.out, told.err) == ("`lampworks run`\n", "`lampworks run --root x`\n")


def test_commands_of_a_page_name_its_root(tmp_path: Path) -> None:
    store = Store(str(tmp_path / ROOT))
    page = store.read_blob(write_report(store, Config())).decode()
    found = [html.unescape(one) for one in re.findall(r"<code>(lampworks [^<]*)</code>", page)]
    assert len(found) > 4
    assert {parser().parse_args(shlex.split(one)[1:]).root for one in found} == {store.root}
    before = (tmp_path / ROOT / "reports/latest/index.html").stat().st_mtime_ns
    write_report(store, Config())
    assert (tmp_path / ROOT / "reports/latest/index.html").stat().st_mtime_ns == before
    assert write_page(store, "reports/x", "no command", []) == "reports/x/index.html"
    assert store.read_blob("reports/x/index.html") == b"no command"


def test_an_error_in_dagsters_pages_names_root_and_home(tmp_path: Path) -> None:
    settings = load_settings(str(tmp_path / ROOT), home=tmp_path / "home")
    assert options_of(load_settings(str(tmp_path / ROOT))) == root_option(settings.store.root)
    with pytest.raises(dg.Failure) as caught, user_failure(Lampworks.of(settings)):
        raise UserError("no clip is rated: `lampworks label --root ROOT`")
    with pytest.raises(dg.Failure) as failed, user_failure(Lampworks.of(settings)):
        raise dg.Failure("3 videos failed (`lampworks why VIDEO`)", allow_retries=False)
    for error in (caught.value, failed.value):
        [args] = commands_in(str(error.description))
        assert (args.root, args.home) == (settings.store.root, str(tmp_path / "home"))
    assert not failed.value.allow_retries
