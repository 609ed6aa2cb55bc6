"""Check what the data path needs of this machine: one finding per check, each with its fix.

for finding in run_doctor(store, home, config):
    print(finding.name, finding.ok, finding.detail, finding.fix)
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from pipeline.config import Config
from pipeline.errors import StoreError
from pipeline.storage.home import Home
from pipeline.storage.store import Store

PYTHONS = ((3, 11), (3, 14))
"""First version that works, and the first one that is not tested."""
YTDLP_MAX_AGE_DAYS = 90
_NODE_MIN, _DENO_MIN = 22, 2
_TIMEOUT_S = 20


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    """What to do; empty where nothing is wrong."""


def run_doctor(store: Store, home: Home, config: Config, *, today: date | None = None) -> list[Finding]:
    """Run all checks; a failure is a finding, never an exception.

    Args:
        store: its root is read, and a probe is written and deleted.
        home: the free space of its disk is measured.
        config: its source, and the free disk space that downloads need.
        today: the date that ages are computed for; by default the current one.
    """
    return [
        check_python(sys.version_info[:3]),
        check_ffmpeg(),
        check_ytdlp(importlib.metadata.version("yt-dlp"), today or datetime.now(UTC).date()),
        check_javascript(runtimes(), wrong_script(), needed=config.source.kind == "youtube"),
        check_disk(home.folder, config.download.min_free_gb),
        check_store(store),
    ]


def check_python(version: tuple[int, ...]) -> Finding:
    """Check the version of Python."""
    first, end = PYTHONS
    text = ".".join(map(str, version))
    if first <= version[:2] < end:
        return Finding("python", True, text)
    wanted = f"{first[0]}.{first[1]} to {end[0]}.{end[1] - 1}"
    return Finding("python", False, f"{text} at {sys.executable}", f"use Python {wanted}")


def check_ffmpeg() -> Finding:
    """Run the ffmpeg of imageio-ffmpeg."""
    import imageio_ffmpeg

    fix = "reinstall it: pip install --force-reinstall imageio-ffmpeg"
    try:
        executable = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        return Finding("ffmpeg", False, str(error).strip(), fix)
    line = _first_line([executable, "-version"])
    if not line.startswith("ffmpeg version"):
        return Finding("ffmpeg", False, f"{executable} does not run ({line})", fix)
    return Finding("ffmpeg", True, f"{line.split()[2]} ({executable})")


def check_ytdlp(version: str, today: date) -> Finding:
    """Check the age of yt-dlp: sites change, and with an old release videos seem to be gone."""
    match = re.match(r"(\d{4})\.(\d{1,2})\.(\d{1,2})", version)
    if match is None:
        return Finding("yt-dlp", True, f"{version} (age unknown)")
    age = (today - date(*(int(part) for part in match.groups()))).days
    detail = f"{version}, {age} days old"
    if age > YTDLP_MAX_AGE_DAYS:
        return Finding("yt-dlp", False, detail, "update it: pip install --upgrade yt-dlp yt-dlp-ejs")
    return Finding("yt-dlp", True, detail)


def runtimes() -> dict[str, str]:
    """Return the version of each JavaScript runtime that is on the PATH or beside this interpreter, by name."""
    beside = str(Path(sys.executable).parent)
    found = {}
    for name in ("deno", "node"):
        executable = shutil.which(name) or shutil.which(name, path=beside)
        if executable and (match := re.search(r"\d+(?:\.\d+)*", _first_line([executable, "--version"]))):
            found[name] = match[0]
    return found


def wrong_script() -> str:
    """Return what is wrong with the script that such a runtime is given; nothing where it is the one of this yt-dlp."""
    try:
        from yt_dlp.extractor.youtube.jsc._builtin.vendor import VERSION
    except ImportError:
        # a place of its own inside yt-dlp: another release may have it elsewhere, or no such script
        return ""
    try:
        version = importlib.metadata.version("yt-dlp-ejs")
    except importlib.metadata.PackageNotFoundError:
        return f"the script yt-dlp-ejs {VERSION} is missing"
    return "" if version.split(".")[:2] == VERSION.split(".")[:2] else f"yt-dlp-ejs {version} is not {VERSION}"


def check_javascript(found: dict[str, str], script: str, *, needed: bool) -> Finding:
    """Check the JavaScript runtimes: without one, YouTube offers no formats and all videos seem to be gone.

    Args:
        found: runtimes, by name, and their versions.
        script: what is wrong with the script that they are given.
        needed: whether the source is YouTube.
    """
    name = "javascript"
    for runtime, minimum in (("deno", _DENO_MIN), ("node", _NODE_MIN)):
        if runtime in found and int(found[runtime].split(".")[0]) >= minimum:
            detail, fix = f"{runtime} {found[runtime]}", "pip install --upgrade yt-dlp yt-dlp-ejs"
            if not script:
                return Finding(name, True, detail)
            detail = f"{detail}, but {script}"
            break
    else:
        old = ", ".join(f"{runtime} {version} is too old" for runtime, version in found.items()) or "no runtime"
        detail, fix = old, f"pip install 'lampworks[youtube]' (or install node {_NODE_MIN} or newer)"
    return Finding(name, False, detail, fix) if needed else Finding(name, True, f"{detail}; only YouTube needs one")


def check_disk(folder: Path, min_free_gb: float) -> Finding:
    """Check the free space of the disk that downloads and clips are written to."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    free_gb = shutil.disk_usage(there).free / 1e9
    detail = f"{free_gb:.1f} GB free at {folder}"
    if free_gb < min_free_gb:
        fix = f"free space or choose another --root: downloads need {min_free_gb:g} GB (download.min_free_gb)"
        return Finding("disk", False, detail, fix)
    return Finding("disk", True, detail)


def check_store(store: Store) -> Finding:
    """Check that the root can be read and written."""
    try:
        version = store.version("videos")
        store.check_writable()
    except StoreError as error:  # it says itself what to do
        return Finding("store", False, str(error))
    except Exception as error:  # whatever a file system or an object store raises is the finding
        text = " ".join(str(error.__cause__ or error).split())[:300] or type(error).__name__
        return Finding("store", False, f"{store.root}: {text}", "choose another --root, or give this user access to it")
    state = "empty" if version < 0 else f"videos at version {version}"
    return Finding("store", True, f"{store.root} is readable and writable, {state}")


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ((done.stdout or done.stderr).splitlines() or [""])[0]
