"""Sections of the configuration as fields of Dagster's launchpad, each with its sentence and bounds.

    dg.Field(fields_of(DynamicsConfig), is_required=False)

No field has a default: what is not written there stays as the root has it. The launchpad completes the names, and
checks names and types before a run starts; bounds, and what depends on two fields, are checked as for a file.
"""

import dataclasses
import types
import typing
from typing import Any

import dagster as dg

from pipeline.config.describe import sentences_of
from pipeline.config.section import bounds_of


def fields_of(section: Any, name: str = "") -> dict[str, dg.Field]:
    """Return the fields of a section of the configuration, those of the sections in it included.

    Args:
        section: a dataclass.
        name: dotted name of the section; "" takes its own.
    """
    name = name or section.section_name
    hints, bounds, sentences = typing.get_type_hints(section), bounds_of(section), sentences_of(section)
    found = {}
    for field in dataclasses.fields(section):
        hint, sentence = hints[field.name], sentences[field.name]
        if dataclasses.is_dataclass(hint):
            schema: Any = fields_of(hint, f"{name}.{field.name}")
        else:
            schema = _type_of(hint, f"{name}.{field.name}")
            if field.name in bounds:
                sentence = f"{sentence} Must {bounds[field.name]}."
        found[field.name] = dg.Field(schema, is_required=False, description=sentence)
    return found


def _type_of(hint: Any, name: str) -> Any:
    """Return Dagster's type of a setting; its own ones read no environment variables."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        # Dagster knows the types of a job by their names
        return dg.Enum(name.replace(".", "_"), [dg.EnumValue(value) for value in parts])
    if origin in (types.UnionType, typing.Union):
        (inner,) = (part for part in parts if part is not type(None))
        return dg.Noneable(_type_of(inner, name))
    if origin is tuple:
        return [_type_of(parts[0], name)]
    return hint
