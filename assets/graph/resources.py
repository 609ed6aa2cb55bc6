"""The resource that every asset asks for: which root, which configuration, which local home.

In a run of the driver it holds the driver's own settings. In a run that Dagster starts (`lampworks ui`, the schedule,
the sensor) it reads them from the environment.
"""

import os
from pathlib import Path

import dagster as dg
from pydantic import Field, PrivateAttr

from assets.settings import Settings, load_settings

# the checkout (or installation) that this file belongs to; `make demo` keeps its root there
CHECKOUT = Path(__file__).resolve().parents[2]


class Lampworks(dg.ConfigurableResource["Lampworks"]):
    """A root of Lampworks. Empty fields mean the environment, which `lampworks ui` sets.

    Nothing is read or opened before an asset runs, so the definitions load anywhere and at once.
    """

    _settings: Settings | None = PrivateAttr(default=None)

    root: str = Field(
        default="",
        description="Folder or URL (s3://...) of tables and blobs. Empty: LAMPWORKS_ROOT, else the root that "
        "DAGSTER_HOME belongs to, else lampworks-data beside workspace.yaml.",
    )
    config: str = Field(
        default="", description="YAML file. Empty: LAMPWORKS_CONFIG, else what the root remembers of its last pass."
    )
    source: str = Field(
        default="", description="arcade, folder:DIR, urls:FILE or youtube. Empty: LAMPWORKS_SOURCE, else as configured."
    )
    home: str = Field(default="", description="Folder of local state. Empty: LAMPWORKS_HOME, else the root itself.")

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
        config = self.config or os.environ.get("LAMPWORKS_CONFIG") or None
        return load_settings(
            self.root or default_root(),
            config=config,
            source=self.source or None,
            home=self.home or None,
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
