"""Dagster's code server, which goes on looking after its runs where the database was away for a while.

One thread of the server notices runs whose process died. An error of the database ends Dagster's own thread, and all
that it would notice with it: such a run would be taken to live for ever.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import dagster._grpc.server as dagster_server
from dagster._grpc.server import DagsterApiServer

from pipeline.outside import shown_text

_LOGGER = logging.getLogger(__name__)


class PatientServer(DagsterApiServer):
    """Dagster's server of a code location, whose look at dead runs is repeated where it fails."""

    def _check_for_orphaned_runs(self) -> None:
        try:
            super()._check_for_orphaned_runs()
        except Exception as exc:  # whatever it is, the next look must come
            _LOGGER.warning("runs that died are looked for again: %s", shown_text(" ".join(str(exc).split())[:300]))


def serve(options: Sequence[str]) -> None:
    """Run the server with options of `dagster api grpc` until the process is told to end."""
    from dagster._cli.api import grpc_command

    # the command makes its server of the class that the module has under this name
    dagster_server.DagsterApiServer = PatientServer  # type: ignore[misc]
    sys.argv = ["dagster", *options]
    grpc_command()
