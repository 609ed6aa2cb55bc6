"""Where the services of a deployment are, and how they find each other."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

ROLES = ("code", "daemon", "pages", "metrics")
LOCATION = "lampworks"
TOKEN = "LAMPWORKS_UI_TOKEN"
"""Variable of the token that visitors must show: a command line is shown to every user of the machine."""


@dataclass(frozen=True)
class Parts:
    """Where the services are; None for one that is not asked."""

    code_server: str | None = None
    """`HOST:PORT`, or the path of a socket."""
    daemon: bool = False
    pages: str | None = None
    """Address of the web server, as http://127.0.0.1:3000."""


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
