"""The local home of a root: files that must be on this machine's disk even when the store is on S3.

`dagster/` is DAGSTER_HOME, `arcade/` has the embedded source's recordings, `labels.sqlite` is the labelling journal,
`search.jsonl` the journal of an unfinished search, `limits.sqlite` has the requests to each site, `tensorboard/` the
curves of trainings, `lock` is taken by `run`, `demo` and `ui`, and `tmp/` is scratch space. The home of a root in a
folder is the folder itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.ids import short_hash, slug
from pipeline.storage.store import Store

PICTURES = "pictures"
"""Folder of the pictures of a run, in its folder of event files."""


@dataclass(frozen=True)
class Home:
    """Paths of a root's local state."""

    folder: Path

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME of this root."""
        return self.folder / "dagster"

    @property
    def arcade(self) -> Path:
        """Recordings of the embedded source."""
        return self.folder / "arcade"

    @property
    def journal(self) -> Path:
        """The labelling page's SQLite journal."""
        return self.folder / "labels.sqlite"

    @property
    def search_journal(self) -> Path:
        """Results that an unfinished search has received."""
        return self.folder / "search.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Event files of trainings, one folder a run."""
        return self.folder / "tensorboard"

    @property
    def recipes(self) -> Path:
        """Copies of the recipes that this root was rebuilt from."""
        return self.folder / "recipes"

    @property
    def lock(self) -> Path:
        """The file that a running pass locks."""
        return self.folder / "lock"

    @property
    def limits(self) -> Path:
        """The latest requests to each site, for rate limits (SQLite)."""
        return self.folder / "limits.sqlite"

    @property
    def tmp(self) -> Path:
        """Scratch space for downloads and encodes: a folder per process, see `pipeline.storage.owner`."""
        return self.folder / "tmp"


def home_of(store: Store, folder: str | Path | None = None) -> Home:
    """Return a store's home: `folder` if given, else the root if it is a folder, else one in the working folder."""
    if folder is not None:
        return Home(Path(folder).absolute())
    if store.is_local:
        return Home(Path(store.root))
    return Home(Path(f"lampworks-home-{slug(store.root)}-{short_hash(store.root, 6)}").absolute())
