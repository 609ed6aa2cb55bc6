"""Bounds of settings, with an error that names the field, its value and the bound."""

from __future__ import annotations

from pipeline.errors import UserError


def at_least(section: str, minimum: float, **values: float) -> None:
    """Raise UserError where a value is below the minimum."""
    for name, value in values.items():
        if value < minimum:
            raise UserError(f"{section}.{name} = {value}: must be at least {minimum}")
