"""What botocore raises, as the problem of the store that it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from pipeline.storage.s3_problems import AWAY, NO_CREDENTIALS, Problem, by_status, passes, plain, why_away

# no answer, or not a whole one
_BROKEN = (
    boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, boto.ResponseStreamingError,
    boto.FlexibleChecksumError, ResponseParserError, HTTPError, ConnectionError, TimeoutError,
)  # fmt: skip


def problem_of_blob(exc: BaseException) -> Problem | None:
    """Return what an exception of botocore says; None where it is of something else."""
    if isinstance(exc, boto.ClientError):
        return _answered(exc.response)
    if isinstance(exc, boto.NoCredentialsError | boto.PartialCredentialsError | boto.CredentialRetrievalError):
        return Problem(NO_CREDENTIALS)
    if isinstance(exc, boto.SSLError):
        return Problem("SSLError", plain(str(exc)))
    if isinstance(exc, boto.ParamValidationError) and "bucket" in str(exc).lower():
        return Problem("InvalidBucketName")
    if isinstance(exc, _BROKEN):
        return Problem(AWAY, why_away(str(exc)), passing=True)
    return None


def problem_of_key(error: Mapping[str, Any]) -> Problem:
    """Return what the answer to a request for many objects says of one of them (`Errors` of DeleteObjects)."""
    return _answered({"Error": error})


def _answered(response: Mapping[str, Any]) -> Problem:
    error, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
    status, headers = int(meta.get("HTTPStatusCode") or 0), meta.get("HTTPHeaders") or {}
    code, text = str(error.get("Code") or status), plain(str(error.get("Message") or ""))
    expecting = re.search(r"expecting '([\w-]+)'", text)
    region = error.get("Region") or headers.get("x-amz-bucket-region") or (expecting[1] if expecting else None)
    if code in {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}:
        return Problem(code, missing=True)
    if code.isdigit():
        return by_status(int(code), region)
    return Problem(code, text, region, _clock_off_s(headers.get("date")), passing=passes(code, status))


def _clock_off_s(date: str | None) -> float | None:
    try:
        return (datetime.now(UTC) - parsedate_to_datetime(date or "")).total_seconds()
    except (ValueError, TypeError):
        return None
