"""The graph loads anywhere and at once, and is the graph that the design says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import definitions
from assets.automation.schedules import PassConfig
from assets.definitions import defs
from assets.graph.checks import CHECKS
from assets.graph.collect import SearchConfig
from assets.graph.jobs import JOBS
from assets.graph.label import LabelSource
from assets.graph.on_request import AblationConfig, StudyConfig
from assets.graph.resources import Lampworks
from assets.passes.instance import TEMPLATE
from assets.passes.selection import upstream_of

CHECKOUT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).with_name("graph.json")


def graph_as_plain() -> dict[str, dict[str, object]]:
    """Keys, groups, partitions, dependencies and checks of every asset."""
    graph = defs.resolve_asset_graph()
    checks: dict[str, list[str]] = {}
    for key in graph.asset_check_keys:
        spec = graph.get_check_spec(key)
        blocking = " (blocking)" if spec.blocking else ""
        checks.setdefault(key.asset_key.to_user_string(), []).append(f"{key.name}{blocking}")
    return {
        key.to_user_string(): {
            "group": graph.get(key).group_name,
            "kinds": sorted(graph.get(key).kinds),
            "owners": sorted(graph.get(key).owners),
            "code_version": graph.get(key).code_version,
            "partitions": graph.get(key).partitions_def.name if graph.get(key).partitions_def else None,
            "deps": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "checks": sorted(checks.get(key.to_user_string(), [])),
        }
        for key in sorted(graph.get_all_asset_keys())
    }


def test_the_graph_is_the_one_on_file() -> None:
    found = json.dumps(graph_as_plain(), indent=1, sort_keys=True) + "\n"
    if os.environ.get("LAMPWORKS_UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(found, "utf-8")
    assert found == SNAPSHOT.read_text("utf-8"), "changed on purpose? LAMPWORKS_UPDATE_SNAPSHOTS=1 writes it anew"


def test_every_asset_says_what_one_of_its_rows_is_and_has_a_check_that_blocks_or_warns() -> None:
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.kinds, key
    assert set(CHECKS) == {key.to_user_string() for key in graph.get_all_asset_keys()}


def test_every_job_resolves_and_none_mixes_assets_per_batch_with_global_ones() -> None:
    for name, assets in JOBS.items():
        job = defs.resolve_job_def(name)
        assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == set(assets)
        partitioned = {defs.resolve_asset_graph().get(dg.AssetKey(asset)).is_partitioned for asset in assets}
        assert len(partitioned) == 1, name
    assert defs.resolve_job_def("recurate").name == "recurate"
    assert defs.resolve_job_def("full_pass").name == "full_pass"


def test_the_jobs_make_every_asset_once_and_none_before_what_it_is_made_from() -> None:
    order = [asset for assets in JOBS.values() for asset in assets]
    keys = defs.resolve_asset_graph().get_all_asset_keys()
    assert sorted(order) == sorted(key.to_user_string() for key in keys)
    for position, asset in enumerate(order):
        assert upstream_of(asset) <= set(order[:position]), asset


@pytest.mark.parametrize("config", [SearchConfig, LabelSource, AblationConfig, StudyConfig, PassConfig, Lampworks])
def test_every_field_of_the_launchpad_is_described(config: type[dg.Config]) -> None:
    fields = config.model_fields
    assert fields
    assert [name for name, field in fields.items() if not field.description] == []


def test_a_search_that_is_older_than_its_schedule_is_shown_as_stale() -> None:
    policies = {key.to_user_string(): node.freshness_policy for key, node in nodes().items() if node.freshness_policy}
    assert set(policies) == {"search_results"}
    week = timedelta(days=7)
    assert policies["search_results"].warn_window.to_timedelta() > week


def test_every_asset_links_to_the_function_that_makes_it() -> None:
    for key, node in nodes().items():
        (reference,) = node.metadata["dagster/code_references"].code_references
        assert "assets/graph/" in reference.source, key


def nodes() -> dict[dg.AssetKey, Any]:
    """The graph's assets by key."""
    graph = defs.resolve_asset_graph()
    return {key: graph.get(key) for key in graph.get_all_asset_keys()}


def test_the_module_holds_one_definitions_object_as_dg_demands() -> None:
    found = [value for value in vars(definitions).values() if isinstance(value, dg.Definitions)]
    assert found == [defs]


def test_nothing_starts_by_itself() -> None:
    assert [schedule.default_status for schedule in defs.schedules] == [dg.DefaultScheduleStatus.STOPPED]
    assert [sensor.default_status for sensor in defs.sensors] == [dg.DefaultSensorStatus.STOPPED]


def test_the_dagster_settings_beside_the_workspace_are_those_that_a_root_gets() -> None:
    assert (CHECKOUT / "dagster.yaml").read_text("utf-8") == TEMPLATE.read_text("utf-8")


@pytest.mark.timeout(120)
def test_definitions_load_from_any_folder_without_the_heavy_libraries(tmp_path: Path) -> None:
    # what `dagster dev -w workspace.yaml` does, in a folder from which nothing of ours can be imported
    script = f"""
import sys
from dagster._core.workspace.load import location_origins_from_yaml_paths
(origin,) = location_origins_from_yaml_paths([{str(CHECKOUT / "workspace.yaml")!r}])
target = origin.loadable_target_origin
sys.path.insert(0, target.working_directory)
from dagster._core.code_pointer import CodePointer
import dagster as dg
loaded = CodePointer.from_python_file(target.python_file, "defs", target.working_directory).load_target()
dg.Definitions.validate_loadable(loaded)
heavy = [name for name in ("torch", "sklearn", "yt_dlp", "av", "pyxel", "webdataset") if name in sys.modules]
assert not heavy, heavy
print(len(loaded.resolve_asset_graph().get_all_asset_keys()), "assets")
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-P", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "19 assets"
    assert list(tmp_path.iterdir()) == []
