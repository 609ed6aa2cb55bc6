"""The root of a store: a folder or an fsspec URL, and the options that fsspec and delta-rs need to reach it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

from pipeline.errors import UserError

# delta-rs decodes percent signs twice, takes backslashes for slashes and panics on brackets (seen on 1.6.6)
_BAD_ROOT = frozenset("%\\[]|^")
_SHOWN = 120
_DELTA_NAMES = {
    "key": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "region": "AWS_REGION",
}


class Root:
    """Where a store lies. Cheap to make, safe to pickle into worker processes."""

    def __init__(self, root: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        """Open a root without creating it.

        Args:
            root: a folder, or an fsspec URL such as `s3://bucket/prefix`.
            storage_options: `key`, `secret`, `token`, `endpoint_url`, `region` for S3; empty means that fsspec and
                delta-rs look in the environment.

        Raises:
            UserError: delta-rs cannot handle the folder's name.
        """
        text = str(root)
        self.storage_options = dict(storage_options or {})
        self.is_local = "://" not in text or text.startswith("file:")
        if self.is_local:
            path = Path(text.removeprefix("file://").removeprefix("file:")).expanduser()
            self.root = str(path.absolute())
            bad = sorted({repr(letter) for letter in self.root if letter in _BAD_ROOT or not letter.isprintable()})
            if bad:
                raise UserError(f"store root {self.root!r} contains {', '.join(bad)}: choose another with --root.")
            self._fs = fsspec.filesystem("file")
        else:
            self.root = text.rstrip("/")
            self._fs = fsspec.filesystem(text.split("://", 1)[0], **_fsspec_options(self.storage_options))

    def __reduce__(self) -> tuple[type[Root], tuple[str, dict[str, str]]]:
        # an open fsspec file system is not sent to workers: each opens its own
        return type(self), (self.root, self.storage_options)

    def url(self, key: str) -> str:
        """Return the full path or URL of a key. Every read and write of a blob or a table goes through here.

        Raises:
            UserError: the key would leave the root. Keys come from rows, and who can write a row must not be able to
                have other files of this machine read, copied into a report, or deleted.
        """
        why = _why_outside(key)
        if why:
            shown = repr(key if len(str(key)) <= _SHOWN else f"{str(key)[:_SHOWN]}...")
            raise UserError(
                f"{shown} names no file of root {self.root!r} (a key is relative to the root, and this one {why}): the "
                "row that names it is damaged or forged. `lampworks doctor --deep` says which row it is."
            )
        return f"{self.root}/{key}"

    def _delta_options(self) -> dict[str, str] | None:
        """Return what delta-rs needs to reach the root; None for a folder."""
        if self.is_local:
            return None
        options = {_DELTA_NAMES[key]: value for key, value in self.storage_options.items() if key in _DELTA_NAMES}
        if options.get("AWS_ENDPOINT_URL", "").startswith("http:"):
            options["AWS_ALLOW_HTTP"] = "true"
        # conditional PUT makes a commit atomic without a lock table (S3 itself and its emulators support it)
        options["conditional_put"] = "etag"
        return options


def _why_outside(key: object) -> str:
    """Return in what way a key would leave the root; "" where it does not."""
    if not isinstance(key, str):
        return "is no text"
    if key.startswith("/"):
        return "is absolute"
    if ".." in key.split("/"):
        return "contains '..'"
    if "://" in key:
        return "names another store"
    return "contains a zero byte" if "\0" in key else ""


def _fsspec_options(storage_options: Mapping[str, str]) -> dict[str, Any]:
    client = {
        "endpoint_url": storage_options.get("endpoint_url"),
        "region_name": storage_options.get("region"),
    }
    return {
        **{key: value for key, value in storage_options.items() if key in {"key", "secret", "token"}},
        "client_kwargs": {key: value for key, value in client.items() if value},
    }
