"""Daemon and pages find the code server, which only this user reaches unless an address of the network is named."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.cli.main import main, parser
from assets.cli.services.metrics import _COSTS
from assets.cli.services.places import ROLES, code_address, write_workspace

ROOT = Path(__file__).parents[5]
DEPLOY = ROOT / "deploy"


@pytest.mark.parametrize(
    ("code_server", "where"),
    [
        ("/tmp/lampworks-x/code", {"socket": "/tmp/lampworks-x/code"}),
        ("code:4266", {"host": "code", "port": 4266}),
        ("[::1]:4266", {"host": "::1", "port": 4266}),
    ],
)
def test_the_workspace_names_the_code_server(code_server: str, where: dict[str, Any], tmp_path: Path) -> None:
    written = json.loads(write_workspace(tmp_path, code_server).read_text())
    assert written == {"load_from": [{"grpc_server": {**where, "location_name": "lampworks"}}]}
    assert code_address(code_server) == {name: str(value) for name, value in where.items()}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["services", "--only", "deamon"], "'deamon' is no service; there are code, daemon, pages, metrics"),
        (["services", "--only", "daemon"], "name it with --code-server HOST:PORT"),
        (["services", "--only", "code"], "set DAGSTER_PG_URL to its address"),
        (["services", "--only", "pages", "--code-server", "nowhere"], "expected HOST:PORT"),
        (["services", "--host", "0.0.0.0"], "give --token"),
        (["health", "--only", "ray"], "'ray' is not asked; there are storage, store, code, daemon, pages, metrics"),
        (["health", "--only", "pages", "--pages", "pages:3000"], "expected an address, as http://pages:3000"),
        (["health", "--only", "code"], "--code-server HOST:PORT"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_fix(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.environ", {"PATH": ""})
    assert main([*arguments, "--root", str(tmp_path / "root"), "--port", "0", "--metrics-port", "0"]) == 2
    assert told in capsys.readouterr().err


def _commands(value: object) -> list[list[str]]:
    """Return every command of the compose file that is `lampworks`, as a shell or the container starts it."""
    if isinstance(value, dict):
        return [found for inner in value.values() for found in _commands(inner)]
    if not isinstance(value, list):
        return []
    texts = [str(one) for one in value]
    if "lampworks" in texts:
        return [texts[texts.index("lampworks") :]]
    return [found[1].split() for text in texts if (found := re.search(r"exec (lampworks .*)", text))] or [
        found for inner in value for found in _commands(inner)
    ]


def test_the_sample_deployment_starts_every_service_by_commands_that_exist() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    unit = (DEPLOY / "lampworks.service").read_text()
    [started] = re.findall(r"ExecStart=\S+/(lampworks .*)", unit)
    commands = [*_commands(compose["services"]), started.split()]
    parsed = [parser().parse_args(command[1:]) for command in commands]
    assert {one.only for one in parsed if one.only} >= set(ROLES)
    assert compose["services"].keys() == {*ROLES, "postgres", "ray-head", "ray-worker"}
    # nobody outside reaches the code server, the database or Ray, and this machine alone the pages
    published = {name: one["ports"] for name, one in compose["services"].items() if "ports" in one}
    assert published == {"pages": ["127.0.0.1:3000:3000"], "metrics": ["127.0.0.1:9464:9464"]}
    assert isinstance(parsed[0], argparse.Namespace)
    # who is asked by the name of a service answers to that name
    for asked in {one.pages.removeprefix("http://").partition(":")[0] for one in parsed if one.pages}:
        assert compose["services"][asked]["hostname"] == asked


def test_the_objects_of_every_ray_node_fit_in_its_shared_memory() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    nodes = {name: one for name, one in compose["services"].items() if "ray start" in " ".join(one.get("command", []))}
    assert nodes.keys() == {"code", "ray-head", "ray-worker"}
    for one in nodes.values():
        [objects] = re.findall(r"--object-store-memory=(\d+)", " ".join(one["command"]))
        assert int(objects) < int(one["shm_size"].removesuffix("gb")) * 2**30


def test_the_sample_settings_and_variables_are_known() -> None:
    from pipeline.config import load_config

    config = load_config(DEPLOY / "lampworks.yaml")
    assert (config.engine.backend, config.source.kind) == ("ray", "youtube")
    compose = (DEPLOY / "compose.yaml").read_text()
    told = set(re.findall(r"^(\w+)=", (DEPLOY / "env.example").read_text(), re.MULTILINE))
    asked = set(re.findall(r"\$\{(\w+)", compose))
    assert asked <= told
    image = (DEPLOY / "Dockerfile").read_text()
    copied = [part for names in re.findall(r"^COPY (.*) \S+$", image, re.MULTILINE) for part in names.split()]
    assert all((ROOT / part).exists() for part in copied)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line[1:] for line in ignored if line.startswith("!")} == {*copied}


def test_the_alerts_ask_for_figures_that_there_are() -> None:
    source = (ROOT / "assets/cli/services/metrics.py").read_text()
    names = {name for kind, name in re.findall(r'_(gauge|counter)\("(\w+)"', source)}
    names |= {f"stage_{figure}" for figure, text in _COSTS.values()}
    text = (DEPLOY / "alerts.yml").read_text() + (ROOT / "docs/deployment.md").read_text()
    used = set(re.findall(r"\blampworks_(\w+)", text))
    assert {name.removesuffix("_total") for name in used} <= names
    assert yaml.safe_load((DEPLOY / "alerts.yml").read_text())
