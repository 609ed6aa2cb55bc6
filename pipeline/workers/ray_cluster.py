"""The connection of this process to the Ray cluster that the configuration names: its own, or none.

`engine.address` says where the head is, `engine.token_file` proves that the cluster is the user's. No cluster is
searched for, none is started, and one that is another's (another token, another version of Ray) is refused with the
setting to change.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from pipeline.config.engine import EngineConfig
from pipeline.errors import UserError
from pipeline.workers.code import copy_code

NAMESPACE = "lampworks"
_LOCK = threading.Lock()
_START = (
    "Start it on the head with `ray start --head` and this token (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN_PATH=FILE), or "
    "set engine.backend = local to work on this machine alone. What was done is kept."
)


def connected(config: EngineConfig) -> ModuleType:
    """Connect this process to its cluster, where it is not connected yet, and return the module `ray`.

    Raises:
        UserError: Ray is not installed, no head answers, the token is missing or another, the cluster runs another
            version of Ray or Python, this machine is no node of it, or this process is connected to another cluster.
    """
    _use_token(config)
    with _LOCK:
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized():
            present = ray.get_runtime_context().gcs_address
            if _resolved(present) != _resolved(config.address):
                raise UserError(
                    f"engine.address = {config.address!r}, and this process is connected to the Ray cluster at "
                    f"{present}: run Lampworks in a process of its own"
                )
            return ray
        why = unreachable(config)
        if why:
            raise UserError(f"no Ray head answers at engine.address = {config.address!r} ({why}). {_START}")
        ray = _ray()
        _check_cluster(config)
        with tempfile.TemporaryDirectory(prefix="lampworks-code-") as folder, _own_signals():
            environment = {}
            if config.ship_code:
                copy_code(Path(folder))
                environment = {"working_dir": folder}
            try:
                ray.init(
                    address=config.address,
                    namespace=NAMESPACE,
                    runtime_env=environment,
                    log_to_driver=False,
                    configure_logging=False,
                    logging_level=logging.WARNING,
                )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise UserError(
                    f"the Ray cluster at engine.address = {config.address!r} answers, and this machine cannot join it "
                    f"({_short(error)}). Make this machine a node of it: `ray start --address={config.address} "
                    "--num-cpus=0`, with the cluster's token."
                ) from error
        return ray


def unreachable(config: EngineConfig) -> str:
    """Return why no program listens at the head's address; "" where one does."""
    host, _, port = config.address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=config.connect_s).close()
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__
    return ""


def _use_token(config: EngineConfig) -> None:
    """Let Ray read the token from its file; UserError where there is none. The token itself is not read here."""
    path = config.token_file or os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    if not path:
        raise UserError(
            "engine.token_file is not set: a cluster without a token runs the code of anybody who reaches its port. "
            "Write one with `python -c 'import secrets; print(secrets.token_hex(32))' > FILE`, start the head and all "
            "nodes with RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=FILE, and set engine.token_file to FILE."
        )
    try:
        size = Path(path).expanduser().stat().st_size
    except OSError as error:
        raise UserError(f"engine.token_file = {path!r} cannot be read: {error.strerror}") from error
    if not size:
        raise UserError(f"engine.token_file = {path!r} is empty: it must hold the cluster's token")
    # a token in a variable would win over the file
    os.environ.pop("RAY_AUTH_TOKEN", None)
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(Path(path).expanduser().absolute())


def _ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise UserError(
            'engine.backend = ray: Ray is not installed; run `pip install "lampworks[ray]"` here and on all nodes'
        ) from error
    return ray  # type: ignore[no-any-return,unused-ignore]


def _check_cluster(config: EngineConfig) -> None:
    """See that the cluster takes this token and runs these versions: `ray.init` itself waits 20 s and says neither."""
    from ray import exceptions
    from ray._common.usage import usage_lib
    from ray._private import utils
    from ray._raylet import (  # type: ignore[attr-defined,unused-ignore]
        AuthenticationTokenLoader,
        Config,
        GcsClient,
    )

    # Ray reads the variables of the token when it is imported, which another program may have done before
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    try:
        client = GcsClient(address=config.address)
        about = usage_lib.get_cluster_metadata(client)
    except exceptions.AuthenticationError as error:
        raise UserError(
            f"the Ray cluster at engine.address = {config.address!r} does not take the token in "
            f"{os.environ['RAY_AUTH_TOKEN_PATH']!r} (engine.token_file): it is another's, or was started with another "
            "token. Name your own cluster and the token that its head was started with."
        ) from error
    except exceptions.RayError as error:
        raise UserError(
            f"what listens at engine.address = {config.address!r} does not answer as a Ray head ({_short(error)}). "
            f"{_START}"
        ) from error
    try:
        utils.check_version_info(about, "this process")
    except RuntimeError as error:
        import ray

        raise UserError(
            f"the Ray cluster at engine.address = {config.address!r} runs Ray {about['ray_version']} on Python "
            f"{about['python_version']}, this machine Ray {ray.__version__} on Python "
            f"{platform.python_version()}: install the same versions on all nodes, and start them again"
        ) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Give SIGTERM back to whoever handles it: `ray.init` takes it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _resolved(address: str) -> tuple[str, str]:
    host, _, port = address.rpartition(":")
    try:
        return socket.gethostbyname(host), port
    except OSError:
        return host, port


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
