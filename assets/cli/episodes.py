"""`lampworks episodes`: data sets of episodes as a folder of videos, each with its true actions."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from assets.cli.options import Parsers
from pipeline.outside import shown_text

_SHOWN = 20


def add_commands(commands: Parsers) -> None:
    """Add `episodes`."""
    episodes = commands.add(
        "episodes",
        run_episodes,
        "Turn a data set of episodes (.npz, HDF5, LeRobot v2) into a folder of videos with their true actions.",
        "SOURCE is a folder of .npz or HDF5 files (robomimic, Minari, D4RL), one such file, or a folder of LeRobot.\n"
        "HDF5 needs the extra `episodes` (h5py). What is there is kept; an episode that cannot be used is named.",
        "  lampworks episodes can_ph.hdf5 --camera agentview_image --out episodes\n"
        "  lampworks run --root DIR --preset robotics-small --source folder:episodes",
        root=False,
    )
    episodes.add_argument("source", metavar="SOURCE", help="a folder or a file")
    episodes.add_argument("--out", required=True, metavar="DIR", help="folder to write to")
    episodes.add_argument(
        "--fps", type=float, default=0.0, metavar="N", help="pictures a second, where the data set does not say"
    )
    episodes.add_argument("--camera", default="", metavar="NAME", help="which pictures, where there are several")
    episodes.add_argument("--json", action="store_true", help="print one JSON object")


def run_episodes(args: argparse.Namespace) -> int:
    """Write what is missing, and say what is left out and why."""
    from pipeline.episodes.convert import ConvertSettings, convert_episodes

    settings = ConvertSettings(fps=args.fps, camera=args.camera)
    made = convert_episodes(Path(args.source), Path(args.out), settings)
    count = len(made.written) + len(made.there)
    if args.json:
        about = {"episodes": count, "new": len(made.written), "left_out": made.left_out}
        print(json.dumps(about, indent=2))
        return 0 if count else 1
    for name, why in list(made.left_out.items())[:_SHOWN]:
        print(f"left out  {shown_text(name)}: {shown_text(why)}")
    if len(made.left_out) > _SHOWN:
        print(f"left out  {len(made.left_out) - _SHOWN} more (--json lists all)")
    print(f"{count} episodes in {shown_text(args.out)}, {len(made.written)} of them new, {len(made.left_out)} left out")
    return 0 if count else 1
