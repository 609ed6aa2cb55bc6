"""The resource that every asset asks for: which root, which configuration, which local home.

In a run of the driver it holds the driver's own settings. In a run that Dagster starts (`lampworks ui`, the schedule,
the sensor) it reads them from the environment.
"""

import os
import shlex
from pathlib import Path

import dagster as dg
from pydantic import Field, PrivateAttr

from assets.settings import Settings, load_settings

# the checkout (or installation) that this file belongs to; `make demo` keeps its root there
CHECKOUT = Path(__file__).resolve().parents[2]


class Lampworks(dg.ConfigurableResource["Lampworks"]):
    """The root that this Dagster was started on, with its configuration and its local home.

    A run cannot choose another one: `lampworks ui --root DIR` opens a root, and `--config FILE`, `--home DIR` and
    `--storage-options` belong to it. Nothing is read or opened before an asset runs, so the definitions load anywhere
    and at once.
    """

    _settings: Settings | None = PrivateAttr(default=None)

    source: str = Field(
        default="", description="arcade, folder:DIR, urls:FILE or youtube. Empty: LAMPWORKS_SOURCE, else as configured."
    )

    @classmethod
    def of(cls, settings: Settings) -> "Lampworks":
        """Return the resource that holds these settings and reads neither the environment nor a file."""
        resource = cls()
        resource._settings = settings
        return resource

    def settings(self) -> Settings:
        """Return store, configuration and home; UserError names what is wrong."""
        if self._settings is not None:
            return self._settings
        config = os.environ.get("LAMPWORKS_CONFIG") or None
        return load_settings(
            default_root(),
            config=config,
            source=self.source or None,
            # `lampworks ui`, which sets the variable, has read the store's own copy already
            recall=config is None,
        )


def resource_of(settings: Settings) -> dg.ResourceDefinition:
    """Return the resource of a run in this process with these settings."""
    # hardcoded: Dagster rebuilds a ConfigurableResource from its public fields and would drop the settings
    return dg.ResourceDefinition.hardcoded_resource(Lampworks.of(settings))


def default_root() -> str:
    """Return the root to use when none is named."""
    named = os.environ.get("LAMPWORKS_ROOT")
    if named:
        return named
    dagster_home = os.environ.get("DAGSTER_HOME")
    if dagster_home:
        place = Path(dagster_home).parent
        if (place / "config.yaml").is_file() and (place / "tables").is_dir():
            return str(place)
    return str(CHECKOUT / "lampworks-data")


def how_to_open_a_root() -> str | None:
    """Return what to say where nothing names a root and runs would work on the default one; None where one is named."""
    root = str(CHECKOUT / "lampworks-data")
    if os.environ.get("LAMPWORKS_ROOT") or default_root() != root:
        return None
    return (
        f"No root is named: runs work on {root}, and their history is kept apart from it. Stop this Dagster and open "
        f"a root with `lampworks ui --root {shlex.quote(root)}`, or set LAMPWORKS_ROOT and DAGSTER_HOME."
    )
