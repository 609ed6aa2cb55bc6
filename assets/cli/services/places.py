"""Where the services of a deployment are, and how they find each other."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError

ROLES = ("code", "daemon", "pages", "metrics")
LOCATION = "lampworks"
TOKEN = "LAMPWORKS_UI_TOKEN"
"""Variable of the token that visitors must show: a command line is shown to every user of the machine."""

PATIENCE = "LAMPWORKS_CODE_PATIENCE"
"""Variable: for how many seconds a crashed run waits for a code server that does not answer (default 3600)."""
PATIENCE_S = 3600.0


@dataclass(frozen=True)
class Parts:
    """Where the services are; None for one that is not asked."""

    code_server: str | None = None
    """`HOST:PORT`, or the path of a socket."""
    daemon: bool = False
    pages: str | None = None
    """Address of the web server, as http://127.0.0.1:3000."""
    metrics: str | None = None
    """Address of the server of metrics, as http://127.0.0.1:9464."""


def code_patience_s() -> float:
    """Return for how many seconds a crashed run waits for the code server; UserError where the variable is no number.

    It is to be called before the daemon starts: what its looks raise ends the retries of the runs that they found.
    """
    said = os.environ.get(PATIENCE, "").strip()
    try:
        seconds = float(said) if said else PATIENCE_S
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"{PATIENCE} = {said!r}: expected a number of seconds, 0 or more, as 3600")
    return seconds


def code_address(code_server: str) -> dict[str, str]:
    """Return the host and the port, or the socket, at which the code server is asked."""
    if "/" in code_server:
        return {"socket": code_server}
    host, _, port = code_server.rpartition(":")
    return {"host": host.strip("[]"), "port": port}


def write_workspace(folder: Path, code_server: str) -> Path:
    """Write the file by which daemon and pages find the code server; return its path."""
    where: dict[str, str | int] = dict(code_address(code_server))
    if "port" in where:
        where["port"] = int(where["port"])
    path = folder / "workspace.yaml"
    path.write_text(json.dumps({"load_from": [{"grpc_server": {**where, "location_name": LOCATION}}]}), "utf-8")
    return path
