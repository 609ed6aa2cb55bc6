"""A section of the configuration: a frozen dataclass whose annotations state the bounds of its fields.

    @dataclass(frozen=True, kw_only=True)
    class ShardConfig(Section, name="shards"):
        samples_per_shard: Count = 512
        seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

The bounds hold twice, and read the same. Where a configuration is parsed from YAML, pydantic checks the types and
bounds of all fields, and every wrong field is reported at once. Where Python builds a section
(`dataclasses.replace(config.shards, samples_per_shard=0)`), `Section` checks the bounds and raises for the first wrong
field. An error names the field, its value and what the value must be:

    shards.samples_per_shard = 0: must be at least 1

What depends on two fields, or is no plain bound, is a check in the section's own `__post_init__`.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic.fields import FieldInfo

from pipeline.errors import UserError

_MOST_SECONDS = 1_000_000_000
"""Thirty years."""
Count = Annotated[int, Field(ge=1)]
"""A number of things, of which there is at least one."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole."""


@dataclass(frozen=True)
class Bounds:
    """What the value of a field must be."""

    ge: float | None = None
    """Lowest value."""
    gt: float | None = None
    """Below the lowest value."""
    le: float | None = None
    """Highest value."""
    lt: float | None = None
    """Above the highest value."""
    multiple_of: float | None = None
    """Divides every value."""

    def hold(self, value: float) -> bool:
        """Tell whether a value lies inside; NaN lies outside of any bound."""
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
            and (self.multiple_of is None or value % self.multiple_of == 0)
        )

    def __str__(self) -> str:
        """Return what stands after "must": `be at least 1`, `lie between 0 and 51`."""
        if self.ge is not None and self.le is not None:
            return f"lie between {self.ge} and {self.le}"
        if self.gt is not None and self.lt is not None:
            return f"lie between {self.gt} and {self.lt}, both excluded"
        words = {
            "at least": self.ge, "above": self.gt, "at most": self.le, "below": self.lt,
            "a multiple of": self.multiple_of,
        }  # fmt: skip
        return "be " + " and ".join(f"{word} {value}" for word, value in words.items() if value is not None)


_NAMES = [field.name for field in dataclasses.fields(Bounds)]


class Section:
    """Base of the sections: refuses unknown fields, and values outside of the bounds that annotations state."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    section_name: ClassVar[str]
    """How errors call the section."""

    def __init_subclass__(cls, *, name: str) -> None:
        cls.section_name = name

    def __post_init__(self) -> None:
        cls: Any = type(self)  # mypy holds a class for unhashable
        for field, bounds in bounds_of(cls).items():
            value = getattr(self, field)
            if value is not None and not bounds.hold(value):
                raise UserError(f"{self.section_name}.{field} = {value!r}: must {bounds}")
        for field, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"{self.section_name}.{field} = {value!r}: must be a finite number")
            if field.endswith("_s") and isinstance(value, int | float) and value > _MOST_SECONDS:
                # clocks, sockets and dates cannot hold much more
                raise UserError(f"{self.section_name}.{field} = {value!r}: must be at most {_MOST_SECONDS} seconds")


@cache
def bounds_of(section: type) -> Mapping[str, Bounds]:
    """Return the bounds of those fields of a dataclass that state any."""
    hints = typing.get_type_hints(section, include_extras=True)
    found = {field: Bounds(**dict(_constraints(hint))) for field, hint in hints.items()}
    return {field: bounds for field, bounds in found.items() if bounds != Bounds()}


def _constraints(hint: Any) -> Iterator[tuple[str, Any]]:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        for part in typing.get_args(hint):
            yield from _constraints(part)
    for extra in getattr(hint, "__metadata__", ()):
        for one in extra.metadata if isinstance(extra, FieldInfo) else (extra,):
            yield from ((name, getattr(one, name)) for name in _NAMES if hasattr(one, name))
