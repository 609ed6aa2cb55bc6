"""`lampworks tabletop`: episodes of a simulated robot as a folder of videos, each with its true actions."""

from __future__ import annotations

import argparse
from pathlib import Path

from assets.cli.options import Parsers
from pipeline.outside import shown_text


def add_commands(commands: Parsers) -> None:
    """Add `tabletop`."""
    tabletop = commands.add(
        "tabletop",
        run_tabletop,
        "Record a simulated pusher that moves boxes, discs, ropes and soft blobs, as episodes with true actions.",
        "Needs the extra `robotics` (pymunk). A video an episode, and beside it what was commanded at each frame.\n"
        "The same seed gives the same episodes; what is there already is kept, and a larger --episodes adds to it.\n"
        "A folder with more episodes, or other settings, is refused.",
        "  lampworks tabletop --episodes 60 --out tabletop\n"
        "  lampworks run --root DIR --preset robotics-small --source folder:tabletop",
        root=False,
    )
    tabletop.add_argument("--episodes", type=int, default=60, metavar="N", help="recordings (default: %(default)s)")
    tabletop.add_argument(
        "--seconds", type=float, default=8.0, metavar="S", help="of the longest; the shortest has 60 %% of it (8)"
    )
    tabletop.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    tabletop.add_argument(
        "--size", type=int, default=128, metavar="PIXELS", help="rows and columns (default: %(default)s)"
    )
    tabletop.add_argument("--workers", type=int, default=0, metavar="N", help="processes, 0: one per core")
    tabletop.add_argument("--out", required=True, metavar="DIR", help="folder to write to")


def run_tabletop(args: argparse.Namespace) -> int:
    """Record what is missing."""
    from pipeline.tabletop.record import TabletopSettings, record_tabletop

    settings = TabletopSettings(episodes=args.episodes, seconds=args.seconds, seed=args.seed, size=args.size)
    made = record_tabletop(settings, Path(args.out), workers=args.workers or None)
    print(f"{args.episodes} episodes in {shown_text(args.out)}, {made} of them new")
    return 0
