"""How much one answer of a stranger's server may take: seconds from its request to its last byte, and bytes.

The seconds hold for all of a request: name, connection, TLS, headers, redirects, body. A server that sends a byte now
and then never runs into a limit on silence. The bytes hold on the wire and again after decoding, because a compressed
answer of a few kilobytes may unpack to gigabytes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from pipeline.errors import PermanentError, RetryableError

_CHECKED_BYTES = 16 << 20


class Allowance:
    """What is left of one answer's seconds and bytes."""

    def __init__(
        self,
        what: str,
        *,
        seconds: float | None,
        size: int | None,
        until: float | None = None,
        check: Callable[[], None] | None = None,
    ) -> None:
        """Start the clock.

        Args:
            what: for messages: `a page`, `a picture`.
            seconds: from now; None: no limit.
            size: bytes on the wire, and bytes after decoding; None: no limit.
            until: an earlier end, in seconds of the monotonic clock.
            check: called after every 16 MB of the body; what it raises ends the answer.
        """
        self.what, self.size, self.check = what, size, check
        now = time.monotonic()
        self.seconds = seconds
        if until is not None:
            self.seconds = until - now if seconds is None else min(seconds, until - now)
        self.end = None if self.seconds is None else now + self.seconds
        self.on_wire = self.decoded = 0

    def seconds_left(self) -> float | None:
        """Return the seconds that are left; None without a limit.

        Raises:
            RetryableError: none are.
        """
        if self.end is None:
            return None
        left = self.end - time.monotonic()
        if left <= 0:
            raise self.too_slow()
        return left

    def too_slow(self) -> RetryableError:
        """Return the error of an answer that took too long."""
        return RetryableError(
            f"{self.what} that took longer than {max(self.seconds or 0, 0):.3g} s", error_class="transient"
        )

    def too_large(self) -> PermanentError:
        """Return the error of an answer that is too large."""
        size = self.size or 0
        text = f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} kB"
        return PermanentError(f"{self.what} larger than {text}", error_class="permanent")

    def count_on_wire(self, size: int) -> None:
        """Count bytes that arrived, headers included; PermanentError where they are too many."""
        self.on_wire += size
        # headers and the frame of an encoding come on top of what is decoded
        if self.size is not None and self.on_wire > self.size + (1 << 20):
            raise self.too_large()


class Watch(threading.local):
    """The allowance that the sockets of a client use now, by thread; None: no limit but their own timeouts."""

    allowance: Allowance | None = None


class BoundedBody:
    """The body of an answer as urllib3 reads it, ended by an error where it is too large or too slow."""

    def __init__(self, body: Any, allowance: Allowance, watch: Watch) -> None:
        self.body, self.allowance, self.watch = body, allowance, watch

    def read(self, size: int | None = None, **how: Any) -> bytes:
        """Read at most `size` decoded bytes, like the body; PermanentError or RetryableError past the allowance."""
        allowance = self.allowance
        # another answer may have been begun meanwhile
        self.watch.allowance = allowance
        if allowance.size is not None:
            # one more than may come, so that an end is told from a limit
            most = allowance.size - allowance.decoded + 1
            size = most if size is None or size < 0 else min(size, most)
        try:
            allowance.seconds_left()
            part = bytes(self.body.read(size, **how))
            allowance.decoded += len(part)
            if allowance.size is not None and allowance.decoded > allowance.size:
                raise allowance.too_large()
            checked = (allowance.decoded - len(part)) // _CHECKED_BYTES
            if allowance.check and allowance.decoded // _CHECKED_BYTES > checked:
                allowance.check()
        except (PermanentError, RetryableError):
            self.body.close()
            raise
        return part

    def __getattr__(self, name: str) -> Any:
        return getattr(self.body, name)
