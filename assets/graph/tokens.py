"""The token shards: the training shards, encoded by the frozen tokenizer. Made on request."""

from collections import Counter

import dagster as dg

from assets.graph.checks import check_specs, verdict
from assets.graph.context import Result, bars, materialized, table, working
from assets.graph.dataset import training_shards
from assets.graph.ownership import OWNERS
from assets.graph.resources import Lampworks
from assets.graph.train import video_tokenizer

MOST_ENCODED_AGAIN = 8
"""Tars of which the check encodes a clip again, spread over all of them."""


@dg.asset(
    owners=OWNERS,
    code_version="1",
    group_name="dataset",
    deps=[training_shards, video_tokenizer],
    kinds={"pytorch", "webdataset"},
    pool="training",
    check_specs=check_specs("token_shards"),
)
def token_shards(context: dg.AssetExecutionContext, lampworks: Lampworks) -> Result:
    """One row is one tar of tokens: the windows of one training tar, encoded by the configured tokenizer.

    Runs on request: `lampworks run --select token_shards`. Each window is encoded alone; `tokens.window`,
    `tokens.stride` and `tokens.packing` say which windows and how they are stored. A takedown removes the tokens of its
    videos.
    """
    with working(context, lampworks) as work:
        from models.tokens.check import check_tokens
        from models.tokens.encode import write_tokens

        found = write_tokens(work.job)
        checked = check_tokens(work.job, MOST_ENCODED_AGAIN)
        rows = work.store.read("tokens").sort_by("path").to_pylist()
        windows: Counter[str] = Counter()
        for row in rows:
            windows[row["split"]] += row["windows"]
        shown = [{name: row[name] for name in ("path", "clips", "windows", "bytes", "sha256")} for row in rows]
        return materialized(
            found.clips,
            found.version,
            [
                verdict(
                    "token_shards",
                    "conservation",
                    not checked.missing,
                    f"{found.clips} clips have tokens, {found.left_out} a reason why not, "
                    f"{len(checked.missing)} neither",
                    {"first": checked.missing[0]} if checked.missing else None,
                ),
                verdict(
                    "token_shards",
                    "same_as_encoding",
                    not checked.differing,
                    f"{checked.encoded_again} clips encoded again, {len(checked.differing)} have other tokens",
                    {"first": checked.differing[0]} if checked.differing else None,
                ),
            ],
            {
                "version": found.version,
                "tokenizer": found.tokenizer,
                "windows": found.windows,
                "megabytes": round(found.bytes / 1e6, 2),
                "tars written": found.written,
                "windows by split": bars(dict(windows), "windows by split"),
                "tars": table(shown),
                "path": dg.MetadataValue.path(work.store.url(f"tokens/{found.version}")),
            },
        )
