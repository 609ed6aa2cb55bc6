"""The resource that every asset asks for: which root, which configuration, which local home."""

import os
from pathlib import Path

import dagster as dg
from pydantic import Field

from assets.settings import Settings, load_settings

# the checkout (or installation) that this file belongs to; `make demo` keeps its root there
CHECKOUT = Path(__file__).resolve().parents[2]


class Lampworks(dg.ConfigurableResource["Lampworks"]):
    """A root of Lampworks. Empty fields mean the environment, which `lampworks ui` and the driver set.

    Nothing is read or opened before an asset runs, so the definitions load anywhere and at once.
    """

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

    def settings(self) -> Settings:
        """Return store, configuration and home; UserError names what is wrong."""
        config = self.config or os.environ.get("LAMPWORKS_CONFIG") or None
        return load_settings(
            self.root or default_root(),
            config=config,
            source=self.source or None,
            home=self.home or None,
            # whoever set the variable looked at the store already
            recall=config is None,
        )


def default_root() -> str:
    """Return the root that is meant when nobody names one."""
    named = os.environ.get("LAMPWORKS_ROOT")
    if named:
        return named
    dagster_home = os.environ.get("DAGSTER_HOME")
    if dagster_home:
        place = Path(dagster_home).parent
        if (place / "config.yaml").is_file() and (place / "tables").is_dir():
            return str(place)
    return str(CHECKOUT / "lampworks-data")
