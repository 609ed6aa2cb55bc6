"""`lampworks doctor`: one line per thing that a run needs, with the fix where it is missing."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from assets.cli_options import Parsers, settings_of
from assets.settings import Settings
from pipeline.errors import UserError

# sites change their players: an extractor of half a year ago fails on many of them
_MAX_YTDLP_DAYS = 120
_MIN_FREE_GB = 5.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: whether it is well, what was found, and the fix."""

    name: str
    state: str
    """ok, warn or bad."""
    found: str
    fix: str = ""


def add_commands(commands: Parsers) -> None:
    """Add `doctor`."""
    doctor = commands.add(
        "doctor",
        run_doctor,
        "Check this machine and this root: one line each, with the fix.",
        "Python, ffmpeg, yt-dlp and its age, a JavaScript runtime for YouTube, disk, store, torch and its devices.\n"
        "Exit code 1 where something is bad; a warning alone is 0.",
        "  lampworks doctor --root s3://bucket/lampworks",
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object")


def run_doctor(args: argparse.Namespace) -> int:
    """Print every finding."""
    findings = list(examine(settings_of(args)))
    if args.json:
        import dataclasses
        import json

        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            fix = f"  -> {finding.fix}" if finding.fix else ""
            print(f"{finding.state:<5}{finding.name:<12}{finding.found}{fix}")
    return int(any(finding.state == "bad" for finding in findings))


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for everything that a run needs."""
    for check in (_python, _ffmpeg, _ytdlp, _javascript, _torch):
        yield _safely(check)
    for look in (_disk, _store):
        yield look(settings)


def _safely(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (ImportError, OSError, subprocess.SubprocessError) as exc:
        name = check.__name__.strip("_")
        return Finding(name, "bad", f"{type(exc).__name__}: {exc}", "run `make setup` again")


def _python() -> Finding:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return Finding("python", "ok", f"{version}, {len(os.sched_getaffinity(0))} cores")
    return Finding("python", "bad", version, "use Python 3.11 or 3.12")


def _ffmpeg() -> Finding:
    import imageio_ffmpeg

    binary = imageio_ffmpeg.get_ffmpeg_exe()
    first = subprocess.run([binary, "-version"], capture_output=True, text=True, timeout=30, check=True).stdout.split(
        "\n"
    )[0]
    return Finding("ffmpeg", "ok", first.split(" Copyright")[0])


def _ytdlp() -> Finding:
    from yt_dlp.version import __version__ as version

    year, month, day = (int(part) for part in version.split(".")[:3])
    age = (date.today() - date(year, month, day)).days
    if age > _MAX_YTDLP_DAYS:
        return Finding("yt-dlp", "warn", f"{version}, {age} days old", ".venv/bin/pip install -U yt-dlp: sites change")
    return Finding("yt-dlp", "ok", f"{version}, {max(age, 0)} days old")


def _javascript() -> Finding:
    for runtime in ("deno", "node", "bun", "qjs"):
        where = shutil.which(runtime)
        if where:
            return Finding("javascript", "ok", f"{runtime} at {where}")
    return Finding(
        "javascript", "warn", "none found; only YouTube needs one", "install deno (https://deno.com) or node"
    )


def _torch() -> Finding:
    import torch

    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    shown = ", ".join(devices) if devices else f"CPU with {torch.get_num_threads()} threads"
    return Finding("torch", "ok", f"{torch.__version__} on {shown}")


def _disk(settings: Settings) -> Finding:
    place = settings.home.folder
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    if free < _MIN_FREE_GB:
        return Finding(
            "disk", "warn", f"{free:.1f} GB free at {place}", f"free {_MIN_FREE_GB:.0f} GB, or choose another --root"
        )
    return Finding("disk", "ok", f"{free:.1f} GB free at {place}")


def _store(settings: Settings) -> Finding:
    store = settings.store
    if store.is_local and not Path(store.root).exists():
        parent = Path(store.root).parent
        while not parent.exists() and parent != parent.parent:
            parent = parent.parent
        if parent.is_dir() and os.access(parent, os.W_OK):
            return Finding("store", "ok", f"{store.root} (not there yet; {parent} is writable)")
        return Finding("store", "bad", f"{store.root} cannot be made in {parent}", "choose another --root")
    try:
        store.check_writable()
    except UserError as exc:
        return Finding("store", "bad", str(exc))
    return Finding("store", "ok", f"{store.root} is reachable and writable")
