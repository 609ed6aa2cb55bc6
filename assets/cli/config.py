"""`lampworks config`: every setting with its value, its origin and what it does; `--set` changes one."""

from __future__ import annotations

import argparse
import dataclasses
import json
import textwrap

from assets.cli.options import Parsers, add_set_option, settings_of
from assets.settings import Settings, save_config
from pipeline.config import Setting, config_reference, describe_settings
from pipeline.errors import UserError
from pipeline.outside import shown_text, shown_values

_WIDTH = 110


def add_commands(commands: Parsers) -> None:
    """Add `config`."""
    config = commands.add(
        "config",
        run_config,
        "Print every setting: its value, where the value comes from, and what it does.",
        "Origins: the preset, the root's own config.yaml (what its last run was given), a file, a variable of the\n"
        "environment, or the command line. With --set, the root remembers the setting for its next runs.",
        "  lampworks config --root DIR                      all settings\n"
        "  lampworks config clips tokenizer.steps           a section, and one setting\n"
        "  lampworks config --set clips.crf=23 --root DIR   change one\n"
        "  lampworks config --reference > settings.md       all settings: bounds, values in each preset",
    )
    config.add_argument("names", nargs="*", metavar="NAME", help="a section or a setting (default: all)")
    config.add_argument(
        "--preset", metavar="NAME", help="in place of the one that the root remembers (default: that one, else demo)"
    )
    config.add_argument("--json", action="store_true", help="print one JSON array")
    config.add_argument(
        "--reference", action="store_true", help="print a Markdown page of all settings, of no root in particular"
    )
    add_set_option(config)


def run_config(args: argparse.Namespace) -> int:
    """Print the settings; with `--set`, store them in the root first."""
    if args.reference:
        if args.names or args.set or args.json or args.preset:
            raise UserError("--reference is of all settings in every preset: give no NAME, --preset, --set or --json.")
        print(config_reference(), end="")
        return 0
    settings = settings_of(args)
    found = _chosen(describe_settings(settings.config), args.names)
    if args.set:
        _remember(settings)
    if args.json:
        rows = [{**dataclasses.asdict(one), "origin": settings.origin_of(one.name)} for one in found]
        print(json.dumps(_hidden(rows), indent=2))
        return 0
    if args.set:
        print(f"written to {settings.config_path}")
        changed = [one for one in found if settings.origin_of(one.name) == "--set"]
        found = changed if not args.names else found
    for one in found:
        print(_text(one, settings.origin_of(one.name)))
    return 0


def _chosen(settings: list[Setting], names: list[str]) -> list[Setting]:
    def matches(one: Setting, name: str) -> bool:
        return one.name == name or one.name.startswith(f"{name}.")

    for name in names:
        if not any(matches(one, name) for one in settings):
            sections = sorted({one.name.split(".")[0] for one in settings})
            raise UserError(f"setting {name!r} does not exist; sections: {', '.join(sections)}")
    return [one for one in settings if not names or any(matches(one, name) for name in names)]


def _remember(settings: Settings) -> None:
    from assets.passes.lock import lock_home

    with lock_home(settings.home, settings.store.root):
        save_config(settings)


def _text(setting: Setting, origin: str) -> str:
    limits = f"; must {setting.bounds}" if setting.bounds else ""
    sentence = textwrap.fill(
        f"{setting.sentence} ({setting.type}{limits})", _WIDTH, initial_indent="    ", subsequent_indent="    "
    )
    value, default = (json.dumps(_hidden(value), ensure_ascii=False) for value in (setting.value, setting.default))
    note = "" if setting.value == setting.default else f", preset has {default}"
    return f"{setting.name} = {value}  [{origin}{note}]\n{sentence}"


def _hidden(value: object) -> object:
    """Return a setting's value with `***` in place of passwords and queries of its addresses."""
    return shown_values(value, lambda text: shown_text(text, mark="***"))
