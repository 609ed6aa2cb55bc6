"""Errors by whose fault they are: the user's, this world's (permanent or retryable), or ours (`assert`)."""

from __future__ import annotations


class UserError(ValueError):
    """The user's mistake: the message names the thing, its value and the fix, and is shown without a traceback."""


class PermanentError(Exception):
    """The world's fault, and trying again will not help: the item is recorded with `error_class` and left."""

    def __init__(self, message: str, *, error_class: str, http_status: int | None = None) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.http_status = http_status


class RetryableError(Exception):
    """The world's fault, worth another try after `retry_after_s` (None: own backoff): the item stays pending."""

    def __init__(
        self, message: str, *, error_class: str, retry_after_s: float | None = None, http_status: int | None = None
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.http_status = http_status
        self.retry_after_s = retry_after_s


class RejectedError(PermanentError):
    """The video must not be taken, which only its download told (`opt_out`, ...): it is rejected, not failed."""
