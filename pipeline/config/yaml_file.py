"""Read a YAML file of settings that a user named: a regular file, small, in UTF-8, without traps.

PyYAML raises almost any type on odd input (RecursionError on 3,000 brackets, KeyError on `!!bool maybe`, ValueError on
a day that does not exist), lets a later key win over an equal earlier one, and a nest of aliases (`*name`) becomes
billions of values as soon as somebody prints it. Each of these is refused with the file's name and the fix.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import UserError
from pipeline.outside import MAX_INT64
from pipeline.regular_file import read_regular

LARGEST = 1 << 20
"""Bytes of a file of settings; one with every setting takes some 20,000."""
END = "# end"
"""The last line of a file that lampworks wrote."""
ENDS = f"# the last line of this file is `{END}`"
"""A line among the first three of such a file."""
_MOST_VALUES = 20_000
"""Values, those that aliases repeat included."""
_DEEPEST = 50
_TOO_DEEP = f"it is nested more than {_DEEPEST} deep, or an alias (*name) stands for itself: write it flat"
_TOO_MANY = f"it holds more than {_MOST_VALUES} values, aliases (*name) included: write fewer"


class _OddYamlError(ValueError):
    """YAML that could be read and is refused all the same."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses equal keys, keys that are no text, and too much while it is read."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._num_values = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._num_values += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _OddYamlError(_TOO_DEEP)
        if self._num_values > _MOST_VALUES:
            raise _OddYamlError(_TOO_MANY)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            place = f"in line {key_node.start_mark.line + 1}"
            if key_node.tag != "tag:yaml.org,2002:str":
                raise _OddYamlError(
                    f"the key {_shown(key_node)} {place} is no name of a setting: write a name, as `clips:`"
                )
            if key_node.value in seen:
                raise _OddYamlError(f"{key_node.value!r} is set a second time {place}: leave one of the two")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def read_yaml_file(path: str | Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; {} for an empty one.

    Raises:
        UserError: the file cannot be read, is no YAML, or no mapping; the message names it and the fix.
    """
    what = f"configuration {os.fsdecode(path)!r}"
    try:
        data = read_regular(path, LARGEST)
    except OSError as exc:
        raise UserError(f"{what} cannot be read: {exc.strerror or exc}. Name a YAML file of settings.") from exc
    except ValueError as exc:  # a name that no file can have
        raise UserError(f"{what} cannot be read: {exc}. Name a YAML file of settings.") from exc
    return parse_yaml_file(data, what)


def parse_yaml_file(data: bytes, what: str) -> dict[str, Any]:
    """Return the mapping in the bytes of a YAML file; `what` names it in errors."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        kind = " (it looks like UTF-16)" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise UserError(f"{what} is not UTF-8 text{kind}: save it as UTF-8.") from exc
    if ENDS in text.splitlines()[:3] and not text.rstrip().endswith(END):
        # half a file of YAML is a file of YAML: the other settings would change without a word
        raise UserError(f"{what} is cut short: its last line `{END}` is missing. Restore the file, or add the line.")
    values = parse_yaml(text, what)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(
            f"{what} must be a mapping of sections, not {type(values).__name__}: write `clips: {{crf: 23}}`"
        )
    return values


def parse_yaml(text: str, what: str) -> Any:
    """Return the value of a YAML text; UserError, which begins with `what`, for anything that is none or is a trap."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node)
            value = loader.construct_document(node)
            _check_values(value)
            return value
        finally:
            loader.dispose()
    except _OddYamlError as exc:
        raise UserError(f"{what}: {exc}") from exc
    except RecursionError as exc:
        raise UserError(f"{what} is not YAML of settings: it is nested too deeply") from exc
    except yaml.YAMLError as exc:
        raise UserError(f"{what} is not YAML: {exc}") from exc
    except Exception as exc:  # PyYAML's constructors raise any type on odd values
        said = " ".join(str(exc).split())[:200]
        raise UserError(
            f"{what} is not YAML of settings: a value cannot be read ({type(exc).__name__}: {said})"
        ) from exc


def _check_size(root: yaml.Node) -> None:
    """Raise where the values are too many or too deep once each alias is counted as all that it stands for."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        if depth > _DEEPEST:
            raise _OddYamlError(_TOO_DEEP)
        if id(node) not in sizes:
            children = []
            if isinstance(node, yaml.MappingNode):
                children = [child for pair in node.value for child in pair]
            elif isinstance(node, yaml.SequenceNode):
                children = node.value
            sizes[id(node)] = 1 + sum(size(child, depth + 1) for child in children)
            if sizes[id(node)] > _MOST_VALUES:
                raise _OddYamlError(_TOO_MANY)
        return sizes[id(node)]

    size(root, 0)


def _check_values(value: Any) -> None:
    """Raise where a text holds half a surrogate pair, or a whole number is too large to be printed or stored."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_values(key)
            _check_values(inner)
    elif isinstance(value, list | tuple | set):
        for inner in value:
            _check_values(inner)
    elif isinstance(value, int) and not -MAX_INT64 <= value <= MAX_INT64:
        raise _OddYamlError(f"a number of {value.bit_length()} bits is beyond 64 bits: write a smaller one")
    elif isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise _OddYamlError(f"the text {value[:80]!r} is no Unicode: leave out its surrogates") from exc


def _shown(node: yaml.Node) -> str:
    return repr(node.value[:80]) if isinstance(node, yaml.ScalarNode) else "(a list or a mapping)"
