"""The root of a store: a folder or an fsspec URL, and the options that fsspec and delta-rs need to reach it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec

from pipeline.errors import UserError
from pipeline.outside import shown_url
from pipeline.storage.s3_options import SCHEMES, delta_options

if TYPE_CHECKING:
    from pipeline.storage.s3_files import S3Files

# delta-rs decodes percent signs twice, takes backslashes for slashes and panics on brackets (seen on 1.6.6)
_BAD_ROOT = frozenset("%\\[]|^")
_SHOWN = 120
_LONGEST_NAME, _LONGEST_PATH = 255, 3500


class Root:
    """Where a store lies. Cheap to make, safe to pickle into worker processes."""

    def __init__(self, root: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        """Open a root without creating it.

        Args:
            root: a folder, or an fsspec URL such as `s3://bucket/prefix`.
            storage_options: `key`, `secret`, `token`, `endpoint_url`, `region` for S3, and `retry_s`, for how many
                seconds a request is tried again while the store has trouble (60); empty means that the clients look
                in the environment.

        Raises:
            UserError: no folder can have this name, delta-rs cannot handle it, or fsspec cannot open this kind of URL.
        """
        text = str(root)
        self.storage_options = dict(storage_options or {})
        self._fs: Any
        self._s3: S3Files | None = None
        self.is_local = "://" not in text or text.startswith("file:")
        if self.is_local:
            path = Path(text.removeprefix("file://").removeprefix("file:")).expanduser()
            self.root = str(path.absolute())
            bad = sorted({repr(letter) for letter in self.root if letter in _BAD_ROOT or not letter.isprintable()})
            if bad:
                raise UserError(f"store root {self.root!r} contains {', '.join(bad)}: choose another with --root.")
            _check_length(self.root)
            self._fs = fsspec.filesystem("file")
        else:
            self.root = text.rstrip("/")
            kind = text.split("://", 1)[0]
            if text.startswith(SCHEMES):
                from pipeline.storage.s3_files import S3Files  # its client takes 0.2 s, which a folder does not need

                self._fs = self._s3 = S3Files(self.root, self.storage_options)
                return
            try:
                self._fs = fsspec.filesystem(kind, **_fsspec_options(self.storage_options))
            except (ValueError, ImportError, TypeError) as error:  # unknown, not installed, needs more than a root has
                raise UserError(
                    f"store root {_short(shown_url(text))}: {kind[:_SHOWN]!r} roots cannot be opened ({error}); name a "
                    "folder or s3://BUCKET/PREFIX with --root."
                ) from error

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
            raise UserError(
                f"{_short(key)} names no file of root {self.root!r} (a key is relative to the root, and this one "
                f"{why}): the row that names it is damaged or forged. `lampworks doctor --deep` says which row it is."
            )
        return f"{self.root}/{key}"

    def _delta_options(self) -> dict[str, str] | None:
        """Return what delta-rs needs to reach the root; None for a folder."""
        return None if self.is_local else delta_options(self.storage_options)


def _check_length(path: str) -> None:
    """Raise UserError where a path, or a name in it, is longer than file systems allow."""
    longest = max(map(len, os.fsencode(path).split(b"/")))
    # names of tables and blobs come behind it
    if longest > _LONGEST_NAME or len(os.fsencode(path)) > _LONGEST_PATH:
        raise UserError(
            f"store root {_short(path)} is too long ({_LONGEST_NAME} bytes for a name, {_LONGEST_PATH} for a path): "
            "choose another with --root."
        )


def _short(value: object) -> str:
    text = value if not isinstance(value, str) or len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
    return repr(text)


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
