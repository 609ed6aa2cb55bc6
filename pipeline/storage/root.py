"""The root of a store: a folder or an fsspec URL, and the options that fsspec and delta-rs need to reach it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

from pipeline.errors import UserError

# delta-rs decodes percent signs twice, takes backslashes for slashes and panics on brackets (seen on 1.6.6)
_BAD_ROOT = frozenset("%\\[]|^")
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
        """Return the full path or URL of a key; ValueError where it would leave the root."""
        if key.startswith("/") or ".." in key.split("/"):
            raise ValueError(f"blob key {key!r} must be relative to the root and contain no '..'")
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


def _fsspec_options(storage_options: Mapping[str, str]) -> dict[str, Any]:
    client = {
        "endpoint_url": storage_options.get("endpoint_url"),
        "region_name": storage_options.get("region"),
    }
    return {
        **{key: value for key, value in storage_options.items() if key in {"key", "secret", "token"}},
        "client_kwargs": {key: value for key, value in client.items() if value},
    }
