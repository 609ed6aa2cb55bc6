"""`lampworks bench sizes`: parameters of every preset beside the published counts, and what the trainings cost."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.bench.gpu_costs import GpuCost
    from models.bench.sizes import PresetSize


def run_sizes(args: argparse.Namespace) -> int:
    """Count and print; nothing is trained or measured, and the networks take no memory."""
    from models.bench.gpu_costs import assumption, gpu_costs
    from models.bench.sizes import preset_sizes, usual_block_ratio

    sizes, costs = preset_sizes(), gpu_costs()
    if args.json:
        found = {"presets": [size.as_json() for size in sizes], "trainings": [cost.as_json() for cost in costs]}
        print(json.dumps(found))
        return 0
    head = ("preset", "tokenizer", "LAM", "dynamics", "published", "ratio", "sum")
    print("{:<18}{:>10}{:>8}{:>10}{:>11}{:>7}{:>9}".format(*head))
    for size in sizes:
        counts = [_short(count) for count in (size.tokenizer, size.latent_actions, size.dynamics, size.total)]
        # of the robots' model the paper tells the sum alone
        known = _short(size.published["dynamics"]) if "dynamics" in size.published else "-"
        ratio = f"{size.ratios['dynamics']:.3f}" if "dynamics" in size.published else "-"
        tokenizer, lam, dynamics, total = counts
        print(f"{size.preset:<18}{tokenizer:>10}{lam:>8}{dynamics:>10}{known:>11}{ratio:>7}{total:>9}")
    final = next(size for size in sizes if {"total", "tokenizer"} <= size.published.keys())
    print(_explanation(final, usual_block_ratio()))
    print(f"\nTrainings on GPUs. {assumption()}\n")
    print("\n".join(cost_lines(costs)))
    return 0


def cost_lines(costs: Sequence[GpuCost]) -> list[str]:
    """Return trainings on GPUs as a table of the docs."""
    lines = ["| preset | model | H100s | PFLOP | hours | GPU-hours | GB each | settings |", "|" + "---|" * 8]
    for cost in costs:
        figures = (cost.gpus, cost.pflop, cost.hours, cost.gpu_hours, cost.memory_gb)
        cells = [f"`{cost.preset}`", cost.model, *(f"{figure:,.0f}" for figure in figures)]
        lines.append(f"| {' | '.join(cells)} | {' '.join(f'`{setting}`' for setting in cost.settings)} |")
    return lines


def _explanation(final: PresetSize, usual: float) -> str:
    """Return what the counts tell about what the paper leaves open, in three lines."""
    lam, total = (
        f"{_short(getattr(final, name))} where the paper says {_short(final.published[name])}"
        for name in ("latent_actions", "total")
    )
    return (
        "\nFew heads of keys and values and a feed-forward of 2x fit every published dynamics, and the tokenizer\n"
        f"({final.ratios['tokenizer']:.3f} of its {_short(final.published['tokenizer'])}); as many heads as of queries "
        f"and 4x would make the largest {usual:.1f} times too large.\n"
        f"The same block gives the LAM {lam}, and the sum {total}."
    )


def _short(count: float) -> str:
    return f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.1f}M" if count < 1e8 else f"{count / 1e6:.0f}M"
