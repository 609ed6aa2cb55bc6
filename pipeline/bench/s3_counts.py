"""Count the requests that reach an S3 server, by operation: `S3Proxy` runs the proxy between a store and the server.

with S3Proxy("http://127.0.0.1:9000") as proxy:
store = Store("s3://bucket/prefix", {..., "endpoint_url": proxy.url})
...
proxy.counts()                                                  # {"GET object, blobs": 12, ...}
proxy.faults({"operation": "PUT object", "fault": "reset"})     # and the counts begin anew
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections import Counter
from types import TracebackType
from typing import Self

from pipeline.bench.s3_proxy import Rule, Seen

_TIMEOUT_S = 30.0


class S3Proxy:
    """A proxy in a process of its own, inside of `with`."""

    def __init__(self, upstream: str) -> None:
        """Prepare a proxy in front of a server, an address."""
        self._upstream = upstream
        self.url = ""
        """Its address."""

    def __enter__(self) -> Self:
        program = f"import sys; sys.path[:] = {sys.path!r}; from pipeline.bench.s3_proxy import main; main(sys.argv[1])"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, self._upstream], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the proxy in front of the S3 server could not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=_TIMEOUT_S)

    def faults(self, *rules: Rule) -> None:
        """Make these faults from now on, none without any, and count from 0."""
        self._ask("/-/rules", json.dumps(rules).encode())

    def seen(self) -> list[Seen]:
        """Return the requests that came."""
        found: list[Seen] = json.loads(self._ask("/-/requests"))
        return found

    def counts(self) -> dict[str, int]:
        """Return how many requests came, by operation and what they were of (`GET object, blobs`)."""
        return dict(sorted(Counter(f"{one['operation']}, {one['kind']}" for one in self.seen()).items()))

    def _ask(self, path: str, data: bytes | None = None) -> bytes:
        with urllib.request.urlopen(self.url + path, data, timeout=_TIMEOUT_S) as answer:
            body: bytes = answer.read()
        return body
