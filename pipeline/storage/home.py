"""The local home of a root: what must lie on this machine's disk even when the store is on S3.

`dagster/` is DAGSTER_HOME, `arcade/` the embedded source's recordings, `labels.sqlite` the labelling journal,
`search.jsonl` what an unfinished search was told, `lock` the one that `run`, `demo` and `ui` take, `tmp/` scratch. For
a root on a folder the home is the root itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.ids import short_hash, slug
from pipeline.storage.store import Store


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
        """What an unfinished search was told."""
        return self.folder / "search.jsonl"

    @property
    def lock(self) -> Path:
        """The file that a running driver holds a lock on."""
        return self.folder / "lock"

    @property
    def limits(self) -> Path:
        """What this machine asked of each site of late (SQLite)."""
        return self.folder / "limits.sqlite"

    @property
    def tmp(self) -> Path:
        """Scratch for downloads and encodes; swept at start."""
        return self.folder / "tmp"


def home_of(store: Store, folder: str | Path | None = None) -> Home:
    """Return the home of a store: `folder` if given, the root on a folder, else a folder of its own here."""
    if folder is not None:
        return Home(Path(folder).absolute())
    if store.is_local:
        return Home(Path(store.root))
    return Home(Path(f"lampworks-home-{slug(store.root)}-{short_hash(store.root, 6)}").absolute())
