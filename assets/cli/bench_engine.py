"""`lampworks bench engine`: items a second and overhead an item, of this machine and of a Ray cluster."""

from __future__ import annotations

import argparse
import json

from pipeline.errors import UserError


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `engine`."""
    command.add_argument("--items", type=int, default=500, metavar="N", help="of engine: items of each run (500)")
    command.add_argument("--address", metavar="HOST:PORT", help="of engine: head of a Ray cluster to measure too")
    command.add_argument("--token-file", metavar="FILE", help="of engine: the cluster's token")
    command.add_argument("--nodes", type=int, default=2, metavar="N", help="of engine: items at a time on it (2)")


def run_engine(args: argparse.Namespace) -> int:
    """Measure and print."""
    from pipeline.bench.engine import bench_engine, cluster_config, local_config

    for name, least in (("items", 2), ("nodes", 1)):
        if getattr(args, name) < least:
            raise UserError(f"--{name} = {getattr(args, name)}: must be at least {least}")
    configs = [local_config()]
    if args.address:
        configs.append(cluster_config(args.address, args.token_file or "", args.nodes))
    runs = list(bench_engine(configs, args.items))
    if args.json:
        print(json.dumps([vars(run) | {"items_s": run.items_s, "overhead_ms": run.overhead_ms} for run in runs]))
        return 0
    print(f"{args.items} items of each kind:")
    print("  backend  work ms  at a time  start s   items/s  overhead ms/item  failed")
    for run in runs:
        print(
            f"  {run.backend:7} {run.work_ms:8} {run.workers:10} {run.start_s:8.2f} {run.items_s:9.1f} "
            f"{run.overhead_ms:17.2f} {run.failed:7}"
        )
    if not args.address:
        print("  for a Ray cluster beside it: --address HOST:PORT --token-file FILE")
    return int(any(run.failed for run in runs))
