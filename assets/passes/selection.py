"""Which assets a pass makes: `clips`, `+clips` (all upstream too), `clips+` (all downstream too), comma-separated.

`*clips` and `clips*`, Dagster's older spelling, mean the same as `+clips` and `clips+`.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import dagster as dg

from assets.graph.definitions import graph
from assets.graph.jobs import JOBS, ON_REQUEST
from pipeline.errors import UserError

_MARKS = "+*"


def resolve_selection(select: Sequence[str] | None) -> frozenset[str]:
    """Return the names of the selected assets; None means all but those that run on request only.

    Raises:
        UserError: a name is unknown, or the selection is empty.
    """
    assets = {asset for made in JOBS.values() for asset in made}
    if select is None:
        return frozenset(assets - ON_REQUEST)
    chosen: set[str] = set()
    for text in (part.strip() for item in select for part in item.split(",")):
        if not text:
            continue
        name = text.strip(_MARKS)
        if name not in assets:
            close = difflib.get_close_matches(name, assets, n=1)
            raise UserError(
                f"--select {text!r}: unknown asset"
                + (f"; did you mean {close[0]}?" if close else f"; choose from {', '.join(sorted(assets))}")
            )
        chosen.add(name)
        if text[0] in _MARKS:
            chosen |= upstream_of(name)
        if text[-1] in _MARKS:
            chosen |= downstream_of(name) - ON_REQUEST
    if "study" in chosen:
        raise UserError(
            "--select study: a study is made by its name, with `lampworks study NAME`, or in the launchpad of the asset"
        )
    if not chosen:
        raise UserError(f"--select is empty; choose from {', '.join(sorted(assets))}")
    return frozenset(chosen)


def upstream_of(asset: str) -> frozenset[str]:
    """Return the names of all assets that an asset is made from, directly or not."""
    return _resolved(dg.AssetSelection.assets(asset).upstream(include_self=False))


def downstream_of(asset: str) -> frozenset[str]:
    """Return the names of all assets that are made from an asset, directly or not."""
    return _resolved(dg.AssetSelection.assets(asset).downstream(include_self=False))


def _resolved(selection: dg.AssetSelection) -> frozenset[str]:
    return frozenset(key.to_user_string() for key in selection.resolve(graph.resolve_asset_graph()))
