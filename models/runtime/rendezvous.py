"""Look at the address at which machines find each other before anything waits for it."""

from __future__ import annotations

import errno
import socket
import threading
from contextlib import suppress
from datetime import timedelta

import torch.distributed as dist

from pipeline.errors import UserError

_ANSWER = timedelta(seconds=10)


def check_rendezvous(address: str) -> None:
    """Raise a UserError where the port of `training.rendezvous` is taken on this machine by something else.

    A machine that the address does not belong to checks nothing: it waits for the one that it belongs to.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, OverflowError) as exc:
        raise UserError(f"training.rendezvous = {address!r}: {exc}; name an address of one of the machines") from exc
    with socket.socket(family, kind, protocol) as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            own.bind(place)
        except OSError as exc:
            if exc.errno == errno.EADDRNOTAVAIL or _is_store(host, int(port)):
                return
            raise UserError(
                f"training.rendezvous = {address!r}: the port cannot be used here ({exc.strerror}); choose a free one"
            ) from exc


def _is_store(host: str, port: int) -> bool:
    """Return whether another process of torchrun answers there: two may share a machine."""
    answered = threading.Event()

    def ask() -> None:
        with suppress(dist.DistError):
            dist.TCPStore(  # type: ignore[attr-defined]
                host, port, is_master=False, timeout=_ANSWER, wait_for_workers=False
            )
            answered.set()

    # its own limit is of the connection alone: of something that takes one and says nothing, it would wait for ever
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_ANSWER.total_seconds())
    return answered.is_set()
