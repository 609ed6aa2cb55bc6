"""List every setting with its value, its preset's value, its type and the sentence that stands under its field.

for setting in describe_settings(load_config("lampworks.yaml")):
print(setting.name, setting.value, setting.sentence)  # clips.crf 23 H.264 quality ...
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pipeline.config.config import Config
from pipeline.config.presets import preset
from pipeline.config.section import bounds_of


@dataclass(frozen=True)
class Setting:
    """One field of the configuration."""

    name: str
    """Dotted, as `--set` takes it: `tokenizer.encoder.layers`."""
    value: object
    """As configured: a number, a text, a bool, a tuple or None."""
    default: object
    """The value in the preset that the configuration starts from."""
    type: str
    """For people: `int`, `list of str`, `float or unset`, `pad | crop | stretch`."""
    bounds: str
    """What the value must do, as `be at least 1`; empty where the type says it all."""
    sentence: str
    """What the setting does, on one line."""
    unit: str
    """Of a number, where its name tells it: `seconds`, `GB`, `pixels`; else empty."""


_UNITS = {
    "kB/s": r".*_kb_s$",
    "seconds": r"(.*_)?(s|seconds)$",
    "MB": r".*_mb$",
    "GB": r".*_gb$",
    "pixels": r"(.*_)?(width|height|patch)$",
    "frames per second": r"fps$",
    "frames": r"(.*_)?(frames|gop|window|context|horizon|stride)$",
    "steps": r"(.*_)?(steps|every)$",
    "share": r".*_(share|tolerance|precision)$",
}
"""Units by the end of a field's name; the first that fits."""
_NO_UNIT = {"classifier.width"}
"""Fields whose names end alike and mean something else: channels of a network."""


def unit_of(name: str, kind: str) -> str:
    """Return the unit of a setting by its dotted name and its type; empty where the number is a plain count."""
    if name in _NO_UNIT or not kind.startswith(("int", "float")):
        return ""
    field = name.rpartition(".")[2]
    return next((unit for unit, pattern in _UNITS.items() if re.match(pattern, field)), "")


def describe_settings(config: Config) -> list[Setting]:
    """Return all settings of a configuration, in the order in which the sections state them."""
    return list(_described(config, preset(config.preset), ""))


def _described(section: Any, default: Any, prefix: str) -> Iterator[Setting]:
    cls: Any = type(section)
    hints, bounds, sentences = typing.get_type_hints(cls), bounds_of(cls), sentences_of(cls)
    for field in dataclasses.fields(section):
        name, value = field.name, getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from _described(value, getattr(default, name), f"{prefix}{name}.")
        else:
            yield Setting(
                name=prefix + name,
                value=value,
                default=getattr(default, name),
                type=_type_name(hints[name]),
                bounds=str(bounds[name]) if name in bounds else "",
                sentence=sentences[name],
                unit=unit_of(prefix + name, _type_name(hints[name])),
            )


def _type_name(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " | ".join(map(str, parts))
    if origin in (types.UnionType, typing.Union):
        return " or ".join("unset" if part is type(None) else _type_name(part) for part in parts)
    if origin is tuple:
        return f"list of {_type_name(parts[0])}"
    return str(hint.__name__)


@cache
def sentences_of(section: Any) -> dict[str, str]:
    """Return the docstring under each field of a dataclass and of those it inherits from, each on one line."""
    found: dict[str, str] = {}
    classes: list[type[Any]] = [cls for cls in reversed(section.__mro__) if "__dataclass_fields__" in vars(cls)]
    for cls in classes:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
        assert isinstance(tree, ast.ClassDef)
        for field, after in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                assert isinstance(after, ast.Expr), f"{cls.__name__}.{field.target.id} has no sentence"
                found[field.target.id] = " ".join(str(ast.literal_eval(after.value)).split())
    return found
