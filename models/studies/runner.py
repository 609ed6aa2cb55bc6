"""Make the runs of a study one after another, each result kept as soon as it is there.

    finished = make_runs(study, folder, on_progress=print)

A result is a part of `models.studies.cells`, named by arm, seed and a hash of the settings, for one version of the
study and of the data. A study that was killed makes only the runs that are missing.
"""

from __future__ import annotations

import platform
import re
import time
from pathlib import Path
from typing import Any

from models.studies.cells import Cells
from models.studies.study import Finished, Run, Study
from pipeline.config import fingerprint
from pipeline.progress import ProgressCallback, notify


def name_of(run: Run) -> str:
    """Return the name of a run's result."""
    # sections of settings are hashed where they stand alone
    parts = [part for name in sorted(run.settings) for part in (name, run.settings[name])]
    arm = re.sub(r"[^a-z0-9]+", "-", run.arm.lower()).strip("-")[:60]
    return f"{arm}-seed{run.seed}-{fingerprint(run.arm, run.seed, *parts)}"


def make_runs(study: Study, folder: Path, on_progress: ProgressCallback | None = None) -> list[Finished]:
    """Return the runs of a study with their results; those that are not there yet are made.

    Raises:
        UserError: the data do not allow the study, or the folder cannot be written.
    """
    runs = study.runs()
    cells = Cells(folder, {"study": study.name, "version": study.version, "data": study.data()})
    finished = []
    for number, run in enumerate(runs, 1):
        name = f"study {study.name}, run {number} of {len(runs)} ({run.arm}, seed {run.seed})"
        before = cells.measured
        result = cells.get(name_of(run), lambda run=run, name=name: _made(study, run, name, on_progress))  # type: ignore[misc]
        if cells.measured == before:
            notify(f"{name}: was made before", on_progress)
        # the same whether it was made now or before
        finished.append(Finished(run, result))
    study.end()
    return finished


def _made(study: Study, run: Run, name: str, on_progress: ProgressCallback | None) -> dict[str, Any]:
    notify(f"{name}: begins", on_progress)
    before = time.process_time()
    found = study.run(run, on_progress or (lambda text: None))
    cpu_s = round(time.process_time() - before, 1)
    notify(f"{name}: done in {cpu_s:.0f} CPU-s", on_progress)
    return {**found, "cpu_s": cpu_s, "machine": processor()}


def processor() -> str:
    """Return the name of the processor, as this system has it."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown processor"
