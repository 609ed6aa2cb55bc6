"""What an S3 store said, as one sentence with its fix: a refusal, a bucket that is not there, a store that is away.

What delta-rs (tables) raises is one text that holds the store's answer; `s3_answers` reads what botocore (blobs)
raises. Neither text is shown as it is: an answer to a wrong signature repeats the access key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

GOES_ON = "what was published stays, and the same command goes on from there."
# answers of a store that has trouble, or that asks for fewer requests
PASSING = frozenset({
    "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "RequestTimeoutException", "Throttling",
    "ThrottlingException", "RequestLimitExceeded", "RequestThrottled", "TooManyRequests", "BandwidthLimitExceeded",
    "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch", "OperationAborted", "ConditionalRequestConflict",
})  # fmt: skip
FULL = frozenset({"XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
_WRONG_KEY = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId"})
_WRONG_REGION = frozenset({
    "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301",
    "TemporaryRedirect",
})  # fmt: skip
NO_CREDENTIALS = "NoCredentials"
AWAY = "Unreachable"
"""Codes of ours: the store did not speak."""
_OF_A_STORE = (
    "s3 error",
    "objectstore",
    "object store",
    "error sending request",
    "credential",
    "lacked the necessary",
    "error performing",
    "object at location",
)
_MOST_TEXT = 200


@dataclass(frozen=True)
class Problem:
    """What a store said, or that it said nothing."""

    code: str
    """As S3 names it (`AccessDenied`), or one of ours where no answer came."""
    text: str = ""
    """More words of it, without credentials."""
    region: str | None = None
    """Where the bucket is, if the store said so."""
    clock_off_s: float | None = None
    """Seconds by which this machine's clock is ahead of the store's."""
    passing: bool = False
    """Whether the same request may succeed a little later."""
    missing: bool = False
    """Whether there is no such object."""


def problem_of_table(exc: BaseException) -> Problem | None:
    """Return what an exception of delta-rs says of the store; None where it is of the table, or of something else."""
    text = str(exc)
    if not any(word in text.lower() for word in _OF_A_STORE):
        return None
    code = re.search(r"<Code>(\w+)</Code>", text)
    status = re.search(r"\b(?:status: |status code: |with )?([345]\d\d) [A-Z][a-z]+", text)
    if code:
        told = re.search(r"<Message>(.*?)</Message>", text, re.DOTALL)
        region = re.search(r"<Region>([\w-]+)</Region>|expecting '([\w-]+)'", text)
        return Problem(
            code[1],
            plain(told[1] if told else ""),
            (region[1] or region[2]) if region else None,
            passing=passes(code[1], int(status[1]) if status else 0),
            missing=code[1] == "NoSuchKey",
        )
    if "redirect without LOCATION" in text:
        return Problem("PermanentRedirect")
    if re.search(r"credentials? (?:provider|not)|no providers in chain|CredentialsNotLoaded", text, re.IGNORECASE):
        return Problem(NO_CREDENTIALS)
    if status:
        return by_status(int(status[1]))
    if re.search(r"lacked the necessary|\b403 forbidden|status: 403", text, re.IGNORECASE):
        return Problem("AccessDenied")
    if re.search(r"error sending request|timed? ?out|connection|dns|hyper|body", text, re.IGNORECASE):
        return Problem(AWAY, why_away(text), passing=True)
    return None


def sentence(root: str, endpoint: str | None, doing: str, problem: Problem, tried_s: float = 0.0) -> str:
    """Return what to tell a person: what was refused, by which store, and the fix.

    Args:
        root: of the store, an address.
        endpoint: the server, where it is not AWS.
        doing: the request, as `PutObject of raw/a.mp4`.
        problem: what the store said.
        tried_s: seconds for which it was tried again.
    """
    where = f"store {root}{f' at {endpoint}' if endpoint else ''}"
    bucket = root.partition("://")[2].partition("/")[0]
    code, region = problem.code, problem.region
    if code == AWAY or problem.passing:
        why = problem.text or code
        tried = f" for {tried_s:.0f} s" if tried_s >= 1 else ""
        return (
            f"{where}: {doing} failed{tried} ({why}): see whether the store answers and its address (endpoint_url) is "
            f"right, then run again; {GOES_ON}"
        )
    if code == "NoSuchBucket":
        return f"{where}: there is no bucket {bucket!r}: create it, or name another with --root."
    if code == "InvalidBucketName":
        return f"{where}: {bucket!r} is no name of a bucket: name one with --root s3://BUCKET/PREFIX."
    if code in _EXPIRED:
        return (
            f"{where}: the session token has expired ({code}): get new credentials, set AWS_ACCESS_KEY_ID, "
            f"AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (or key, secret and token in --storage-options), and run "
            f"again; {GOES_ON}"
        )
    if code in _WRONG_KEY:
        return (
            f"{where}: the credentials are not accepted ({code}): set the right AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (or key, secret and token in --storage-options), and run "
            f"again; {GOES_ON}"
        )
    if code == NO_CREDENTIALS:
        return (
            f"{where}: no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give "
            "--storage-options key=...,secret=..."
        )
    if code == "RequestTimeTooSkewed":
        off = f" by {abs(problem.clock_off_s):.0f} s" if problem.clock_off_s is not None else ""
        return (
            f"{where}: the clock of this machine is wrong{off} ({datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC), so the "
            f"store refuses its requests: set the clock (NTP), and run again; {GOES_ON}"
        )
    if code in _WRONG_REGION:
        fix = f"set AWS_REGION={region}, or region={region} in --storage-options" if region else (
            "set AWS_REGION, or region=... in --storage-options, to the bucket's own"
        )  # fmt: skip
        return f"{where}: bucket {bucket!r} is in another region ({code}): {fix}."
    if code in {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "Forbidden"}:
        return (
            f"{where}: {doing} is refused ({code}): these credentials need s3:ListBucket on the bucket, and "
            f"s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on its objects. Give them these "
            f"rights, or name other credentials, and run again; {GOES_ON}"
        )
    if code in FULL:
        return f"{where}: the store is full ({code}): free space or raise the quota, and run again; {GOES_ON}"
    told = f"{code}: {problem.text}" if problem.text else code
    return f"{where}: {doing} is refused ({told}): `lampworks doctor` tries the store again; {GOES_ON}"


def by_status(status: int, region: str | None = None) -> Problem:
    """Return the problem of an answer without a body, as a HEAD gets it."""
    if status == 404:
        return Problem("404", missing=True)
    if status == 507:
        return Problem("InsufficientStorage")
    named = {400: "AuthorizationHeaderMalformed", 403: "AccessDenied"}
    code = named[status] if status == 403 or (status == 400 and region) else f"{status}"
    return Problem(code, region=region, passing=passes(code, status))


def passes(code: str, status: int) -> bool:
    """Tell whether the same request may succeed a little later, given the code of an answer and its HTTP status."""
    may = code in PASSING or status in {408, 425, 429} or status >= 500
    return may and status != 501 and code not in FULL


def why_away(text: str) -> str:
    """Return in a few words why no whole answer came, from the text of a client."""
    lowered = text.lower()
    for words, why in (
        (("refused",), "connection refused"),
        (("reset", "closed before", "connection was closed", "broken pipe"), "connection broke"),
        (
            ("name resolution", "name or service", "dns", "resolve", "could not connect to the endpoint"),
            "no connection",
        ),
        (("timeout", "timed out"), "no answer in time"),
        (("read, but total bytes", "incompleteread", "broken: ", "end of file", "body"), "answer cut short"),
        (("checksum",), "other bytes arrived than were sent"),
    ):
        if any(word in lowered for word in words):
            return why
    return "no answer"


def plain(text: str) -> str:
    """Return words of a store on one line; ids of access keys and signatures, which some repeat, are left out."""
    text = re.sub(r"\b(?:AKIA|ASIA)\w{6,}|\b[A-Fa-f0-9]{40,}\b|Credential=\S+|Signature=\S+", "...", text)
    return " ".join(text.split())[:_MOST_TEXT]
