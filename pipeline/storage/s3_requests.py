"""Requests to an S3 store for blobs: signed by botocore, counted, and tried again while the store has trouble.

    requests = S3Requests("s3://bucket/prefix", storage_options)
    requests.send("head_object", "raw/a.mp4", Bucket="bucket", Key="prefix/raw/a.mp4")

botocore itself tries nothing again: one place decides for how long (`retry_s` of the storage options), and tells the
log when a store keeps the work waiting. Reads of a body are requests too: one that breaks is tried again as a whole.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

import botocore.session
from botocore.config import Config as ClientConfig

from pipeline.errors import StoreError
from pipeline.storage.s3_answers import problem_of_blob
from pipeline.storage.s3_options import retry_seconds
from pipeline.storage.s3_problems import Problem, sentence
from pipeline.usage import count

_CONNECT_S, _READ_S = 10.0, 30.0
_LONGEST_PAUSE_S = 8.0
_SAY_AFTER_S = 3.0
_CONNECTIONS = 64
Answer = TypeVar("Answer")
_log = logging.getLogger(__name__)


class S3Requests:
    """Sends requests to the store of a root."""

    def __init__(self, root: str, storage_options: Mapping[str, str]) -> None:
        """Prepare; nothing is sent.

        Args:
            root: address, for messages.
            storage_options: `key`, `secret`, `token`, `endpoint_url`, `region`, `retry_s`.
        """
        self.root, self._options = root, dict(storage_options)
        self._retry_s = retry_seconds(storage_options)

    def send(self, operation: str, about: str, **parameters: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Args:
            operation: in botocore's words, as `put_object`.
            about: what it is of, for messages.
            parameters: of the operation.

        Raises:
            FileNotFoundError: there is no such object.
            StoreError: the store refuses, or still has trouble after `retry_s` seconds.
        """
        return self.tried(operation, about, lambda: self.once(operation, **parameters))

    def once(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Send a request once, and return botocore's answer or raise its error; for `tried`."""
        count(requests=1)
        answer: dict[str, Any] = getattr(_client(tuple(sorted(self._options.items()))), operation)(**parameters)
        return answer

    def tried(self, operation: str, about: str, attempt: Callable[[], Answer]) -> Answer:
        """Return what an attempt returns; try it again while the store has trouble. Errors as of `send`."""
        began = time.monotonic()
        said = False
        for number in itertools.count():
            try:
                return attempt()
            except Exception as exc:
                problem = problem_of_blob(exc)
                if problem is None:
                    raise
                waited = time.monotonic() - began
                pause = random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE_S, 0.1 * 2**number)
                if not problem.passing or waited + pause > self._retry_s:
                    self._give_up(operation, about, problem, waited)
            if not said and waited > _SAY_AFTER_S:
                said = True
                _log.warning(
                    "store %s: %s (%s); trying again for up to %.0f s",
                    self.root, problem.text or problem.code, operation, self._retry_s,
                )  # fmt: skip
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _give_up(self, operation: str, about: str, problem: Problem, waited: float) -> NoReturn:
        if problem.missing:
            raise FileNotFoundError(2, "no such object", f"{self.root}/{about}") from None
        if operation.startswith("head_") and not problem.passing:
            problem = self._told_in_full() or problem
        doing = "".join(part.title() for part in operation.split("_")) + (f" of {about}" if about else "")
        text = sentence(self.root, self._options.get("endpoint_url"), doing, problem, waited)
        # without the error of the client, which may repeat a request with its credentials
        raise StoreError(text, passing=problem.passing, code=problem.code) from None

    def _told_in_full(self) -> Problem | None:
        """Return why requests are refused: the answer to a HEAD has no body that could say it."""
        try:
            self.once("list_objects_v2", Bucket=self.root.partition("://")[2].partition("/")[0], MaxKeys=1)
        except Exception as exc:  # only its reason is wanted, and what has none is not one of the store
            return problem_of_blob(exc)
        return None


@lru_cache(maxsize=8)
def _client(options: tuple[tuple[str, str], ...]) -> Any:
    """Return a client, which threads may share; one for each set of options."""
    known = dict(options)
    named = {
        "aws_access_key_id": known.get("key"),
        "aws_secret_access_key": known.get("secret"),
        "aws_session_token": known.get("token"),
        "endpoint_url": known.get("endpoint_url"),
        "region_name": known.get("region"),
    }
    config = ClientConfig(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        max_pool_connections=_CONNECTIONS,
        retries={"total_max_attempts": 1, "mode": "standard"},
    )
    return botocore.session.get_session().create_client(
        "s3", config=config, **{name: value for name, value in named.items() if value}
    )
