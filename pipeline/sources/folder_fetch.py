"""Bring one file of a folder, or one object of a prefix, into the folder of an attempt."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote_to_bytes

from pipeline.errors import PermanentError, RetryableError, StoreError
from pipeline.regular_file import OddFileError, open_regular
from pipeline.sources.endings import is_video_name
from pipeline.storage.store import Store

# another rule for this object, or it lies in an archive, unless so it is with others; all else holds for all objects
_OF_ONE_OBJECT = frozenset({"AccessDenied", "Forbidden", "InvalidObjectState"})
_MOST_PROBED = 5


def path_of(url: str) -> Path:
    """Return the path that a folder video's `url` names."""
    if url.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(url.removeprefix("file://"))))
    return Path(url)


def is_remote(url: str) -> bool:
    """Tell whether a folder, or a folder video's `url`, lies in an object store."""
    return "://" in url and not url.startswith("file:")


def real_path(path: Path) -> Path:
    """Return a path without links; `Path.resolve` would raise for a link to itself."""
    return Path(os.path.realpath(path))


def fetch_object(url: str, target: Path, options: Mapping[str, str], folder: str) -> None:
    """Copy an object of a folder to a local path.

    Raises:
        PermanentError: it is gone.
        RetryableError: the object store does not give this object now.
        StoreError: the object store is away, or refuses everything: no video is at fault.
    """
    parent, _, name = url.rpartition("/")
    try:
        Store(parent, options).copy_to(name, target)
    except FileNotFoundError as error:
        raise PermanentError("the file is gone from its folder", error_class="permanent") from error
    except StoreError as error:
        raise trouble_of(error, url, folder, options) from None
    except Exception as error:  # each object store has its own exceptions for "not now"
        raise RetryableError(f"{type(error).__name__}: {error}", error_class="transient") from error


def trouble_of(error: StoreError, url: str, folder: str, options: Mapping[str, str]) -> Exception:
    """Return the error itself, which ends the work, or that of one video where the store refuses one object alone.

    Args:
        error: what the store said of the object.
        url: of the object.
        folder: address of the prefix that it is in.
        options: of the store.
    """
    if error.code not in _OF_ONE_OBJECT or _gives_nothing(folder, options, url):
        return error
    return RetryableError(str(error), error_class="transient")


def _gives_nothing(folder: str, options: Mapping[str, str], refused: str) -> bool:
    """Tell whether an object store refuses the folder of an object that it refused, as far as a few others show.

    Args:
        folder: address of the prefix.
        options: of the store.
        refused: address of the object; where it is the only one, nothing is known of the folder.
    """
    store = Store(folder, options)
    try:
        sizes = store.stat_blobs("")
    except StoreError:
        return True
    others = [key for key, about in sizes.items() if about.size and is_video_name(key) and store.url(key) != refused]
    # from all over it: the first ones may lie in one folder, which has a rule of its own
    probed = others[:: max(1, -(-len(others) // _MOST_PROBED))]
    for key in probed:
        try:
            store.read_range(key, 0, 1)
        except StoreError:
            continue
        except (FileNotFoundError, EOFError):
            pass  # it is gone meanwhile, and was not refused
        return False
    return bool(probed)


def link_file(path: Path, target: Path) -> None:
    """Link a regular file to a new name, or copy it where it cannot be linked.

    Raises:
        PermanentError: it is gone, or no regular file.
        OSError: this machine cannot read it now.
    """
    try:
        with open_regular(path) as file:
            if _linked(path, target, os.fstat(file.fileno())):
                return
            # as much as there was when it was opened: some files of a system have no end
            left = os.fstat(file.fileno()).st_size
            with target.open("wb") as copy:
                while left > 0 and (part := file.read(min(left, 1 << 20))):
                    copy.write(part)
                    left -= len(part)
    except OddFileError as error:
        raise PermanentError(str(error.strerror), error_class="invalid_media") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PermanentError("the file is gone from its folder", error_class="permanent") from error
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise PermanentError(str(error.strerror), error_class="invalid_media") from error


def _linked(path: Path, target: Path, opened: os.stat_result) -> bool:
    """Return whether the file that was opened could be linked to a new name."""
    try:
        os.link(path, target)
    except OSError:  # another file system, or one without links
        return False
    if os.path.samestat(target.lstat(), opened):
        return True
    target.unlink()  # the name was given to another file meanwhile
    return False
