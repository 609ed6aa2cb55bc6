"""`lampworks bench classifier`: every candidate on the rated clips of a root, by folds that divide no source or group.

Nothing is written. The table is that of the report; other groups, folds and repeats say how well the classifier would
do on what it has never seen, such as another game.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, get_args

from assets.cli.options import bench_settings
from assets.report.classifier import figure_text, spoken
from classifier.training.metrics import CandidateMetrics
from pipeline.config.curate import Candidate
from pipeline.errors import UserError

if TYPE_CHECKING:
    from classifier.pool import Pool
    from classifier.training.examples import Examples

_NAME, _AUC = 34, 23


def add_options(bench: argparse.ArgumentParser) -> None:
    """Add the options of `bench classifier`."""
    bench.add_argument(
        "--groups",
        metavar="FILE:FIELD",
        help="of classifier and economy: what no fold divides, a field of a JSON lines or CSV file that names videos "
        "(metadata.jsonl:source_game); default: the channel, else the video",
    )
    bench.add_argument("--folds", type=int, default=5, metavar="N", help="of classifier and economy: folds (5)")
    bench.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="of classifier and economy: times they are drawn (5)"
    )
    bench.add_argument("--candidates", metavar="A,B", help="of classifier: which to compare (those of the settings)")


def run_classifier(args: argparse.Namespace) -> int:
    """Compare and print."""
    settings = bench_settings(args)
    from classifier.pool import load_pool
    from classifier.training.candidates.choices import needs_of
    from classifier.training.compare import compare_candidates
    from classifier.training.examples import load_examples
    from classifier.training.measure import candidate_metrics
    from classifier.training.promotion import best_candidate
    from classifier.training.train import rated_clips, require_labels

    config = dataclasses.replace(settings.config.classifier, folds=args.folds, repeats=args.repeats)
    if args.candidates:
        config = dataclasses.replace(config, candidates=_candidates(args.candidates))
    pool = load_pool(settings.store, settings.config)
    ratings = rated_clips(pool)
    require_labels(ratings, settings.config)
    examples = load_examples(pool, ratings, config, needs_of(config))
    groups, grouped_by = None, "source"
    if args.groups:
        groups, grouped_by = groups_of(pool, examples, args.groups), args.groups.rpartition(":")[2]
    found = compare_candidates(examples, config, groups=groups)
    choice = best_candidate(found)
    rows = [candidate_metrics(one, found, choice.name) for one in found.compared]
    folds = max(len(drawn) for drawn in found.folds)
    if args.json:
        print(json.dumps({
            "clips": len(found.examples), "groups": len(set(found.examples.groups)), "grouped_by": grouped_by,
            "folds": folds, "repeats": config.repeats, "published": choice.name, "why": choice.why, "candidates": rows,
            "unreadable": dict(examples.unreadable),
        }))  # fmt: skip
        return 0
    counts = ", ".join(f"{int((found.examples.rating_N == rating).sum())} rated {rating}" for rating in range(1, 6))
    print(f"{len(found.examples)} rated clips of {len(set(found.examples.groups))} groups by {grouped_by}: {counts}")
    if examples.unreadable:
        print(f"  {len(examples.unreadable)} rated clips could not be read")
    print(f"{folds} folds that divide no {grouped_by}, drawn {config.repeats} times; 95 % intervals over groups:")
    print("\n".join([*sides(rows, config.good_rating), *candidates_table(rows, choice.name)]))
    print(f"would be published: {choice.why}")
    return 0


def _candidates(text: str) -> tuple[Candidate, ...]:
    known: dict[str, Candidate] = {name: name for name in get_args(Candidate)}
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f"--candidates {text}: {unknown[0]!r} is none of {', '.join(known)}")
    return tuple(known[name] for name in names)


def groups_of(pool: Pool, examples: Examples, spec: str) -> list[str]:
    """Return the group of each clip by `--groups`; a video without one is a group of its own."""
    from classifier.labels.group_file import read_groups
    from pipeline.ids import split_clip_id

    found = read_groups(pool.store, spec)
    print(f"groups: {found.note()}", file=sys.stderr)
    videos = [split_clip_id(clip_id)[0] for clip_id in examples.clip_ids]
    groups = [found.groups.get(video, video) for video in videos]
    if len(set(groups)) < 2:
        raise UserError(f"--groups {spec}: all {len(groups)} rated clips are in one group, so nothing can be held out")
    return groups


def candidates_table(candidates: Sequence[CandidateMetrics], published: str) -> list[str]:
    """Return the lines of the table of candidates: each with its AUC, interval and processor time."""
    lines = [f"  {'':<{_NAME}}{'AUC, good against bad':<{_AUC}}{'AUC, 5 against 1':<{_AUC}}{'CPU-s':>6}"]
    for row in candidates:
        mark = " (published)" if row["name"] == published else " (reference)" if row["reference"] else ""
        figures = f"{figure_text(row['auc']):<{_AUC}}{figure_text(row['extremes']):<{_AUC}}"
        lines.append(
            f"  {spoken(row['name']) + mark:<{_NAME}}{figures}{row['cpu_seconds']:6.1f}  {row['note']}".rstrip()
        )
    return lines


def sides(candidates: Sequence[CandidateMetrics], good_rating: int) -> list[str]:
    """Return a line for each of the two figures: how many clips of how many groups are on each side."""
    lines = []
    for figures, above, below in (
        ([row["auc"] for row in candidates], f"{good_rating} or more", f"{min(2, good_rating - 1)} or less"),
        ([row["extremes"] for row in candidates], "5", "1"),
    ):
        found = next((figure for figure in figures if figure is not None), None)
        if found is not None:
            few = ": too few to tell" if found["few"] else ""
            lines.append(
                f"  {found['good']} clips of {found['good_sources']} groups rated {above} against {found['bad']} of "
                f"{found['bad_sources']} rated {below}{few}"
            )
    return lines
