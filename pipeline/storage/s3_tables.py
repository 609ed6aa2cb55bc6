"""What tables need on S3 beside delta-rs: their version in two requests, their commits one by one, patience.

delta-rs reads every commit since the last checkpoint each time that it opens a table, twice, and gives up on some
answers that break. Its `history` keeps the interpreter's lock while it waits for the store.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pipeline.errors import StoreError
from pipeline.storage.s3_files import S3Files
from pipeline.storage.s3_options import MARK_KEY, retry_seconds

_LOG = re.compile(r"(\d{20})\.json")
_LOOKED_THROUGH = 100
_LONGEST_PAUSE_S = 8.0
Made = TypeVar("Made")


class S3Tables:
    """The tables in a folder of a bucket."""

    def __init__(self, files: S3Files, folder: str, storage_options: Mapping[str, str]) -> None:
        """Prepare; `folder` is the URL of `tables`."""
        self._files, self._folder = files, folder
        self._retry_s = retry_seconds(storage_options)

    def version(self, name: str) -> int:
        """Return the version of a table, -1 where there is none."""
        return self.newest(name)[0]

    def newest(self, name: str) -> tuple[int, int]:
        """Return the version of a table and that of its last checkpoint, -1 for what there is none of."""
        log = f"{self._folder}/{name}/_delta_log"
        try:
            last = int(json.loads(self._files.cat_file(f"{log}/_last_checkpoint"))["version"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # it only saves time: all logs are listed
            last = -1
        found = self._files.find(log, after=f"{log}/{last:020d}" if last >= 0 else None)
        names = (path.rsplit("/", 1)[-1] for path in found)
        return max((int(match[1]) for one in names if (match := _LOG.fullmatch(one))), default=last), last

    def commits(self, name: str, version: int, most: int) -> Iterator[dict[str, Any]]:
        """Yield what the newest commits say of themselves, the newest first, as far as their logs are there."""
        for number in range(version, max(-1, version - most), -1):
            try:
                log = self._files.cat_file(f"{self._folder}/{name}/_delta_log/{number:020d}.json")
            except FileNotFoundError:
                return
            for line in log.splitlines():
                action = json.loads(line)
                if "commitInfo" in action:
                    yield {**action["commitInfo"], "version": number}

    def patiently(self, work: Callable[[], Made]) -> Made:
        """Return what `work` returns; call it again while the store has trouble that may pass."""
        end, number = time.monotonic() + self._retry_s, 0
        while True:
            try:
                return work()
            except StoreError as exc:
                self._pause(exc, end, number)
            number += 1

    def commit(self, name: str, work: Callable[[], None], mark: str | None) -> None:
        """Make a commit; again where the store had trouble, unless the table holds it: its mark is looked for."""
        tried = False

        def once() -> None:
            nonlocal tried
            if tried and mark is not None and self.marked(name, mark) is not None:
                return
            tried = True
            work()

        self.patiently(once)

    def marked(self, name: str, mark: str) -> dict[str, Any] | None:
        """Return what the commit with a mark says of itself; None where none of the newest commits has it."""
        found = self.commits(name, self.version(name), _LOOKED_THROUGH)
        return next((one for one in found if one.get(MARK_KEY) == mark), None)

    def _pause(self, exc: StoreError, end: float, number: int) -> None:
        """Wait before another try; raise the error where no time is left, or none would help."""
        pause = random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE_S, 0.1 * 2**number)
        if not exc.passing or time.monotonic() + pause > end:
            raise exc
        time.sleep(pause)
