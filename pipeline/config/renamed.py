"""Settings that have a new name: the old one is read for one more version, and ids are made from it forever."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from pipeline.errors import UserError

RENAMED: Mapping[str, Mapping[str, str]] = {
    "latent_actions": {"continuous_start_steps": "unquantized_steps", "joint_rate": "joint_lr_scale"},
}
"""By section: the old name of a setting and its present one."""


def with_present_names(section: str, values: Mapping[str, Any], where: str | None = None) -> dict[str, Any]:
    """Return a section's values under the present names of its settings.

    Args:
        section: its name.
        values: under present or old names.
        where: what names the values in a warning about old names; None reads them without one.

    Raises:
        UserError: a setting is given under both of its names.
    """
    result = dict(values)
    for old, new in RENAMED.get(section, {}).items():
        if old not in result:
            continue
        if new in result:
            raise UserError(f"{where or 'configuration'}: {section}.{old} is the old name of {section}.{new}: drop it")
        if where is not None:
            warnings.warn(
                f"{where}: {section}.{old} is now called {section}.{new}; the next version does not read the old name",
                FutureWarning,
                stacklevel=2,
            )
        result[new] = result.pop(old)
    return result


def with_first_names(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section's values under the names that its settings had first, of which ids are made."""
    first = {new: old for old, new in RENAMED.get(section, {}).items()}
    return {first.get(name, name): value for name, value in values.items()}
