"""Five thousand batches, as of 55 million clips and a quarter: Dagster's pages show all of them."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.passes.instance import open_instance
from assets.settings import load_settings
from tests.dagster_ui import Ui

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
BATCHES = [f"2026w{number // 100 + 1:02d}-{number % 100 + 1:04d}" for number in range(5000)]
MADE = BATCHES[:4000:8]
ASSET = {"path": ["raw_videos"]}

PARTITIONS = """query($key: AssetKeyInput!) {assetNodeOrError(assetKey: $key) {... on AssetNode {
    partitionKeysByDimension {name type partitionKeys}
    partitionStats {numMaterialized numPartitions numFailed}
    assetPartitionStatuses {... on DefaultPartitionStatuses {
        materializedPartitions failedPartitions unmaterializedPartitions materializingPartitions}}}}}"""
GRAPH = """query {assetNodes {id assetKey {path} partitionStats {numMaterialized numPartitions}
    assetMaterializations(limit: 1) {timestamp runId partition}}}"""
EVENTS = """query($key: AssetKeyInput!) {assetOrError(assetKey: $key) {... on Asset {
    assetMaterializations(limit: 100) {partition timestamp}}}}"""
JOB = """query($where: PipelineSelector!) {pipelineOrError(params: $where) {... on Pipeline {
    partitionKeysOrError {partitionKeys}}}}"""


def test_the_pages_of_five_thousand_partitions_load(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    settings = load_settings(str(tmp_path / "root"), home=tmp_path / "root")
    with open_instance(settings.home) as instance:
        instance.add_dynamic_partitions("video_batch", BATCHES)
        for batch in MADE:
            instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey("raw_videos"), partition=batch))
    ui = Ui(settings.home, settings.store.root, ["--source", f"folder:{tmp_path / 'videos'}"])
    try:
        ui.wait()

        def ask(page: str, query: str, **variables: Any) -> Any:
            began = time.monotonic()
            found = ui.ask(query, **variables)
            print(f"{page}: {time.monotonic() - began:.2f} s")
            return found

        shown = ask("partitions of an asset", PARTITIONS, key=ASSET)["assetNodeOrError"]
        assert sorted(shown["partitionKeysByDimension"][0]["partitionKeys"]) == BATCHES
        assert shown["partitionStats"] == {"numMaterialized": len(MADE), "numPartitions": 5000, "numFailed": 0}
        statuses = shown["assetPartitionStatuses"]
        assert sorted(statuses["materializedPartitions"]) == MADE
        assert len(statuses["unmaterializedPartitions"]) == 5000 - len(MADE)
        nodes = {node["assetKey"]["path"][0]: node for node in ask("graph of assets", GRAPH)["assetNodes"]}
        assert nodes["raw_videos"]["partitionStats"]["numMaterialized"] == len(MADE)
        assert nodes["clips"]["partitionStats"]["numPartitions"] == 5000
        events = ask("events of an asset", EVENTS, key=ASSET)["assetOrError"]["assetMaterializations"]
        assert [event["partition"] for event in events] == MADE[::-1][:100]
        where = {**ui.place(), "pipelineName": "collect_batch"}
        keys = ask("partitions of a job", JOB, where=where)["pipelineOrError"]["partitionKeysOrError"]["partitionKeys"]
        assert len(keys) == 5000
    finally:
        ui.stop(signal.SIGKILL)
