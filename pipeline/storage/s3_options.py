"""Storage options of S3: what delta-rs calls them, and for how long a request is tried again."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.errors import UserError

SCHEMES = ("s3://", "s3a://")
"""How the address of an S3 root begins."""
RETRY_S = 60.0
"""For how long a request is tried again, in seconds, where the storage options do not say."""
CHECKPOINT_EVERY = 10
"""Commits from one checkpoint of a table to the next: a reader fetches at most so many logs."""
MARK_KEY = "lampworks.mark"
"""Tells an append from others, where the answer to one that succeeded may be lost."""
_DELTA_NAMES = {
    "key": "AWS_ACCESS_KEY_ID",
    "secret": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "region": "AWS_REGION",
}
_MANY_TRIES = "1000"


def delta_options(storage_options: Mapping[str, str]) -> dict[str, str]:
    """Return what delta-rs needs to reach the tables of an object store."""
    options = {_DELTA_NAMES[key]: value for key, value in storage_options.items() if key in _DELTA_NAMES}
    if options.get("AWS_ENDPOINT_URL", "").startswith("http:"):
        options["AWS_ALLOW_HTTP"] = "true"
    # it gives up when the client of the blobs does
    options["max_retries"], options["retry_timeout"] = _MANY_TRIES, f"{retry_seconds(storage_options):g}s"
    # conditional PUT makes a commit atomic without a lock table (S3 itself and its emulators support it)
    options["conditional_put"] = "etag"
    return options


def retry_seconds(storage_options: Mapping[str, str]) -> float:
    """Return for how long requests are tried again; UserError where the option is no such number."""
    text = storage_options.get("retry_s", "")
    try:
        seconds = float(text) if text else RETRY_S
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise UserError(f"storage option retry_s {text!r}: a number of seconds from 0 to 86400 is needed.")
    return seconds
