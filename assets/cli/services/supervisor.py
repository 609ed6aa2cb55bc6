"""Keep services alive: one process each, started again where it ends, its output labelled with its name.

A service that ends is started again after a second, and after twice as long each time that it does not live for a
minute. What the processes print goes to stdout line by line: `daemon | text`, or as JSON (`LAMPWORKS_LOG=json`).
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any

from assets.cli.services.lifetime import MARK, ROLE, end_processes, mark_of_this_process
from pipeline.outside import shown_text, shown_values

_LONGEST_PAUSE_S = 30.0
_ENDS_IN_S = 10.0
"""Time in which a service without runs ends in order."""
_WELL_S = 60.0
"""A service that lives as long is taken to work: the next pause is the first again."""
_LOGGER = logging.getLogger(__name__)
# Dagster's format of the lines of a run: its time, level, job, id, process and step stand before the text
_OF_A_RUN = re.compile(
    r"[\d-]{10} [\d:]{8} \S+ - dagster - (?P<level>[A-Z]+) - (?P<job>\w+) - (?P<run_id>[0-9a-f-]{36}) - "
    r"(?:\d+ - )?(?:(?P<step>[a-z][a-z0-9_]*) - )?(?P<message>.*)"
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Service:
    """One service: how it is started, and how it fares."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    descriptors: tuple[int, ...]
    process: subprocess.Popen[str] | None = None
    began: float = 0.0
    pause_s: float = 1.0
    due_at: float = 0.0
    readers: list[threading.Thread] = field(default_factory=list)


class Supervisor:
    """Starts services and keeps them alive until it is told to stop."""

    def __init__(self, services: list[Service], *, as_json: bool) -> None:
        self._services, self._as_json, self._mark = services, as_json, mark_of_this_process()
        self._stopped = threading.Event()
        self._writing = threading.Lock()

    def run(self) -> None:
        """Keep the services alive until `stop` is called."""
        while not self._stopped.is_set():
            for service in self._services:
                self._look_after(service)
            self._stopped.wait(0.2)

    def stop(self) -> None:
        """Have `run` return."""
        self._stopped.set()

    def end(self, patience_s: float) -> None:
        """End all services, the one that has the runs last: these get the time to save what they are at."""
        for service in reversed(self._services):
            end_processes(self._mark, service.name, patience_s if service.name == "code" else _ENDS_IN_S)
        end_processes(self._mark, None, 0)
        for service in self._services:
            if service.process is not None:
                service.process.wait()
            for reader in service.readers:
                reader.join(1)

    def _look_after(self, service: Service) -> None:
        if service.process is None:
            if time.monotonic() >= service.due_at:
                self._start(service)
            return
        code = service.process.poll()
        if code is None:
            return
        if time.monotonic() - service.began > _WELL_S:
            service.pause_s = 1.0
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        _LOGGER.warning("the service %s %s: it starts again in %g s", service.name, how, service.pause_s)
        # runs of a code server that was killed would go on without anyone who knows them
        end_processes(self._mark, service.name, 0)
        service.process, service.due_at = None, time.monotonic() + service.pause_s
        service.pause_s = min(2 * service.pause_s, _LONGEST_PAUSE_S)

    def _start(self, service: Service) -> None:
        service.process = subprocess.Popen(
            service.command,
            env={**service.environment, MARK: self._mark, ROLE: service.name, "PYTHONUNBUFFERED": "1"},
            pass_fds=service.descriptors, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
        service.began = time.monotonic()
        assert service.process.stdout is not None
        reader = threading.Thread(target=self._copy, args=(service.name, service.process.stdout), daemon=True)
        reader.start()
        service.readers = [one for one in service.readers if one.is_alive()] + [reader]

    def _copy(self, name: str, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                text = json_line(name, line) if self._as_json else f"{name:7} | {shown_text(line.rstrip())}"
                with self._writing, suppress(BrokenPipeError):
                    sys.stdout.write(text + "\n")
                    sys.stdout.flush()


def json_line(service: str, line: str) -> str:
    """Return a line of a service as one JSON object; one that is JSON already keeps its values, with our names."""
    plain = _COLOURS.sub("", line.rstrip())
    try:
        given = json.loads(plain)
    except ValueError:
        line_of_run = _OF_A_RUN.match(plain)
        given = {k: v for k, v in line_of_run.groupdict().items() if v} if line_of_run else None
    found: dict[str, Any] = dict(given) if isinstance(given, dict) else {"message": plain}
    time_said = found.pop("timestamp", None) or found.pop("time", None)
    record = {
        "time": time_said or datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": str(found.pop("level", "info")).upper(),
        "service": service,
        "message": found.pop("event", None) or found.pop("message", ""),
        **found,
    }
    return json.dumps(shown_values(record), default=shown_text)
