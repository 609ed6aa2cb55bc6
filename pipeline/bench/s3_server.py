"""An S3 server on loopback (moto), with one empty bucket, for tests and for `lampworks bench s3`."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import UserError
from pipeline.storage.s3_requests import S3Requests

_START_S = 60.0
_REGION = "us-east-1"


@contextmanager
def s3_server(bucket: str) -> Iterator[dict[str, str]]:
    """Yield the storage options of a server that has one bucket; it keeps objects in memory and checks no signature.

    Raises:
        UserError: moto is not installed.
        RuntimeError: it does not start.
    """
    if importlib.util.find_spec("moto") is None:
        raise UserError("an S3 server on loopback needs moto, which is not installed: pip install 'moto[server]'")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    options = {"key": "test", "secret": "test", "endpoint_url": f"http://127.0.0.1:{port}", "region": _REGION}
    try:
        end = time.monotonic() + _START_S
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the S3 server on loopback (moto) did not start")
            time.sleep(0.1)
        S3Requests(f"s3://{bucket}", options).send("create_bucket", bucket, Bucket=bucket)
        yield options
    finally:
        server.terminate()
        server.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
