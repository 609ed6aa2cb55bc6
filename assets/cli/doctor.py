"""`lampworks doctor`: one line per thing that a run needs, with the fix where it is missing."""

from __future__ import annotations

import argparse
import dataclasses
import json

from assets.cli.options import Parsers, settings_of
from assets.settings import Settings
from assets.suggested import options_of
from pipeline.errors import UserError
from pipeline.inspect.deep import Fault, find_faults
from pipeline.inspect.doctor import Finding, run_doctor
from pipeline.inspect.mend import mend
from pipeline.outside import shown_text, shown_values

_MOST_ROUNDS = 3


def add_commands(commands: Parsers) -> None:
    """Add `doctor`."""
    doctor = commands.add(
        "doctor",
        run_findings,
        "Check this machine and this root: one line each, with the fix.",
        "Python, ffmpeg, yt-dlp and its age, a JavaScript runtime for YouTube, disk, store, torch and its devices.\n"
        "Exit code 1 where something is missing. With --deep, every file of the root is compared with the hash in its\n"
        "row, and each damaged one is named with what depends on it. --mend then sets damaged files aside (in folder\n"
        "damaged/ of the root), so that the next `lampworks run` makes again what can be made again.",
        "  lampworks doctor --root s3://bucket/lampworks\n"
        "  lampworks doctor --deep --root DIR          after a failing disk, a copy, a crash",
    )
    doctor.add_argument("--source", metavar="SPEC", help="what the check is for: youtube needs more than a folder")
    doctor.add_argument("--deep", action="store_true", help="compare every file with the hash in its row")
    doctor.add_argument("--mend", action="store_true", help="set damaged files aside; implies --deep")
    doctor.add_argument("--json", action="store_true", help="print one JSON array")


def run_findings(args: argparse.Namespace) -> int:
    """Print every finding."""
    settings = settings_of(args, recall=False)
    findings = [*run_doctor(settings.store, settings.home, settings.config), check_torch(), *check_embedding(settings)]
    mended: list[str] = []
    if args.deep or args.mend:
        faults, mended = _deep(settings, wants_mending=args.mend)
        findings += [check_fault(fault, settings) for fault in faults] or [_whole(settings)]
    if args.json:
        print(json.dumps(shown_values([dataclasses.asdict(finding) for finding in findings]), indent=2))
    else:
        for finding in findings:
            fix = f"\n{'':18}fix: {finding.fix}" if finding.fix else ""
            print(f"{'ok' if finding.ok else 'FIX':<4}{finding.name:<14}{shown_text(finding.detail + fix)}")
        for done in mended:
            print(f"mended: {shown_text(done)}")
        if mended:
            print(f"now run: lampworks run{options_of(settings)}")
    return int(not all(finding.ok for finding in findings))


def _deep(settings: Settings, *, wants_mending: bool) -> tuple[list[Fault], list[str]]:
    """Return what is damaged (after the mending, where that is wanted), and what was mended."""
    if not wants_mending:
        return _faults(settings), []
    from assets.passes.lock import lock_home
    from assets.report.redraw import draw_again

    done: list[str] = []
    with lock_home(settings.home, settings.store.root):
        # what the rows of a damaged table name can be checked once the table is mended
        for _ in range(_MOST_ROUNDS):
            faults = _faults(settings)
            if not faults:
                break
            done += mend(settings.store, settings.home, faults)
            done += draw_again(settings, [fault.key for fault in faults if fault.kind == "page"])
        return _faults(settings), done


def _faults(settings: Settings) -> list[Fault]:
    """Return every damaged file of the root, checkpoints last."""
    from models.training.damaged import damaged_checkpoints

    mend = "`--mend` sets it aside, and the training goes on from the checkpoint before it, or from its first step"
    found = find_faults(settings.store, settings.home)
    for one in damaged_checkpoints(settings.store):
        item = {"keys": one.keys}
        found.append(Fault("checkpoint", one.keys[0], f"cannot be used ({one.why})", "a training", mend, item))
    return found


def check_fault(fault: Fault, settings: Settings) -> Finding:
    """Return a damaged file as a finding."""
    place = str(settings.home.folder / fault.key) if fault.kind == "journal" else settings.store.root + "/" + fault.key
    fix = f"restore it from a copy, or {fault.mend}"
    return Finding("damaged", False, f"{place} {fault.why} (needed for {fault.needed_for})", fix)


def _whole(settings: Settings) -> Finding:
    return Finding("deep check", True, f"every file of {settings.store.root} is what its row says")


def check_embedding(settings: Settings) -> list[Finding]:
    """Say whether the network that embeds clips is the one that is configured; nothing where embedding is off."""
    from classifier.embedding.weights import weights_of

    config = settings.config.embedding
    if not config.enabled:
        return []
    try:
        weights = weights_of(config)
        weights.read()
    except UserError as exc:
        return [Finding("embedding", False, str(exc))]
    return [Finding("embedding", True, f"{weights.name}, SHA-256 {weights.sha256[:12]}...")]


def check_torch() -> Finding:
    """Say which torch is here and what it computes on."""
    try:
        import torch
    except (ImportError, OSError) as exc:
        return Finding("torch", False, f"cannot be loaded: {exc}", "run `make setup` again")
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found = ", ".join(devices) if devices else f"CPU, {torch.get_num_threads()} threads"
    return Finding("torch", True, f"{torch.__version__} on {found}")
