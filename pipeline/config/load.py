"""Read a configuration from YAML over a preset; a wrong field is refused with its name, its value and the fix."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.config import Config
from pipeline.config.presets import preset
from pipeline.config.renamed import with_present_names
from pipeline.config.section import Bounds, bounds_of
from pipeline.config.yaml_file import parse_yaml, read_yaml_file
from pipeline.errors import UserError

_SHOWN = 200
"""Characters of a wrong value that an error shows."""
_INNER = re.compile(r"(stack|optimizer)\.")
"""How a section that lies in others, and cannot know in which, begins what it says of its fields."""
_BOUNDS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "multiple_of"}
"""Types of pydantic's errors whose sentence `Bounds` writes, the same as for a section built in Python."""
_IDS = ("training.start_from", "training.go_on")
"""Settings whose values are ids: one of digits alone is no number."""


def load_config(path: str | Path | None, *, base: str = "platformers", **overrides: Any) -> Config:
    """Return the configuration of a YAML file over its preset (`base` where the file names none).

    Args:
        path: the YAML file, or None for the preset alone.
        base: the preset where neither the overrides nor the file have a `preset` field.
        **overrides: nested values that win over the file, as `source={"spec": "folder:videos"}`.

    Raises:
        UserError: the file cannot be read, or names a field that does not exist, or a value that its field refuses.
            The message names each wrong field, its value and the fix:

                configuration 'lampworks.yaml' has wrong fields:
                  clips.crf = 'sharp': Input should be a valid integer, unable to parse string as an integer
                  labels.queue_size = 0: must be at least 1
    """
    values = {} if path is None else read_yaml_file(path)
    start = dataclasses.asdict(preset(str(overrides.get("preset", values.get("preset", base)))))
    where = f"configuration {str(path)!r}" if path is not None else "configuration"
    merged = _merged(start, values, where, "")
    if not overrides:
        return parse_config(merged, where)
    over = f"{where} with settings given over it"
    return parse_config(_merged(merged, overrides, over, ""), over)


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """Return assignments such as `clips.crf=23` as nested values for `load_config`; a later one wins.

    What follows the first `=` is YAML: `source.queries=[tux, "any%"]`, `play.top_k=0`, `source.apply_rules=null`.
    Whether such a setting exists, and takes that value, is for `load_config` to check.

    Raises:
        UserError: an assignment names no setting, or its value is not YAML.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        *sections, field = [part.strip() for part in name.split(".")]
        if not equals or not all((*sections, field)):
            raise UserError(f"setting {assignment!r}: write NAME=VALUE, as clips.crf=23")
        value = parse_yaml(text, f"setting {assignment[:_SHOWN]!r}: the value")
        if name.strip() in _IDS and isinstance(value, int | float):
            value = text.strip()
        place = values
        for section in sections:
            inner = place.get(section)
            place[section] = place = inner if isinstance(inner, dict) else {}
        place[field] = value
    return values


def parse_config(values: Mapping[str, Any], where: str = "configuration") -> Config:
    """Return the checked configuration; UserError names every wrong field, its value and what is wrong."""
    try:
        return _checker().validate_python(dict(values))
    except ValidationError as exc:
        raise UserError(f"{where} has wrong fields:\n" + "\n".join(map(_wrong_field, exc.errors()))) from exc


@functools.cache
def _checker() -> TypeAdapter[Config]:
    """Return what checks a configuration: made once, since that takes longer than reading one."""
    return TypeAdapter(Config)


def _wrong_field(error: ErrorDetails) -> str:
    name, message = ".".join(map(str, error["loc"])), error["msg"]
    if error["type"] == "value_error":
        # a section's own check: its message names the field, and the fields beside it may hold a password
        message = message.removeprefix("Value error, ")
        # one kind of section in several places, as `stack`: say which one it is
        inner = _INNER.match(message)
        if inner and len(error["loc"]) > 1:
            message = re.sub(rf"\b{inner[1]}\.", f"{name}.", message)
        return f"  {message}"
    if error["type"] in _BOUNDS:
        message = f"must {_bounds_at(error['loc'])}"
    if error["type"] == "tuple_type":
        message = "must be a list in brackets, as [one, two]"
    if error["type"] == "too_short":
        message = f"must name at least {error['ctx']['min_length']} of those it may name"
    value = "a mapping" if isinstance(error["input"], dict) else _shown(error["input"])
    return f"  {name} = {value}: {message}"


def _shown(value: object) -> str:
    """Return a wrong value as an error shows it: on one line, without control characters, and not without end."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _bounds_at(place: tuple[int | str, ...]) -> Bounds:
    """Return the bounds of the field at `("tokenizer", "encoder", "layers")`."""
    section: Any = Config
    *sections, field = map(str, place)
    for name in sections:
        section = typing.get_type_hints(section)[name]
    return bounds_of(section)[field]


def _merged(base: dict[str, Any], changes: Mapping[str, Any], where: str, prefix: str) -> dict[str, Any]:
    result = dict(base)
    for name, value in changes.items():
        if name not in base:
            close = difflib.get_close_matches(str(name), base, n=1)
            hint = f"did you mean {prefix}{close[0]}?" if close else f"known here: {', '.join(sorted(base))}"
            field = f"{prefix}{name}" if str(name).isprintable() else f"{prefix}{_shown(name)}"
            raise UserError(f"{where}: unknown field {field} = {_shown(value)}; {hint}")
        if isinstance(base[name], dict) and isinstance(value, Mapping):
            value = with_present_names(f"{prefix}{name}", value, where)
            value = _merged(base[name], value, where, f"{prefix}{name}.")
        result[name] = value
    return result
