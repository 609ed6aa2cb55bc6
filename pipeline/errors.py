"""Errors by cause: the user, or the outside world (permanent or retryable). Errors of the program are `assert`s."""

from __future__ import annotations

TOO_LONG = "too_long"
RAW_MISSING = "raw_missing"
"""Error class of a cut whose downloaded file is not in the store."""
STORE_TROUBLE = "store_trouble"
"""Error class of `StoreError`."""


class UserError(ValueError):
    """A mistake of the user. The message names the thing, its value and the fix; it is shown without a traceback."""


class PermanentError(Exception):
    """A failure of a site or a file that trying again will not mend; the item is recorded as failed."""

    def __init__(self, message: str, *, error_class: str, http_status: int | None = None) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.http_status = http_status


class RetryableError(Exception):
    """A failure that may pass; the item stays pending until `retry_after_s`, or the usual backoff if that is None."""

    def __init__(
        self, message: str, *, error_class: str, retry_after_s: float | None = None, http_status: int | None = None
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.http_status = http_status
        self.retry_after_s = retry_after_s


class StoreError(Exception):
    """The object store refuses, or does not answer: no item is at fault, none is recorded, and the work stops.

    The message says what the store said and how to go on. It is no OSError and no ValueError on purpose: who takes
    these for a damaged item must not take a store that is away for one.
    """

    error_class = STORE_TROUBLE

    def __init__(self, message: str, *, passing: bool = False, code: str = "") -> None:
        """Say what is wrong.

        Args:
            message: a sentence.
            passing: whether the same may succeed a little later.
            code: as the store names it (`AccessDenied`), where it said something of one request.
        """
        super().__init__(message)
        self.passing, self.code = passing, code


class RejectedError(PermanentError):
    """The video must not be used, as its download showed (`opt_out`, ...); it is recorded as rejected, not failed."""


class TooLongError(RejectedError):
    """The video lasts longer than `download.max_duration_s`."""

    def __init__(self, seconds: float, most_s: float) -> None:
        """Say how long it is.

        Args:
            seconds: of the video, as far as it was read.
            most_s: the setting.
        """
        text = f"it lasts {_hours(seconds)} or more; download.max_duration_s = {most_s:g} allows {_hours(most_s)}"
        super().__init__(text, error_class=TOO_LONG)
        self.seconds = seconds


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.1f} s"
