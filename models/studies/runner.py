"""Make the runs of a study one after another, each result kept as soon as it is there.

    finished = make_runs(study, folder, on_progress=print)

A result is a part of `models.studies.cells`, named by arm, seed and a hash of the settings, for one version of the
study and of the data. A study that was killed makes only the runs that are missing.

The CPU-seconds of a run are its own: what several runs share is made before them. How long a run was at work that was
stopped and went on is not known.
"""

from __future__ import annotations

import platform
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.studies.cells import Cells
from models.studies.study import Finished, Run, Study
from pipeline.config import fingerprint
from pipeline.progress import ProgressCallback, notify

_CLOCK = 2  # raised where `cpu_s` means something else


def name_of(run: Run) -> str:
    """Return the name of a run's result."""
    # sections of settings are hashed where they stand alone
    parts = [part for name in sorted(run.settings) for part in (name, run.settings[name])]
    arm = re.sub(r"[^a-z0-9]+", "-", run.arm.lower()).strip("-")[:60]
    return f"{arm}-seed{run.seed}-{fingerprint(run.arm, run.seed, *parts)}"


def parts_of(study: Study) -> str:
    """Return the name of the folder in which a study keeps what its runs share: another one for each list of runs."""
    names = [name_of(run) for run in study.runs()]
    return f"{study.name}-{fingerprint(study.version, study.data(), names)}"


def make_runs(study: Study, folder: Path, on_progress: ProgressCallback | None = None) -> list[Finished]:
    """Return the runs of a study with their results; those that are not there yet are made.

    Raises:
        UserError: the data do not allow the study, or the folder cannot be written.
    """
    runs = study.runs()
    cells = Cells(folder, {"study": study.name, "version": study.version, "data": study.data(), "clock": _CLOCK})
    finished = []
    for number, run in enumerate(runs, 1):
        name = f"study {study.name}, run {number} of {len(runs)} ({run.arm}, seed {run.seed})"
        before = cells.measured
        result = cells.get(name_of(run), lambda run=run, name=name: _made(study, run, name, cells, on_progress))  # type: ignore[misc]
        if cells.measured == before:
            notify(f"{name}: was made before", on_progress)
        # the same whether it was made now or before
        finished.append(Finished(run, result))
    study.end()
    # until then the states of its runs are there, from which a run whose result is damaged would go on
    for run in runs:
        _begun(cells, run).unlink(missing_ok=True)
    return finished


def _made(study: Study, run: Run, name: str, cells: Cells, on_progress: ProgressCallback | None) -> dict[str, Any]:
    say = on_progress or (lambda text: None)
    study.prepare(run, say)
    begun = _begun(cells, run)
    goes_on = begun.exists()
    begun.touch()
    notify(f"{name}: {'goes on' if goes_on else 'begins'}", on_progress)
    before = time.process_time()
    found = study.run(run, say)
    cpu_s = None if goes_on else round(time.process_time() - before, 1)
    notify(f"{name}: done" + ("" if cpu_s is None else f" in {cpu_s:.0f} CPU-s"), on_progress)
    return {**found, "cpu_s": cpu_s, "machine": processor(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}


def _begun(cells: Cells, run: Run) -> Path:
    """Return the file that says that a run was begun."""
    return cells.folder / f".begun-{name_of(run)}"


def processor() -> str:
    """Return the name of the processor, as this system has it."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown processor"
