"""`lampworks doctor`: one line per thing that a run needs, with the fix where it is missing."""

from __future__ import annotations

import argparse
import dataclasses
import json

from assets.cli.options import Parsers, settings_of
from pipeline.inspect.doctor import Finding, run_doctor
from pipeline.outside import shown_text, shown_values


def add_commands(commands: Parsers) -> None:
    """Add `doctor`."""
    doctor = commands.add(
        "doctor",
        run_findings,
        "Check this machine and this root: one line each, with the fix.",
        "Python, ffmpeg, yt-dlp and its age, a JavaScript runtime for YouTube, disk, store, torch and its devices.\n"
        "Exit code 1 where something is missing.",
        "  lampworks doctor --root s3://bucket/lampworks",
    )
    doctor.add_argument("--source", metavar="SPEC", help="what the check is for: youtube needs more than a folder")
    doctor.add_argument("--json", action="store_true", help="print one JSON array")


def run_findings(args: argparse.Namespace) -> int:
    """Print every finding."""
    settings = settings_of(args, recall=False)
    findings = [*run_doctor(settings.store, settings.home, settings.config), check_torch()]
    if args.json:
        print(json.dumps(shown_values([dataclasses.asdict(finding) for finding in findings]), indent=2))
    else:
        for finding in findings:
            fix = f"\n{'':18}fix: {finding.fix}" if finding.fix else ""
            print(f"{'ok' if finding.ok else 'FIX':<4}{finding.name:<14}{shown_text(finding.detail + fix)}")
    return int(not all(finding.ok for finding in findings))


def check_torch() -> Finding:
    """Say which torch is here and what it computes on."""
    try:
        import torch
    except (ImportError, OSError) as exc:
        return Finding("torch", False, f"cannot be loaded: {exc}", "run `make setup` again")
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found = ", ".join(devices) if devices else f"CPU, {torch.get_num_threads()} threads"
    return Finding("torch", True, f"{torch.__version__} on {found}")
